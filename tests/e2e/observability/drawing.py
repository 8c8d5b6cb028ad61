"""Draws a dashboard as Grafana lays it out: rows, panels on a grid of 24 columns, legends with the last value."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.api.objects import Object

mpl.use("Agg")

COLUMNS: Final = 24
COLUMN_INCHES: Final = 0.56
ROW_INCHES: Final = 0.34
DOTS: Final = 90
COLOURS: Final = 96
MOST_LEGENDS: Final = 6
PAPER, PANEL, INK, FAINT = "#f4f5f5", "#ffffff", "#24292e", "#8e8e8e"
GOOD, BAD = "#1a7f37", "#d1242f"
PALETTE: Final = (
    *("#3274d9", "#e0752d", "#299c46", "#a352cc", "#e5ac0e", "#c4162a", "#1f9e9e", "#7c5c3a"),
    *("#8ab8ff", "#ffb357", "#96d98d", "#ca95e5", "#ffee52", "#ff7383"),
)
NAMED: Final = {
    "green": "#56a64b",
    "red": "#e02f44",
    "orange": "#ff780a",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "dark-red": "#8f1d2c",
}
"""Colours of Grafana by their names."""
PANELS_KEYWORD: Final = "bobrapet-panels"
Lines = Sequence[tuple[str, Sequence[tuple[float, float]]]]


def draw(board: Object, answers: Mapping[str, Lines], between: tuple[float, float], path: Path) -> None:
    """Write a PNG of a few colours, so that it stays small.

    Its text ``PANELS_KEYWORD`` names the panels that it shows.
    """
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = plt.figure(figsize=(COLUMNS * COLUMN_INCHES, (bottom + 2) * ROW_INCHES), dpi=DOTS, facecolor=PAPER)
    figure.text(0.008, 1 - 1.2 / (bottom + 2), board["title"], fontsize=14, fontweight="bold", color=INK, va="center")
    for panel in board["panels"]:
        _draw_panel(figure, panel, answers.get(str(panel["id"]), ()), between, bottom + 2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=PAPER)
    plt.close(figure)
    shown = PngInfo()
    shown.add_itxt(PANELS_KEYWORD, "\n".join(panel["title"] for panel in board["panels"]))
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(path, optimize=True, pnginfo=shown)


def _draw_panel(figure: Figure, panel: Object, lines: Lines, between: tuple[float, float], rows: int) -> None:
    place = panel["gridPos"]
    left, width = place["x"] / COLUMNS, place["w"] / COLUMNS
    top, height = 1 - (place["y"] + 2) / rows, place["h"] / rows
    if panel["type"] == "row":
        figure.text(left + 0.008, top - height / 2, f"▾ {panel['title']}", fontsize=10.5, color=INK, va="center")
        return
    frame = figure.add_axes((left + 0.003, top - height + 0.08 / rows, width - 0.006, height - 0.16 / rows))
    frame.set_facecolor(PANEL)
    frame.set(xticks=[], yticks=[])
    for spine in frame.spines.values():
        spine.set_color("#d8d9da")
    title = left + 0.01, top - 0.75 / rows
    figure.text(*title, panel["title"], fontsize=8.6, color=INK, va="center")
    if panel["type"] == "stat":
        _draw_stat(figure, panel, lines, (left, top - height, width, height))
        return
    legends = min(len(lines), MOST_LEGENDS + 1)
    below = (0.62 * math.ceil(legends / 2) + 0.75) / rows
    axes = figure.add_axes(
        (left + 0.045, top - height + below + 0.5 / rows, width - 0.066, height - below - 1.7 / rows)
    )
    _draw_lines(axes, panel, lines, between)
    _draw_legend(figure, panel, lines, (left + 0.012, top - height + below - 0.45 / rows, width / 2, 0.62 / rows))


def _draw_stat(figure: Figure, panel: Object, lines: Lines, place: tuple[float, float, float, float]) -> None:
    left, bottom, width, height = place
    shown = lines or [("", [(0.0, 0.0)])]
    for index, (legend, points) in enumerate(shown):
        value = points[-1][1]
        x = left + width * (index + 0.5) / len(shown)
        figure.text(
            x,
            bottom + height * 0.42,
            _text(value, panel),
            fontsize=17,
            color=_colour(value, panel),
            ha="center",
            va="center",
            fontweight="bold",
        )
        figure.text(x, bottom + height * 0.14, legend, fontsize=8, color=FAINT, ha="center", va="center")


def _draw_lines(axes: Axes, panel: Object, lines: Lines, between: tuple[float, float]) -> None:
    start, end = between
    custom = panel["fieldConfig"]["defaults"]["custom"]
    axes.set_xlim(0, (end - start) / 60)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color="#e8e8e8", linewidth=0.6)
    axes.tick_params(labelsize=7, colors=FAINT, length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} min")
    axes.yaxis.set_major_formatter(lambda value, _: _text(value, panel))
    highest = 0.0
    if custom["stacking"]["mode"] == "normal" and lines:
        highest = _draw_stack(axes, panel, lines, start)
    else:
        for index, (legend, points) in enumerate(lines):
            minutes, values = _gaps([(x, y) for x, y in points if math.isfinite(y)], start)
            axes.plot(minutes, values, color=_line_colour(panel, legend, index), linewidth=1.2)
            highest = max(highest, *(value for value in values if math.isfinite(value)), 0.0)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    limits = [step["value"] for step in steps if step["value"] is not None]
    if custom["thresholdsStyle"]["mode"] != "off" and limits and limits[0] <= 4 * highest:
        axes.axhline(limits[0], color=BAD, linewidth=0.9, linestyle="--")
        highest = max(highest, limits[0])
    axes.set_ylim(0, highest * 1.08 if highest > 0 else 1)
    if panel["fieldConfig"]["defaults"]["unit"] == "bool_yes_no":
        axes.set_yticks([0, 1])
    else:
        axes.locator_params(axis="y", nbins=5)
    if not any(points for _, points in lines):
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=9)


def _draw_stack(axes: Axes, panel: Object, lines: Lines, start: float) -> float:
    instants = sorted({at for _, points in lines for at, _ in points})
    found = [dict(points) for _, points in lines]
    heights = [[each.get(at, 0.0) for at in instants] for each in found]
    minutes = [(at - start) / 60 for at in instants]
    colours = [_line_colour(panel, legend, index) for index, (legend, _) in enumerate(lines)]
    axes.stackplot(minutes, heights, colors=colours, alpha=0.55, linewidth=0)
    return max((sum(column) for column in zip(*heights, strict=True)), default=0.0)


def _draw_legend(figure: Figure, panel: Object, lines: Lines, place: tuple[float, float, float, float]) -> None:
    left, top, width, height = place
    room = int(width * COLUMNS * COLUMN_INCHES * 17) - 10
    ranked = sorted(enumerate(lines), key=lambda pair: -max((y for _, y in pair[1][1]), default=0.0))
    for position, (index, (legend, points)) in enumerate(ranked[:MOST_LEGENDS]):
        x, y = left + width * (position % 2), top - height * (position // 2)
        last = next((value for _, value in reversed(points) if math.isfinite(value)), 0.0)
        text = legend or panel["title"]
        text = text if len(text) <= room else f"{text[: room - 1]}…"
        figure.text(x, y, "━", fontsize=8, color=_line_colour(panel, legend, index), va="center")
        figure.text(x + 0.013, y, f"{text}   {_text(last, panel)}", fontsize=6.8, color=INK, va="center")
    if len(lines) > MOST_LEGENDS:
        y = top - height * (MOST_LEGENDS // 2)
        figure.text(left + 0.013, y, f"… and {len(lines) - MOST_LEGENDS} more", fontsize=6.8, color=FAINT, va="center")


def _line_colour(panel: Object, legend: str, index: int) -> str:
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == legend:
            return NAMED[override["properties"][0]["value"]["fixedColor"]]
    return PALETTE[index % len(PALETTE)]


def _gaps(points: Sequence[tuple[float, float]], start: float) -> tuple[list[float], list[float]]:
    """Minutes and values, interrupted where points are missing."""
    step = min((later[0] - earlier[0] for earlier, later in itertools.pairwise(points)), default=0.0)
    minutes, values = list[float](), list[float]()
    before = math.inf
    for at, value in points:
        if at - before > 1.5 * step:
            minutes.append((at - start) / 60)
            values.append(math.nan)
        before = at
        minutes.append((at - start) / 60)
        values.append(value)
    return minutes, values


def _colour(value: float, panel: Object) -> str:
    colour = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return GOOD if colour == "green" else BAD


def _text(value: float, panel: Object) -> str:
    if not math.isfinite(value):
        return "–"
    match panel["fieldConfig"]["defaults"]["unit"]:
        case "s":
            return _duration(value)
        case "bytes":
            return _bytes(value)
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "cpm":
            return f"{value:.3g}/min"
        case "ops":
            return f"{value:.3g}/s"
        case "bool_yes_no":
            return "yes" if value >= 1 else "no"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.3g} ms"


def _bytes(number: float) -> str:
    for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:.3g} B"
