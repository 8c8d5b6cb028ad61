"""One step in full, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from bubu_contract.instants import format_instant
from cli.render.output import yaml_text
from cli.render.progress import Styled, branches_text
from cli.render.time import short_duration
from core.api.artifact import for_people
from views.run_view import CommandText
from views.sign import colour_of, word_of
from views.step_detail import PodDetail, StepDetail

_MARGIN: Final = 10


def lines_of(detail: StepDetail, now: datetime, command: CommandText) -> Iterator[Styled]:
    """The lines: what it is and how it ended, inputs, output, and what to type for more.

    Args:
        command: the command to type for a verb.
    """
    step = detail.step
    duration = short_duration(step.duration(now))
    header = "  ".join(part for part in (f"{detail.run}/{step.name}", word_of(step.phase), duration) if part)
    yield header, "bold"
    yield from _row("kind", _kind(detail))
    if step.branches is not None:
        yield from _row("branches", branches_text(step.branches))
    if step.waits:
        yield from _row("waits", step.waits)
    if detail.attempts or detail.next_attempt_at is not None:
        yield from _row("attempts", _attempts(detail, now))
    if detail.last_failure:
        yield from _row("failed", detail.last_failure, colour_of(step.phase))
    elif step.detail and step.detail != step.waits and not detail.attempts:
        yield from _row("message", step.detail)
    for number, (name, value) in enumerate(step.error):
        yield from _row("" if number else "error", f"{name}: {value}")
    if step.child_run:
        yield from _row("run", f"{step.child_run}: {command('get', step.child_run)}")
    if detail.job:
        yield from _row("job", detail.job)
    if detail.pod is not None:
        yield from _row("pod", _pod(detail.pod))
    for number, signal in enumerate(detail.signals):
        sent = f", {short_duration(now - signal.at)} ago" if signal.at is not None else ""
        yield from _row("" if number else "signals", f"{signal}{sent}")
    for number, (key, state) in enumerate(detail.effects):
        yield from _row("" if number else "effects", f"{key} {state}".rstrip())
    for number, (what, at) in enumerate(detail.timings):
        yield from _row("" if number else "times", f"{format_instant(at)}  {what}")
    if detail.trace is not None:
        yield from _row("trace", detail.trace.text)
    yield from _data("inputs", detail.inputs)
    yield from _data("output", detail.output)
    commands = list(_more(detail))
    if commands:
        yield "", ""
    for number, words in enumerate(commands):
        yield f"{'more' if not number else '':<{_MARGIN}}{command(*words)}", "bright_black"


def _row(word: str, text: str, colour: str = "") -> Iterator[Styled]:
    yield f"{word:<{_MARGIN}}{text}", colour


def _kind(detail: StepDetail) -> str:
    if detail.is_script:
        return "script"
    return f"engram {detail.engram}" if detail.engram else detail.step.kind


def _attempts(detail: StepDetail, now: datetime) -> str:
    allowed = f" of {detail.most_attempts}" if detail.most_attempts is not None else ""
    if detail.next_attempt_at is None:
        return f"{detail.attempts}{allowed}"
    left = short_duration(max(detail.next_attempt_at - now, now - now))
    return f"{detail.attempts}{allowed}; the next one starts {format_instant(detail.next_attempt_at)} (in {left})"


def _pod(pod: PodDetail) -> str:
    parts = [pod.name, pod.phase, f"on {pod.node}" if pod.node else "", f"image {pod.image}" if pod.image else ""]
    parts.append(f"{pod.restarts} restarts" if pod.restarts else "")
    return ", ".join(part for part in parts if part)


def _data(name: str, value: Any) -> Iterator[Styled]:
    if value is None:
        return
    yield "", ""
    yield f"{name}:", "bold"
    for line in yaml_text(for_people(value)).splitlines():
        yield f"  {line}", ""


def _more(detail: StepDetail) -> Iterator[tuple[str, ...]]:
    run, step = detail.run, detail.step.name
    if detail.engram or detail.is_script:
        if detail.may_have_logs:
            yield "logs", run, step
        yield "explain", "step", f"{run}/{step}"
        yield "debug", f"{run}/{step}"
    if not (detail.step.phase is not None and detail.step.phase.terminal):
        yield "why", f"{run}/{step}"
    if detail.output is not None:
        yield "outputs", run, step
