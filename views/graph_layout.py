"""Where the boxes and lines of a drawn graph are: columns of steps, and lanes for lines that pass a column. Pure.

A line from one column to the next stays in the gap between them. A longer one has a lane of its own in each column that
it passes, so that no line crosses a box. Lines that begin at the same step share their lanes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BOX_WIDTH: Final = 176.0
BOX_HEIGHT: Final = 40.0
_LANE_HEIGHT: Final = 8.0
_GAP_X: Final = 64.0
_GAP_Y: Final = 18.0
_MARGIN: Final = 16.0


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Coordinates in pixels, from the upper left corner."""

    width: float
    height: float
    boxes: Mapping[str, Point]
    """Step → the upper left corner of its box."""
    lines: Mapping[tuple[str, str], tuple[Point, ...]]
    """(need, step) → an even number of points: between the first and the second of a pair the line is a curve in a gap,
    from the end of a pair to the next one it is straight."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """A place in a column for the lines from ``need`` to columns behind it."""

    need: str


_Item = str | _Lane


def lay_out(columns: Sequence[Sequence[str]], needs: Mapping[str, Sequence[str]]) -> Layout:
    """The places of all steps and lines.

    Args:
        columns: the steps by depth; a step is behind all that it needs, except in a cycle.
        needs: step → the steps that it needs.
    """
    depth = {step: x for x, column in enumerate(columns) for step in column}
    filled = _with_lanes(columns, needs, depth)
    heights = [sum(map(_height, column)) + _GAP_Y * max(len(column) - 1, 0) for column in filled]
    tallest = max(heights, default=0.0)
    places: dict[tuple[int, _Item], Point] = {}
    for x, column in enumerate(filled):
        y = _MARGIN + (tallest - heights[x]) / 2
        for item in column:
            places[x, item] = Point(_MARGIN + x * (BOX_WIDTH + _GAP_X), y)
            y += _height(item) + _GAP_Y
    return Layout(
        width=2 * _MARGIN + max(len(columns), 1) * (BOX_WIDTH + _GAP_X) - _GAP_X,
        height=2 * _MARGIN + tallest,
        boxes={step: places[depth[step], step] for step in depth},
        lines={(need, step): _line(places, depth, need, step) for step in depth for need in needs[step]},
    )


def _with_lanes(
    columns: Sequence[Sequence[str]], needs: Mapping[str, Sequence[str]], depth: Mapping[str, int]
) -> list[list[_Item]]:
    """Each column with its lanes, its items near the items before them that they are connected with."""
    farthest: dict[str, int] = {}
    for step, x in depth.items():
        for need in needs[step]:
            farthest[need] = max(farthest.get(need, 0), x)
    filled: list[list[_Item]] = []
    for x, column in enumerate(columns):
        lanes = [_Lane(need) for need in depth if depth[need] < x < farthest.get(need, 0)]
        before = filled[-1] if filled else []
        rows: dict[str, int] = {item if isinstance(item, str) else item.need: row for row, item in enumerate(before)}

        def row(item: _Item, rows: Mapping[str, int] = rows) -> float:
            ends = [item.need] if isinstance(item, _Lane) else [need for need in needs[item] if need in rows]
            return sum(rows[end] for end in ends) / len(ends) if ends else 0.0

        filled.append(sorted([*column, *lanes], key=row) if before else [*column])
    return filled


def _height(item: _Item) -> float:
    return _LANE_HEIGHT if isinstance(item, _Lane) else BOX_HEIGHT


def _line(
    places: Mapping[tuple[int, _Item], Point], depth: Mapping[str, int], need: str, step: str
) -> tuple[Point, ...]:
    begin, end = places[depth[need], need], places[depth[step], step]
    points = [Point(begin.x + BOX_WIDTH, begin.y + BOX_HEIGHT / 2)]
    for x in range(depth[need] + 1, depth[step]):
        lane = places[x, _Lane(need)]
        y = lane.y + _LANE_HEIGHT / 2
        points += [Point(lane.x, y), Point(lane.x + BOX_WIDTH, y)]
    return (*points, Point(end.x, end.y + BOX_HEIGHT / 2))
