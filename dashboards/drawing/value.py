"""Units, thresholds, mappings and colours, as a board's fieldConfig gives them."""

import math
import re

# Names of colours that Grafana knows, in its dark theme.
COLOURS = {
    "green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c",
    "blue": "#5794f2", "purple": "#b877d9", "text": "#ccccdc", "transparent": "transparent",
    "gray": "#8e8e8e", "grey": "#8e8e8e", "white": "#ffffff", "black": "#000000",
    "dark-red": "#c4162a", "semi-dark-red": "#e02f44", "light-red": "#ff7383", "super-light-red": "#ffa6b0",
    "dark-green": "#37872d", "semi-dark-green": "#56a64b", "light-green": "#96d98d", "super-light-green": "#c8f2c2",
    "dark-orange": "#fa6400", "semi-dark-orange": "#ff780a", "light-orange": "#ffb357", "super-light-orange": "#ffcb7d",
    "dark-yellow": "#e0b400", "semi-dark-yellow": "#f2cc0c", "light-yellow": "#ffee52", "super-light-yellow": "#fff899",
    "dark-blue": "#1f60c4", "semi-dark-blue": "#3274d9", "light-blue": "#8ab8ff", "super-light-blue": "#c0d8ff",
    "dark-purple": "#8f3bb8", "semi-dark-purple": "#a352cc", "light-purple": "#ca95e5", "super-light-purple": "#deb6f2",
}
# palette-classic.
PALETTE = [
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0",
    "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477",
]
PREFIXES = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")]
# What follows the prefix of a unit that scales by thousands.
SCALED = {"Bps": "B/s", "bps": "b/s", "bytes": "B", "decbytes": "B", "pps": "p/s", "ops": "ops/s", "reqps": "req/s"}


def colour(name):
    return COLOURS.get(name, name or COLOURS["text"])


def plain(value):
    """A number in at most three significant digits, without zeros that say nothing."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 100 else 0
    text = f"{value:.{min(digits, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def scaled(value, unit):
    for factor, prefix in PREFIXES:
        if abs(value) >= factor:
            return f"{plain(value / factor)} {prefix}{unit}".rstrip()
    return f"{plain(value)} {unit}".rstrip()


def seconds(value):
    for factor, unit in [(86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")]:
        if abs(value) >= factor:
            return f"{plain(value / factor)} {unit}"
    return "0 s" if value == 0 else f"{value:.1g} s"


def said(value, defaults):
    """A value as a board shows it: mapped, or in its unit."""
    mapped = mapping(value, defaults)
    if mapped and mapped.get("text"):
        return mapped["text"]
    if value is None or math.isnan(value):
        return defaults.get("noValue") or ("NaN" if value is not None else "No data")
    unit, decimals = defaults.get("unit", "short"), defaults.get("decimals")
    if unit in ("percentunit", "percent"):
        share = value * 100 if unit == "percentunit" else value
        return f"{share:.{decimals}f}%" if decimals is not None else f"{plain(share)}%"
    if unit == "s":
        return seconds(value)
    if unit == "ms":
        return seconds(value / 1e3)
    if unit in SCALED:
        return scaled(value, SCALED[unit])
    if unit == "none":
        return plain(value)
    if unit == "short":
        return scaled(value, "") if abs(value) >= 1e3 else plain(value)
    return f"{plain(value)} {unit}"


def mapping(value, defaults):
    """What a mapping makes of a value, or None."""
    for rule in defaults.get("mappings", []):
        options = rule.get("options", {})
        if rule["type"] == "value" and value is not None and not math.isnan(value):
            found = options.get(plain(value))
            if found:
                return found
        if rule["type"] == "range" and value is not None:
            low, high = options.get("from"), options.get("to")
            if (low is None or value >= low) and (high is None or value <= high):
                return options.get("result")
        if rule["type"] == "special" and options.get("match") in ("null", "null+nan") and value is None:
            return options.get("result")
        if rule["type"] == "special" and options.get("match") in ("nan", "null+nan"):
            if value is not None and math.isnan(value):
                return options.get("result")
    return None


def steps(defaults):
    """(least value, colour) of each threshold, ascending."""
    given = defaults.get("thresholds", {}).get("steps", [])
    return [(-math.inf if s.get("value") is None else s["value"], colour(s["color"])) for s in given]


def by_threshold(value, defaults):
    found = colour("green")
    for least, paint in steps(defaults):
        if value is not None and value >= least:
            found = paint
    return found


def paint(value, defaults):
    """The colour of a value by mapping or threshold."""
    mapped = mapping(value, defaults)
    if mapped and mapped.get("color"):
        return colour(mapped["color"])
    if value is None or math.isnan(value):
        return "#44474f"
    return by_threshold(value, defaults)


def legend(format_, labels):
    if not format_ or format_ == "__auto":
        inner = ", ".join(f'{k}="{v}"' for k, v in labels.items() if k != "__name__")
        return "{" + inner + "}"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: labels.get(m[1], ""), format_)


def field(panel, name, ref):
    """fieldConfig for one series: the defaults with all overrides that match it."""
    config = panel.get("fieldConfig", {})
    merged = dict(config.get("defaults", {}))
    merged["custom"] = dict(merged.get("custom", {}))
    for override in config.get("overrides", []):
        if not matches(override["matcher"], name, ref):
            continue
        for change in override["properties"]:
            key = change["id"]
            if key.startswith("custom."):
                merged["custom"][key[len("custom."):]] = change.get("value")
            else:
                merged[key] = change.get("value")
    return merged


def matches(matcher, name, ref):
    kind, options = matcher["id"], matcher.get("options")
    if kind == "byName":
        return name == options
    if kind == "byRegexp":
        return re.search(options.strip("/"), name) is not None
    if kind == "byFrameRefID":
        return ref == options
    return False
