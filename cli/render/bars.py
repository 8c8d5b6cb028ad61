"""A timeline as text: one bar for each step, over the time of the run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cli.render.progress import Styled
from cli.render.time import short_duration
from core.api.phases import Phase
from views.run_view import EARLIER
from views.sign import colour_of
from views.timeline import Activity, Timeline, TimelineRow, TimelineSpan

_SIGNS: Final = {
    Activity.QUEUED: ("·", "."),
    Activity.STARTING: ("░", ":"),
    Activity.RUNNING: ("█", "#"),
    Activity.RETRIES: ("▒", "%"),
    Activity.BACKOFF: ("▁", ","),
    Activity.GATE: ("═", "="),
    Activity.WAIT: ("─", "-"),
    Activity.SLEEP: ("~", "~"),
    Activity.CHILD: ("▄", "_"),
    Activity.BRANCHES: ("╌", "+"),
}
"""The sign of each activity, and one for terminals with ASCII only."""
_DURATION_WIDTH: Final = 7
_LEAST_BAR: Final = 10
_MOST_LABEL: Final = 40


def bars(timeline: Timeline, *, width: int, ascii_only: bool = False) -> list[Styled]:
    """The lines of a timeline, at most ``width`` columns wide, if that is enough for the bars."""
    if timeline.began_at is None:
        return [(f"{timeline.run}  {timeline.phase or Phase.PENDING}  has not begun", "bold")]
    total = timeline.ended_at - timeline.began_at
    labels = [_label(row, ascii_only) for row in timeline.rows]
    attempts = [f"{'x' if ascii_only else '×'}{row.attempts} " if row.attempts > 1 else "" for row in timeline.rows]
    label_width, attempts_width = max(map(len, labels), default=0), max(map(len, attempts), default=0)
    lead_width = label_width + 2 + _DURATION_WIDTH + 1 + attempts_width
    bar_width = max(width - lead_width, _LEAST_BAR)
    so_far = "" if timeline.is_over else " so far"
    execution = f"  execution {timeline.execution}" if timeline.execution > 1 else ""
    lines: list[Styled] = [(f"{timeline.run}  {timeline.phase}  {short_duration(total)}{so_far}{execution}", "bold")]
    lines.append((f"{'':<{lead_width}}{_axis(total, bar_width)}", "bright_black"))
    for row, label, tried in zip(timeline.rows, labels, attempts, strict=True):
        taken = short_duration(_taken(row.spans)) if row.spans else ""
        bar = EARLIER if row.is_earlier else _bar(row.spans, timeline.began_at, total, bar_width, ascii_only)
        text = f"{label:<{label_width}}  {taken:>{_DURATION_WIDTH}} {tried:<{attempts_width}}{bar}".rstrip()
        lines.append((text, colour_of(_phase(row.phase))))
    lines += [(f"{row.step}: {row.used}", "bright_black") for row in timeline.rows if row.used]
    lines.append(("", ""))
    lines += [(line, "bright_black") for line in _legend(timeline, width, ascii_only)]
    return lines


def _label(row: TimelineRow, ascii_only: bool) -> str:
    name = f"iteration {row.iteration}" if row.iteration else row.step.rpartition("/")[2]
    text = f"{'  ' * row.depth}{name}"
    if len(text) <= _MOST_LABEL:
        return text
    mark = "..." if ascii_only else "…"
    return text[: _MOST_LABEL - len(mark)] + mark


def _taken(spans: tuple[TimelineSpan, ...]) -> timedelta:
    return spans[-1].ended_at - spans[0].began_at


def _axis(total: timedelta, width: int) -> str:
    end = short_duration(total)
    return f"0{end:>{width - 1}}"


def _bar(spans: tuple[TimelineSpan, ...], began_at: datetime, total: timedelta, width: int, ascii_only: bool) -> str:
    """Each column shows the activity that took most of its time; a step that has begun has at least one column."""
    if not spans:
        return ""
    column = total / width if total else timedelta(seconds=1)
    cells = [" "] * width
    for index in range(width):
        start, end = began_at + column * index, began_at + column * (index + 1)
        shares = [(min(span.ended_at, end) - max(span.began_at, start), span) for span in spans]
        most, longest = max(shares, key=lambda share: share[0])
        if most > column / 2:
            cells[index] = _SIGNS[longest.activity][ascii_only]
    for span in spans:  # activities that were too short for a column of their own
        place = min(int((span.began_at - began_at) / column), width - 1) if span.began_at >= began_at else 0
        if cells[place] == " ":
            cells[place] = _SIGNS[span.activity][ascii_only]
    return "".join(cells).rstrip()


def _legend(timeline: Timeline, width: int, ascii_only: bool) -> Iterator[str]:
    """The legend of the activities that occur."""
    found = {span.activity for row in timeline.rows for span in row.spans}
    words = [f"{_SIGNS[activity][ascii_only]} {activity}" for activity in Activity if activity in found]
    line = ""
    for word in words:
        if line and len(line) + 3 + len(word) > width:
            yield line
            line = ""
        line += f"{'   ' if line else ''}{word}"
    if line:
        yield line


def _phase(word: str) -> Phase | None:
    return Phase(word) if word in set(Phase) else None
