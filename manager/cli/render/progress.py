"""The live tree of a run on a terminal, and one line per transition in a pipe. Pure: views in, lines out."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from unicodedata import combining, east_asian_width

from core.api.instant import format_instant
from core.api.phases import Phase
from manager.cli.render.sign import colour_of, sign_of, word_of
from manager.cli.render.time import short_duration
from manager.cli.view import RunView, StepView

MAX_ROWS: Final = 40
"""Above it only what changes or fails keeps a row."""

Styled = tuple[str, str]
"""A line and its colour."""


def tree(view: RunView, now: datetime, *, width: int, rows: int = MAX_ROWS, ascii_only: bool = False) -> list[Styled]:
    """Header and one row per step, cut to ``width`` columns and about ``rows`` lines."""
    duration = short_duration(view.duration(now))
    if duration and view.timeout and not view.terminal:
        duration += f" of {short_duration(view.timeout)}"
    parts = (view.name, word_of(view.phase), f"{view.done}/{len(view.steps)} steps", duration, view.queue)
    header = "  ".join(part for part in parts if part)
    lines: list[Styled] = [(_cut(header, width, ascii_only), "bold")]
    steps, hidden = _shown(view, max(min(rows, MAX_ROWS), 1))
    name_width = max((len(step.name) for step in steps), default=0)
    lines += [
        (_cut(_row(step, now, name_width, ascii_only), width, ascii_only), colour_of(step.phase)) for step in steps
    ]
    if hidden:
        more = "..." if ascii_only else "…"
        lines.append((_cut(f"  {more} {hidden} more steps, pending or done", width, ascii_only), "bright_black"))
    return lines


def transitions(before: RunView | None, after: RunView, now: datetime, *, ascii_only: bool = False) -> list[str]:
    """What changed between two looks, greppable: ``2026-11-24T12:00:03Z run step Pending→Running``.

    A run begins before its steps and ends after them. At the first look (``before`` is None) things may have changed
    long ago: they carry the instants the cluster recorded, and come in that order.
    """
    arrow = "->" if ascii_only else "→"
    old = {step.name: step for step in before.steps} if before else {}

    def line(at: datetime | None, what: str, earlier: Phase | None, phase: Phase, detail: str) -> tuple[str, str]:
        stamp = format_instant(now if before is not None or at is None else at)
        return stamp, f"{stamp} {what} {word_of(earlier)}{arrow}{phase}{detail}"

    of_steps = []
    for step in after.steps:
        same = old.get(step.name)
        earlier = same.phase if same else None
        if step.phase is not None and step.phase is not earlier:
            detail = f"  {step.detail}" if step.detail and (step.phase.terminal or step.waits) else ""
            of_steps.append(line(step.moved_at, f"{after.name} {step.name}", earlier, step.phase, detail))
        elif step.waits and (same is None or step.waits != same.waits):
            stamp = format_instant(now)
            of_steps.append((stamp, f"{stamp} {after.name} {step.name} {word_of(step.phase)}  {step.waits}"))
    of_steps.sort(key=lambda stamped: stamped[0])
    lines = [text for _, text in of_steps]
    earlier = before.phase if before else None
    if after.phase is not None and after.phase is not earlier:
        _, own = line(after.moved_at, after.name, earlier, after.phase, "")
        lines.insert(len(lines) if after.terminal else 0, own)
    return lines


def _shown(view: RunView, rows: int) -> tuple[list[StepView], int]:
    if len(view.steps) <= rows:
        return list(view.steps), 0
    interesting = [step for step in view.steps if step.phase not in (None, Phase.SUCCEEDED, Phase.SKIPPED)]
    shown = interesting[:rows]
    return shown, len(view.steps) - len(shown)


def _cut(text: str, width: int, ascii_only: bool) -> str:
    """At most ``width`` columns; what is cut off is marked."""
    if columns(text) <= width:
        return text
    mark = "..." if ascii_only else "…"
    while text and columns(text) > width - len(mark):
        text = text[:-1]
    return text + mark


def columns(text: str) -> int:
    """How many a terminal needs for ``text``: two for a letter of East Asia, none for an accent of its own."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _row(step: StepView, now: datetime, name_width: int, ascii_only: bool) -> str:
    sign = "" if ascii_only else f"{sign_of(step.phase)} "
    duration = short_duration(step.duration(now))
    return f"{sign}{step.name:<{name_width}}  {word_of(step.phase):<9}  {duration:>7}  {step.detail}".rstrip()
