"""The live tree of a run on a terminal, and one line per transition in a pipe. Pure: views in, lines out."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from core.api.instant import format_instant
from core.api.phases import Phase
from manager.cli.render.sign import colour_of, sign_of, word_of
from manager.cli.render.time import short_duration
from manager.cli.view import RunView, StepView

MAX_ROWS: Final = 40
"""Above it only what changes or fails keeps a row."""

Styled = tuple[str, str]
"""A line and its colour."""


def tree(view: RunView, now: datetime, *, width: int, ascii_only: bool = False) -> list[Styled]:
    """Header and one row per step, cut to ``width`` columns."""
    duration = short_duration(view.duration(now))
    header = f"{view.name}  {word_of(view.phase)}  {view.done}/{len(view.steps)} steps  {duration}".rstrip()
    lines: list[Styled] = [(header, "bold")]
    steps, hidden = _shown(view)
    name_width = max((len(step.name) for step in steps), default=0)
    lines += [(_row(step, now, name_width, ascii_only)[:width], colour_of(step.phase)) for step in steps]
    if hidden:
        lines.append((f"  … {hidden} more steps, pending or done", "bright_black"))
    return lines


def transitions(before: RunView | None, after: RunView, now: datetime) -> list[str]:
    """What changed between two looks, greppable: ``2026-11-24T12:00:03Z run step Pending→Running``."""
    old = {step.name: step.phase for step in before.steps} if before else {}
    stamp = format_instant(now)
    lines = []
    for step in after.steps:
        earlier = old.get(step.name)
        if step.phase is not None and step.phase is not earlier:
            detail = f"  {step.detail}" if step.detail and step.phase.terminal else ""
            lines.append(f"{stamp} {after.name} {step.name} {word_of(earlier)}→{step.phase}{detail}")
    if after.phase is not None and (before is None or before.phase is not after.phase):
        lines.append(f"{stamp} {after.name} {word_of(before.phase if before else None)}→{after.phase}")
    return lines


def _shown(view: RunView) -> tuple[list[StepView], int]:
    if len(view.steps) <= MAX_ROWS:
        return list(view.steps), 0
    interesting = [step for step in view.steps if step.phase not in (None, Phase.SUCCEEDED, Phase.SKIPPED)]
    shown = interesting[:MAX_ROWS]
    return shown, len(view.steps) - len(shown)


def _row(step: StepView, now: datetime, name_width: int, ascii_only: bool) -> str:
    sign = "" if ascii_only else f"{sign_of(step.phase)} "
    duration = short_duration(step.duration(now))
    return f"{sign}{step.name:<{name_width}}  {word_of(step.phase):<9}  {duration:>7}  {step.detail}".rstrip()
