"""An explanation for people: one block for each cause, with the commands to type. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bubu_contract.instants import format_instant
from cli.render.log_lines import LogForm
from cli.render.log_lines import lines_of as lines_of_log
from cli.render.progress import Styled
from cli.render.time import short_duration
from core.api.phases import Phase
from views.sign import colour_of
from views.why.cause import Cause, CauseKind, Explanation
from views.why.listener import ListenerExplanation

_MARGIN: Final = 10
"""Columns of the left margin, which has one word."""
_LATER: Final = 10
_MOST_CAUSES: Final = 20
"""More would not be read on a screen."""
_CALM: Final = frozenset(
    {
        *(CauseKind.RUNNING, CauseKind.STARTING, CauseKind.SLEEP, CauseKind.ENDED, CauseKind.OPERATOR),
        *(CauseKind.NEEDS, CauseKind.SUSPENDED, CauseKind.DRAIN),
    }
)


def lines_of(explanation: Explanation, now: datetime, *, width: int, ascii_only: bool = False) -> list[Styled]:
    """The lines of an explanation, at most ``width`` columns wide, except for commands, which are never broken."""
    lines: list[Styled] = [(_header(explanation), "bold")]
    if explanation.until is not None:
        lines.append((f"out of time {_instant(explanation.until, now)}", ""))
    if explanation.summary:
        lines.append((f"{_name(explanation)} {explanation.summary}", ""))
    for cause in explanation.causes[:_MOST_CAUSES]:
        lines.append(("", ""))
        lines += _cause(cause, explanation.run, now, width, ascii_only)
    if len(explanation.causes) > _MOST_CAUSES:
        more = f"and {len(explanation.causes) - _MOST_CAUSES} more; all of them with --output json"
        lines += [("", ""), (more, "bright_black")]
    if explanation.later:
        lines.append(("", ""))
        lines += [(line, "bright_black") for line in _later(explanation, width)]
    if explanation.trace is not None:
        lines += [("", ""), (f"trace {explanation.trace.text}", "bright_black")]
    if explanation.unseen:
        text = f"this answer may be incomplete: you may not read {', '.join(explanation.unseen)}"
        lines += [("", ""), *((line, "yellow") for line in textwrap.wrap(text, width))]
    return lines


def _name(explanation: Explanation) -> str:
    """The run; without a run, the StoryTrigger."""
    return explanation.run or f"trigger/{explanation.trigger}"


def lines_of_listener(explanation: ListenerExplanation, now: datetime, *, width: int) -> list[Styled]:
    """The lines about an Impulse, as ``lines_of``."""
    view = explanation.view
    word = "Ready" if view.is_ready else str(view.phase or Phase.PENDING)
    since = f"  since {format_instant(view.since)}" if view.since is not None else ""
    lines: list[Styled] = [(f"impulse/{view.name}  {word}{since}", "bold")]
    if explanation.summary:
        lines.append((f"{view.name} {explanation.summary}", ""))
    for cause in explanation.causes:
        lines.append(("", ""))
        lines += _cause(cause, "", now, width, ascii_only=False)
    if explanation.unseen:
        text = f"this answer may be incomplete: you may not read {', '.join(explanation.unseen)}"
        lines += [("", ""), *((line, "yellow") for line in textwrap.wrap(text, width))]
    return lines


def _header(explanation: Explanation) -> str:
    name = f"{explanation.run}/{explanation.step}" if explanation.step else _name(explanation)
    parts = [name, explanation.phase or Phase.PENDING]
    if explanation.since is not None:
        parts.append(f"since {format_instant(explanation.since)}")
    return "  ".join(parts)


def _cause(cause: Cause, asked: str, now: datetime, width: int, ascii_only: bool) -> Iterator[Styled]:
    colour = colour_of(Phase.FAILED) if cause.kind is CauseKind.FAILED else "" if cause.kind in _CALM else "yellow"
    subject = f"step {cause.step} " if cause.step else f"run {cause.run} " if cause.run else ""
    if not subject and cause.trigger:
        subject = f"trigger {cause.trigger} "
    for line in textwrap.wrap(f"{subject}{cause.text}", width, subsequent_indent="  ", break_on_hyphens=False):
        yield line, colour
    if cause.via:
        yield from _row("through", (" -> " if ascii_only else " → ").join(_way(cause, asked)), width)
    if cause.since is not None:
        yield from _row("since", _instant(cause.since, now), width)
    if cause.until is not None:
        yield from _row("until", _instant(cause.until, now) + (f", then {cause.then}" if cause.then else ""), width)
    for number, (name, value) in enumerate(cause.facts):
        yield from _row("" if number else "error", f"{name}: {value}", width)
    if cause.signal is not None:
        sent = f", {_instant(cause.signal.at, now)}" if cause.signal.at is not None else ""
        yield from _row("signal", f"{cause.signal}{sent}", width)
    if cause.who:
        yield from _row("who", cause.who, width)
    for line in cause.last_lines:
        for text, line_colour in lines_of_log(None, line, None, LogForm.PEOPLE):
            yield f"  | {text}", line_colour
    for number, command in enumerate(cause.commands):
        yield f"  {'do' if not number else '':<{_MARGIN - 2}}{command}", "bold"


def _way(cause: Cause, asked: str) -> Iterator[str]:
    """Steps of the explained run by name alone; with the name of the run where the way enters another run."""
    here = asked
    for place in cause.via:
        run, _, step = place.partition("/")
        yield step if run == here else place
        here = run
    if cause.run != here:
        yield f"run {cause.run}"


def _row(word: str, text: str, width: int) -> Iterator[Styled]:
    lead = f"  {word:<{_MARGIN - 2}}"
    rest = " " * _MARGIN
    for line in textwrap.wrap(
        text, width, initial_indent=lead, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    ):
        yield line, ""


def _later(explanation: Explanation, width: int) -> Iterator[str]:
    shown = explanation.later[:_LATER]
    parts = [f"{step} needs {', '.join(needs)}" for step, needs in shown]
    if len(explanation.later) > len(shown):
        parts.append(f"and {len(explanation.later) - len(shown)} more steps")
    yield from textwrap.wrap(f"later: {'; '.join(parts)}", width, subsequent_indent="  ", break_on_hyphens=False)


def _instant(instant: datetime, now: datetime) -> str:
    """The instant, and its distance from now."""
    if instant > now:
        return f"{format_instant(instant)} (in {short_duration(instant - now)})"
    return f"{format_instant(instant)} ({short_duration(now - instant)} ago)"
