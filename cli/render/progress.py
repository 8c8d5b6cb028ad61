"""The live tree of a run on a terminal, and one line per transition in a pipe. Pure: views in, lines out."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import datetime
from typing import Final
from unicodedata import combining, east_asian_width

from bubu_contract.instants import format_instant
from cli.render.flow import flow_text, flow_texts
from cli.render.time import short_duration
from core.api.phases import Phase, Reason
from views.run_view import BranchTally, RunView, StepView
from views.sign import colour_of, sign_of, word_of
from views.step_layout import parent_of

MAX_ROWS: Final = 40
"""Beyond this number, only steps that change or fail have a row."""
MOST_BRANCHES: Final = 10
"""Beyond this number of branches, only those that are not well have a row, where rows are folded."""
_UNLIMITED: Final = 1 << 30

Styled = tuple[str, str]
"""A line and its colour."""


def tree(view: RunView, now: datetime, *, width: int, rows: int = MAX_ROWS, ascii_only: bool = False) -> list[Styled]:
    """Header and one row per step, branches indented, cut to ``width`` columns and about ``rows`` lines.

    A step that waits for a person has a second row with the command to type, if the first row has no room for it.
    """
    shown, hidden = _shown(view, max(min(rows, MAX_ROWS), 1))
    return _lines(view, shown, hidden, now, width, ascii_only)


def whole_tree(view: RunView, now: datetime, *, folded: str = "", ascii_only: bool = False) -> list[Styled]:
    """The same with a row for every step, however many and long.

    Args:
        folded: the command that shows all steps. If given, a ``parallel`` step with many branches has rows only for
            those that are not well.
    """
    wide = {step.name for step in view.steps if step.branches is not None and step.branches.total > MOST_BRANCHES}
    shown = [step for step in view.steps if not (folded and _is_folded(step, wide))]
    return _lines(view, shown, len(view.steps) - len(shown), now, _UNLIMITED, ascii_only, folded)


def _lines(
    view: RunView,
    steps: Sequence[StepView],
    hidden: int,
    now: datetime,
    width: int,
    ascii_only: bool,
    all_with: str = "",
) -> list[Styled]:
    duration = short_duration(view.duration(now))
    if duration and view.timeout and not view.terminal:
        duration += f" of {short_duration(view.timeout)}"
    progress = view.progress() if view.streams else f"{view.progress()} steps"
    execution = f"execution {view.executions}" if view.executions > 1 else ""
    parts = (view.name, view.word, progress, duration, execution, view.queue)
    header = "  ".join(part for part in parts if part)
    lines: list[Styled] = [(_cut(header, width, ascii_only), "bold")]
    labels = _labels(steps)
    name_width = max(map(len, labels), default=0)
    flows = flow_texts(steps)
    for step, label in zip(steps, labels, strict=True):
        row = _row(step, now, f"{label:<{name_width}}", flows.get(step.name, ""), ascii_only)
        if columns(row) > width and step.until is not None:  # the remaining time is more useful than the instant
            row = row.replace(f" until {format_instant(step.until)}", "", 1)
        answer = f"{row}: {step.answer}" if step.answer else row
        if columns(answer) <= width:
            lines.append((answer, colour_of(step.phase)))
            continue
        lines.append((_cut(row, width, ascii_only), colour_of(step.phase)))
        if step.answer:
            lines.append((_cut(f"    {step.answer}", width, ascii_only), colour_of(step.phase)))
    if hidden:
        more = "..." if ascii_only else "…"
        shown_by = f"; all of them with: {all_with}" if all_with else ""
        lines.append((_cut(f"  {more} {hidden} more steps{shown_by}", width, ascii_only), "bright_black"))
    return lines


def transitions(before: RunView | None, after: RunView, now: datetime, *, ascii_only: bool = False) -> list[str]:
    """The changes between two views, in a form for grep: ``2026-11-24T12:00:03Z run step Pending→Running``.

    A run begins before its steps and ends after them. In the first view (``before`` is None), changes may have happened
    long ago: they have the instants that the cluster recorded, and come in that order.
    """
    arrow = "->" if ascii_only else "→"
    old = {step.name: step for step in before.steps} if before else {}

    def line(at: datetime | None, what: str, earlier: Phase | None, phase: Phase, detail: str) -> tuple[str, str]:
        stamp = format_instant(now if before is not None or at is None else at)
        change = f"{word_of(earlier)}{arrow}{phase}" if word_of(earlier) != phase else str(phase)
        return stamp, f"{stamp} {what} {change}{detail}"

    of_steps = []
    for step in after.steps:
        same = old.get(step.name)
        earlier = same.phase if same else None
        if step.phase is not None and step.phase is not earlier:
            says_more = step.phase.terminal or step.waits
            detail = f"  {_detail_of(step)}".rstrip() if says_more else ""
            of_steps.append(line(step.moved_at, f"{after.name} {step.name}", earlier, step.phase, detail))
        elif step.waits and (same is None or step.waits != same.waits):
            stamp = format_instant(now)
            waits = f"{step.waits}: {step.answer}" if step.answer else step.waits
            of_steps.append((stamp, f"{stamp} {after.name} {step.name} {word_of(step.phase)}  {waits}"))
    of_steps.sort(key=lambda stamped: stamped[0])
    lines = [text for _, text in of_steps]
    earlier = before.phase if before else None
    if after.phase is not None and after.phase is not earlier:
        _, own = line(after.moved_at, after.name, earlier, after.phase, "")
        lines.insert(len(lines) if after.terminal else 0, own)
    return lines


def _detail_of(step: StepView) -> str:
    """With the totals of a stream that has ended."""
    if step.flow is not None and step.phase is not None and step.phase.terminal:
        return ", ".join(part for part in (flow_text(step), step.detail) if part)
    return f"{step.detail}: {step.answer}" if step.answer else step.detail


def _shown(view: RunView, rows: int) -> tuple[list[StepView], int]:
    if len(view.steps) <= rows:
        return list(view.steps), 0
    interesting = [step for step in view.steps if step.phase not in (None, Phase.SUCCEEDED, Phase.SKIPPED)]
    if len(interesting) > rows:
        interesting = [step for step in interesting if not _is_one_of_many(step)]
    shown = interesting[:rows]
    return shown, len(view.steps) - len(shown)


def _is_folded(step: StepView, wide: Container[str]) -> bool:
    """Whether it is inside of a ``parallel`` step with many branches, and well: the row of that step counts it."""
    return any(parent in wide for parent in _parents(step.name)) and _is_well(step)


def _is_well(step: StepView) -> bool:
    """Whether nobody has to look at it."""
    if step.phase is None or step.phase.terminal:
        return step.phase is None or not step.phase.failing
    is_held_up = step.kind == "engram" and bool(step.waits) and step.reason != Reason.QUEUED
    return not (step.answer or step.retries or is_held_up)


def _parents(name: str) -> Iterator[str]:
    while name := parent_of(name):
        yield name


def _is_one_of_many(step: StepView) -> bool:
    """An active item of a ``forEach`` without problems: the step around it counts the items that have ended."""
    is_item = bool(step.depth) and step.name.rpartition("/")[2].isdecimal()
    return is_item and step.at_work and not step.answer


def _labels(steps: Sequence[StepView]) -> list[str]:
    """Branches by the last part of their name, indented below the step around them; in full if that is not shown."""
    shown = {step.name for step in steps}
    return [
        f"{'  ' * step.depth}{step.name.rpartition('/')[2]}"
        if not step.depth or parent_of(step.name) in shown
        else f"{'  ' * step.depth}{step.name}"
        for step in steps
    ]


def _cut(text: str, width: int, ascii_only: bool) -> str:
    """The text with at most ``width`` columns; a mark shows that it was cut."""
    if columns(text) <= width:
        return text
    mark = "..." if ascii_only else "…"
    while text and columns(text) > width - len(mark):
        text = text[:-1]
    return text + mark


def columns(text: str) -> int:
    """The columns that a terminal needs for ``text``: two for an East Asian letter, none for a combining accent."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _row(step: StepView, now: datetime, label: str, flow: str, ascii_only: bool) -> str:
    sign = "" if ascii_only else f"{sign_of(step.phase)} "
    duration = short_duration(step.duration(now))
    signal = str(step.signal) if step.signal is not None else ""
    tally = branches_text(step.branches) if step.branches is not None else ""
    detail = ", ".join(part for part in (tally, step.detail, signal) if part)
    detail = "  ".join(part for part in (flow, detail) if part)
    if step.until is not None and step.until > now:
        detail += f" ({short_duration(step.until - now)} left)"
    return f"{sign}{label}  {word_of(step.phase):<9}  {duration:>7}  {detail}".rstrip()


def branches_text(branches: BranchTally) -> str:
    """How many branches of a step have ended: ``48/50 done, 1 failed``."""
    failed = f", {branches.failed} failed" if branches.failed else ""
    return f"{branches.ended}/{branches.total} done{failed}"
