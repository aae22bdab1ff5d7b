"""A board as one page: its grid, and what is in each panel."""

import html
import json
import math
import re

from . import chart, value

# Grafana's grid: 24 columns, rows of 30 px, 8 px between panels.
COLUMNS, ROW, GAP, HEAD, SIDE = 24, 30, 8, 84, 8
TITLE = 32
LEGEND_ROW = 19

STYLE = """
* { box-sizing: border-box }
body { margin: 0; background: #111217; color: #ccccdc; font: 12px "DejaVu Sans", sans-serif }
.panel { position: absolute; background: #181b1f; border: 1px solid #25282e; border-radius: 2px; overflow: hidden }
.title { height: 32px; padding: 8px 10px 0; font-weight: bold; font-size: 13px; white-space: nowrap }
.stats { display: flex; gap: 4px; padding: 0 4px 4px }
.stat { flex: 1; min-width: 0; display: flex; flex-direction: column; justify-content: center; align-items: center; border-radius: 2px }
.stat .name { font-size: 11px; max-width: 100%; padding: 0 4px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.stat .number { font-weight: bold; white-space: nowrap }
table { border-collapse: collapse; width: 100%; font-size: 11px }
td, th { text-align: left; padding: 2px 8px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
th { color: #6e9fff; font-weight: normal }
.legend td, .legend th { padding: 0 8px; height: 19px }
.legend .number { text-align: right; width: 110px }
.data td { border-top: 1px solid #25282e; height: 26px }
.swatch { display: inline-block; width: 14px; height: 4px; border-radius: 2px; margin-right: 7px; vertical-align: middle }
.list { padding: 0 10px; height: 19px; white-space: nowrap }
.list span.entry { margin-right: 14px }
.odd { padding: 8px 12px; color: #ff9830 }
.words { padding: 0 14px; line-height: 1.45 }
.head { position: absolute; left: 14px; right: 14px; top: 10px }
.head h1 { margin: 0 0 5px; font-size: 19px; font-weight: normal }
.head .about { color: #9a9ca5; font-size: 11px; line-height: 1.45 }
.section { position: absolute; font-size: 14px; padding: 6px 4px }
"""


def page(board, about, state, width):
    """The page's text and its height."""
    cell = (width - 2 * SIDE + GAP) / COLUMNS
    answers = state["boards"].get(board["uid"], {})
    marks = annotations(board, answers, about["scrape_s"])
    parts, height = [header(board, about, state)], HEAD
    for panel in board["panels"]:
        grid = panel["gridPos"]
        box = (
            SIDE + grid["x"] * cell,
            HEAD + grid["y"] * (ROW + GAP),
            grid["w"] * cell - GAP,
            grid["h"] * (ROW + GAP) - GAP,
        )
        height = max(height, box[1] + box[3] + SIDE)
        series = {} if panel["type"] == "row" else answers.get(str(panel["id"]), {})
        parts.append(draw(panel, series, box, Look(state, about, marks)))
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(board['title'])}</title>"
    return f"{head}<style>{STYLE}</style>{''.join(parts)}", math.ceil(height)


class Look:
    """What all panels share: the time that is looked at, and what is marked in it."""

    def __init__(self, state, about, marks):
        self.span = (state["from"], state["at"])
        self.scrape = about["scrape_s"]
        self.marks = marks


def header(board, about, state):
    told = "; ".join(state["findings"]) or "none"
    variables = [v for v in board["templating"]["list"] if v["type"] != "datasource"]
    chosen = [f'{v.get("label") or v["name"]}: {about["chosen"].get(v["name"], "All")}' for v in variables]
    return (
        f'<div class="head"><h1>{html.escape(board["title"])}</h1><div class="about">'
        f"{html.escape(' · '.join(chosen))} · "
        f"{chart.clock(state['from'])} to {chart.clock(state['at'])} UTC<br>"
        f"Drawn by dashboards/draw, not by Grafana, from {html.escape(about['made_by'])}, {about['at']}, "
        f"{about['exporters']} exporter(s). Open findings now: {html.escape(told)}</div></div>"
    )


def annotations(board, answers, scrape):
    """(begin, end, colour) of every region that an annotation marks."""
    found = []
    for one in board.get("annotations", {}).get("list", []):
        if not one.get("expr") or not one.get("enable", True):
            continue
        for answer in answers.get(one["name"], {}).values():
            for series in answer["range"] or []:
                points = [(float(at), float(n)) for at, n in series["values"]]
                for piece in chart.runs(points, 61):
                    found.append((piece[0][0], piece[-1][0] + scrape, value.colour(one.get("iconColor"))))
    return found


def read(panel, answers, kind):
    """All series of a panel with their names, fields and colours."""
    series = []
    for target in panel.get("targets", []):
        for one in answers.get(target["refId"], {}).get(kind) or []:
            name = value.legend(target.get("legendFormat"), one["metric"])
            raw = one.get("values") or [one["value"]]
            series.append({
                "name": name, "labels": one["metric"], "ref": target["refId"],
                "points": [(float(at), float(number)) for at, number in raw],
                "field": value.field(panel, name, target["refId"]),
            })
    for index, one in enumerate(series):
        one["name"] = one["field"].get("displayName", one["name"])
        fixed = one["field"].get("color", {})
        mode = fixed.get("mode")
        one["colour"] = value.PALETTE[index % len(value.PALETTE)]
        if mode in ("fixed", "shades"):
            one["colour"] = value.colour(fixed.get("fixedColor"))
        elif mode == "thresholds":
            one["colour"] = value.paint(one["points"][-1][1], one["field"])
    return series


def draw(panel, answers, box, look):
    left, top, width, height = box
    place = f'left:{left:.0f}px;top:{top:.0f}px;width:{width:.0f}px;height:{height:.0f}px'
    if panel["type"] == "row":
        return f'<div class="section" style="{place}">▾ {html.escape(panel["title"])}</div>'
    room = (width - 2, height - TITLE - 2)
    painters = {
        "stat": stats, "gauge": stats, "bargauge": bars, "timeseries": timeline, "state-timeline": timeline,
        "status-history": timeline, "heatmap": heatmap, "table": table, "text": words,
    }
    painter = painters.get(panel["type"], unknown)
    inner = painter(panel, answers, room, look)
    return f'<div class="panel" style="{place}"><div class="title">{html.escape(panel.get("title", ""))}</div>{inner}</div>'


def unknown(panel, *_):
    return f'<div class="odd">a panel of type {html.escape(panel["type"])}: dashboards/draw does not know it</div>'


def words(panel, *_):
    content = html.escape(panel.get("options", {}).get("content", ""))
    content = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", content)
    content = re.sub(r"`(.+?)`", r"<code>\1</code>", content)
    return f'<div class="words">{content.replace(chr(10), "<br>")}</div>'


def newest(panel, answers):
    """One value per series: the instant's, or the last of the range."""
    instant = any(t.get("instant") for t in panel["targets"])
    return read(panel, answers, "instant" if instant else "range")


def stats(panel, answers, room, _):
    series = newest(panel, answers)
    options = panel.get("options", {})
    if not series:
        empty = value.field(panel, "", "")
        series = [{"name": "", "points": [(0, None)], "field": empty}]
    mode = options.get("textMode", "auto")
    column = options.get("orientation") == "horizontal"
    cells = []
    wide, tall = (room[0], room[1] / len(series)) if column else (room[0] / len(series), room[1])
    longest = max(len(value.said(s["points"][-1][1], s["field"])) for s in series)
    size = max(11, min(40, (wide - 14) / longest * 1.45, tall * 0.4))
    for one in series:
        number = one["points"][-1][1]
        paint = value.paint(number, one["field"])
        background = options.get("colorMode", "value").startswith("background")
        look = f"background:{paint};color:#111217" if background else f"color:{paint}"
        name = html.escape(one["name"]) if mode in ("name", "value_and_name") or len(series) > 1 else ""
        shown = html.escape(value.said(number, one["field"])) if mode != "name" else ""
        cells.append(
            f'<div class="stat" style="{look}"><div class="name">{name}</div>'
            f'<div class="number" style="font-size:{size:.0f}px">{shown}</div></div>'
        )
    direction = "flex-direction:column;" if column else ""
    return f'<div class="stats" style="{direction}height:{room[1]:.0f}px">{"".join(cells)}</div>'


def bars(panel, answers, room, _):
    series = newest(panel, answers)
    high = panel.get("fieldConfig", {}).get("defaults", {}).get("max") or max(
        (s["points"][-1][1] for s in series), default=1) or 1
    rows = []
    tall = min(34, room[1] / max(len(series), 1))
    for one in series:
        number = one["points"][-1][1]
        share = max(0, min(1, number / high)) * 55
        paint = value.paint(number, one["field"])
        rows.append(
            f'<tr style="height:{tall:.0f}px"><td style="width:28%">{html.escape(one["name"])}</td>'
            f'<td><div style="display:inline-block;vertical-align:middle;background:{paint};height:{tall * 0.6:.0f}px;width:{share:.1f}%"></div>'
            f' <b style="color:{paint}">{html.escape(value.said(number, one["field"]))}</b></td></tr>'
        )
    return f'<table>{"".join(rows)}</table>' if rows else '<div class="odd">No data</div>'


CALCS = {
    "lastNotNull": ("Last *", lambda n: n[-1]), "last": ("Last", lambda n: n[-1]),
    "max": ("Max", max), "min": ("Min", min), "mean": ("Mean", lambda n: sum(n) / len(n)),
    "sum": ("Total", sum), "first": ("First", lambda n: n[0]),
}


def legend(panel, series, look):
    """The legend's text and height: a table with its calculations, or a line."""
    options = panel.get("options", {}).get("legend", {})
    if not options.get("showLegend", True) or not series:
        return "", 0
    listed = [s for s in series if not s["field"]["custom"].get("hideFrom", {}).get("legend")]
    swatch = lambda s: f'<span class="swatch" style="background:{s["colour"]}"></span>{html.escape(s["name"])}'
    if options.get("displayMode") != "table":
        if panel["type"] in ("state-timeline", "status-history"):
            return states(listed), LEGEND_ROW
        entries = "".join(f'<span class="entry">{swatch(s)}</span>' for s in listed)
        return f'<div class="list">{entries}</div>', LEGEND_ROW
    calcs = [CALCS[c] for c in options.get("calcs", []) if c in CALCS]
    rows = ["<tr><th>Name</th>" + "".join(f'<th class="number">{c[0]}</th>' for c in calcs) + "</tr>"]
    for one in listed:
        numbers = [n for at, n in one["points"] if at >= look.span[0] and not math.isnan(n)]
        cells = "".join(
            f'<td class="number">{html.escape(value.said(c[1](numbers) if numbers else None, one["field"]))}</td>' for c in calcs
        )
        rows.append(f"<tr><td>{swatch(one)}</td>{cells}</tr>")
    return f'<table class="legend">{"".join(rows)}</table>', LEGEND_ROW * len(rows) + 4


def states(series):
    """A line with every value that was seen, as a state timeline's legend has it."""
    seen = {}
    for one in series:
        for _, number in one["points"]:
            seen[number] = (value.said(number, one["field"]), value.paint(number, one["field"]))
    entries = "".join(
        f'<span class="entry"><span class="swatch" style="background:{paint}"></span>{html.escape(name)}</span>'
        for _, (name, paint) in sorted(seen.items())
    )
    return f'<div class="list">{entries}</div>'


def timeline(panel, answers, room, look):
    series = read(panel, answers, "range")
    below, tall = legend(panel, series, look)
    # As Grafana, which gives a legend at most a third and lets it scroll.
    tall = min(tall, max(room[1] * 0.4, LEGEND_ROW * 2 + 4))
    size = (room[0], room[1] - tall)
    if panel["type"] == "timeseries":
        picture = chart.curves(series, size, look.span, panel, look.marks, look.scrape)
    else:
        picture = chart.stripes(series, size, look.span, look.marks, look.scrape)
    return f'{picture}<div style="height:{tall:.0f}px;overflow:hidden">{below}</div>'


def heatmap(panel, answers, room, look):
    return chart.heat(read(panel, answers, "range"), room, look.span, look.scrape)


def table(panel, answers, room, _):
    series = newest(panel, answers)
    if not series:
        return '<div class="words">No data</div>'
    columns = []
    for one in series:
        columns += [label for label in one["labels"] if label not in columns]
    columns = ["Time", *columns, "Value"]
    names = {name: name for name in columns}
    for step in panel.get("transformations", []):
        if step["id"] != "organize":
            continue
        options = step["options"]
        hidden = options.get("excludeByName", {})
        columns = [c for c in columns if not hidden.get(c)]
        order = options.get("indexByName", {})
        columns.sort(key=lambda c: order.get(c, len(order)))
        names.update({old: new for old, new in options.get("renameByName", {}).items() if new})
    head = "".join(f"<th>{html.escape(names[c])}</th>" for c in columns)
    rows = []
    for one in series:
        at, number = one["points"][-1]
        cells = []
        for column in columns:
            config = value.field(panel, names[column], "")
            if column == "Time":
                shown, cell = chart.clock(at), None
            elif column == "Value":
                shown, cell = value.said(number, config), value.paint(number, config)
            else:
                label = one["labels"].get(column, "")
                shown, cell = worded(label, config)
            painted = json.dumps(config["custom"].get("cellOptions", {})).find("color-background") >= 0
            style = f' style="background:{cell};color:#111217"' if painted and cell else ""
            cells.append(f"<td{style}>{html.escape(shown)}</td>")
        rows.append(f'<tr>{"".join(cells)}</tr>')
    return f'<table class="data"><tr>{head}</tr>{"".join(rows)}</table>'


def worded(label, config):
    """A label's text and colour where a mapping names it."""
    for rule in config.get("mappings", []):
        found = rule.get("options", {}).get(label) if rule["type"] == "value" else None
        if found:
            return found.get("text") or label, value.colour(found.get("color")) if found.get("color") else None
    return label, None
