"""Curves, stripes and heat as SVG."""

import html
import math
import time

from . import value

GRID = "#2c2f36"
FAINT = "#9a9ca5"


def text(x, y, words, anchor="start", size=11, fill=FAINT):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{html.escape(words)}</text>'


def clock(at):
    return time.strftime("%H:%M:%S", time.gmtime(at))


def time_marks(start, end, width):
    """Round moments, no nearer than 90 px."""
    for step in (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600):
        if (end - start) / step * 90 <= width:
            break
    at = math.ceil(start / step) * step
    while at <= end:
        yield at
        at += step


def value_marks(low, high):
    """About five round values."""
    rough = (high - low) / 5 or 1
    scale = 10 ** math.floor(math.log10(rough))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= rough)
    at = math.ceil(low / step - 1e-9) * step
    while at <= high + step * 1e-6:
        yield at
        at += step


class Frame:
    """The place of a chart and the way from time and value to it."""

    def __init__(self, size, span, low_high, left=74):
        self.width, self.height = size
        self.start, self.end = span
        self.low, self.high = low_high
        self.left, self.right, self.top, self.bottom = left, self.width - 10, 8, self.height - 22

    def x(self, at):
        share = (at - self.start) / max(self.end - self.start, 1)
        return self.left + share * (self.right - self.left)

    def y(self, number):
        share = (number - self.low) / ((self.high - self.low) or 1)
        return self.bottom - share * (self.bottom - self.top)

    def times(self):
        parts = []
        for at in time_marks(self.start, self.end, self.right - self.left):
            x = self.x(at)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.bottom}" stroke="{GRID}"/>')
            parts.append(text(x, self.height - 6, clock(at), "middle"))
        return parts

    def values(self, defaults):
        parts = []
        for number in value_marks(self.low, self.high):
            y = self.y(number)
            parts.append(f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
            parts.append(text(self.left - 6, y + 4, value.said(number, {"unit": defaults.get("unit", "short")}), "end"))
        return parts

    def annotations(self, marks):
        """Begin and end of each region, as Grafana draws them: a dashed line and a bar below."""
        parts = []
        for start, end, colour in marks:
            left, right = max(self.x(start), self.left), min(self.x(end), self.right)
            if right < self.left:
                continue
            parts.append(f'<rect x="{left:.1f}" y="{self.top}" width="{max(right - left, 1):.1f}" height="{self.bottom - self.top}" fill="{colour}" opacity="0.08"/>')
            parts.append(f'<rect x="{left:.1f}" y="{self.bottom}" width="{max(right - left, 3):.1f}" height="3" fill="{colour}"/>')
            for x in (left, right):
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.bottom}" stroke="{colour}" stroke-dasharray="3 3"/>')
        return parts

    def svg(self, parts):
        return f'<svg width="{self.width}" height="{self.height}">{"".join(parts)}</svg>'


def runs(points, gap):
    """Pieces of a curve between its gaps; a piece never spans missing data."""
    piece = []
    for at, number in points:
        if number is None or math.isnan(number) or (piece and at - piece[-1][0] > gap):
            if piece:
                yield piece
            piece = []
        if number is not None and not math.isnan(number):
            piece.append((at, number))
    if piece:
        yield piece


def stacked(series, scrape):
    """The points of stacked series: each on the sum of those before it."""
    below, done = {}, []
    for one in series:
        custom = one["field"]["custom"]
        stack = custom.get("stacking", {}).get("mode", "none") != "none"
        base = []
        points = []
        for at, number in one["points"]:
            floor = below.get(round(at / scrape), 0.0) if stack else 0.0
            base.append((at, floor))
            points.append((at, number + floor))
            if stack:
                below[round(at / scrape)] = number + floor
        done.append({**one, "drawn": points, "base": base})
    return done


def curves(series, size, span, panel, marks, scrape):
    """A time series panel."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    series = stacked(series, scrape)
    shown = [s for s in series if not s["field"]["custom"].get("hideFrom", {}).get("viz")]
    numbers = [n for s in shown for _, n in s["drawn"] if not math.isnan(n)]
    low = defaults.get("min", min(numbers, default=0))
    high = defaults.get("max", max(numbers, default=1))
    style = defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode", "off")
    if high <= low:
        high = low + 1
    frame = Frame(size, span, (low, high + (high - low) * 0.05))
    parts = frame.times() + frame.values(defaults)
    if style != "off":
        for least, paint in value.steps(defaults):
            if low < least <= frame.high:
                y = frame.y(least)
                parts.append(f'<line x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{paint}" stroke-dasharray="8 6"/>')
    for one in shown:
        parts += curve(one, frame, scrape)
    parts += frame.annotations(marks)
    if not shown:
        parts.append(text(size[0] / 2, size[1] / 2, "No data", "middle", 16))
    return frame.svg(parts)


def curve(one, frame, scrape):
    custom, paint = one["field"]["custom"], one["colour"]
    fill = custom.get("fillOpacity", 0) / 100
    dash = custom.get("lineStyle", {})
    dashed = f' stroke-dasharray="{" ".join(map(str, dash.get("dash", [10, 10])))}"' if dash.get("fill") == "dash" else ""
    width = custom.get("lineWidth", 1) + 0.5
    base = dict(one["base"])
    parts = []
    for piece in runs(one["drawn"], scrape * 2.5):
        inside = [(at, n) for at, n in piece if at >= frame.start]
        if not inside:
            continue
        line = " ".join(f"{frame.x(at):.1f},{frame.y(n):.1f}" for at, n in inside)
        if custom.get("drawStyle") == "bars":
            bar = max(2, (frame.x(frame.start + scrape) - frame.left) * 0.7)
            for at, n in inside:
                y = frame.y(n)
                parts.append(f'<rect x="{frame.x(at) - bar / 2:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{frame.y(base[at]) - y:.1f}" fill="{paint}" opacity="{max(fill, 0.3)}"/>')
            continue
        if fill:
            floor = " ".join(f"{frame.x(at):.1f},{frame.y(base[at]):.1f}" for at, _ in reversed(inside))
            parts.append(f'<polygon points="{line} {floor}" fill="{paint}" opacity="{fill}"/>')
        if width > 0.5:
            parts.append(f'<polyline points="{line}" fill="none" stroke="{paint}" stroke-width="{width}"{dashed}/>')
        if len(inside) == 1:
            at, n = inside[0]
            parts.append(f'<circle cx="{frame.x(at):.1f}" cy="{frame.y(n):.1f}" r="2" fill="{paint}"/>')
    return parts


def stripes(series, size, span, marks, scrape):
    """A state timeline: one row per series, neighbours of one value as one bar."""
    longest = max((len(s["name"]) for s in series), default=10)
    frame = Frame(size, span, (0, 1), left=min(20 + longest * 6.3, size[0] * 0.4))
    parts = frame.times()
    room = (frame.bottom - frame.top) / max(len(series), 1)
    for row, one in enumerate(series):
        top, height = frame.top + room * row + room * 0.1, room * 0.8
        parts.append(text(frame.left - 8, top + height / 2 + 4, one["name"], "end", 11, "#ccccdc"))
        for piece in runs(one["points"], scrape * 2.5):
            index = 0
            while index < len(piece):
                last = index
                while last + 1 < len(piece) and piece[last + 1][1] == piece[index][1]:
                    last += 1
                until = piece[last + 1][0] if last + 1 < len(piece) else min(piece[last][0] + scrape, span[1])
                left, right = max(frame.x(piece[index][0]), frame.left), frame.x(until)
                if right > frame.left:
                    paint = value.paint(piece[index][1], one["field"])
                    opacity = one["field"]["custom"].get("fillOpacity", 70) / 100
                    parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{height:.1f}" fill="{paint}" opacity="{opacity}"/>')
                index = last + 1
    parts += frame.annotations(marks)
    if not series:
        parts.append(text(size[0] / 2, size[1] / 2, "No data", "middle", 16))
    return frame.svg(parts)


def heat(series, size, span, scrape):
    """A heatmap of a histogram's buckets: what is in each, the one below taken off."""
    rows = sorted((float(s["labels"].get("le", "inf").replace("+Inf", "inf")), s["points"]) for s in series)
    frame = Frame(size, span, (0, max(len(rows), 1)))
    parts, below, most, cells = frame.times(), {}, 0, []
    for row, (_, points) in enumerate(rows):
        for at, number in points:
            inside = max(number - below.get(at, 0), 0)
            below[at] = number
            most = max(most, inside)
            cells.append((row, at, inside))
    for row, at, inside in cells:
        if inside > 0 and at >= frame.start:
            wide = max(frame.x(at + scrape) - frame.x(at) - 1, 1)
            top = frame.y(row + 1)
            parts.append(f'<rect x="{frame.x(at):.1f}" y="{top:.1f}" width="{wide:.1f}" height="{frame.y(row) - top - 1:.1f}" fill="#ff9830" opacity="{(inside / most) ** 0.5:.2f}"/>')
    every = max(1, len(rows) // 7)
    for row, (bound, _) in enumerate(rows):
        if row % every == 0 and math.isfinite(bound):
            parts.append(text(frame.left - 6, frame.y(row + 1) + 4, value.seconds(bound), "end"))
    return frame.svg(parts)
