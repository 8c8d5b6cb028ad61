"""Logs of a run's steps: of their Pods, in order of time, and of attempts without a Pod what the SDK has stored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import trio

from bubu_contract.identity import label_value
from bubu_contract.instants import parse_instant_or_none
from cli.log_order import LinesInOrder, LogSource
from cli.object_store import find_stores
from cli.pod_logs import PodLog, attempts_started, numbered, previous_of, read_pod_log
from cli.problem import CommandError
from cli.render.log_lines import LogForm, lines_of
from cli.runs import look_at, pods_of, step_runs_of
from cli.session import Session, patiently
from cli.worker_logs import WarmLog, WorkerFollower, read_worker_logs
from core.api.objects import Object
from core.api.phases import TERMINAL_PHASES, Phase
from core.api.resource import STORY_RUN
from core.api.suggestion import closest
from core.engine.clock import system_now
from core.engine.errors import NoStoreError
from core.engine.ports import JOB, WORKER
from core.engine.step.record import executor_of
from core.kube.errors import TransportError
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.store import PAGE_OBJECTS, Store
from views.log_lines import readable
from views.lost_logs import LostLog, lost_log, may_have_logged, never_begins, why_never_begun
from views.step_layout import path_of

_POLL_SECONDS: Final = 0.5
_NAMES_IN_MESSAGES: Final = 5


@dataclass(frozen=True, slots=True)
class LogWish:
    """Conditions for lines; without a condition, all lines."""

    steps: tuple[str, ...] = ()
    follow: bool = False
    failed: bool = False
    previous: bool = False
    """Only the attempt before the last one of each step."""
    attempt: int | None = None
    tail: int | None = None
    since_seconds: int | None = None
    pattern: re.Pattern[str] | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the request to the API server."""
        given = {"tailLines": self.tail, "sinceSeconds": self.since_seconds}
        numbers = {name: str(value) for name, value in given.items() if value is not None}
        return {**numbers, **({"follow": "true"} if self.follow else {})}

    def means(self, step: str) -> bool:
        return not self.steps or step in self.steps or step in map(label_value, self.steps)

    def takes(self, log: PodLog) -> bool:
        return (
            self.means(log.step)
            and (self.attempt is None or log.attempt == self.attempt)
            and (not self.failed or log.has_failed)
        )

    def takes_warm(self, log: WarmLog) -> bool:
        return (
            self.means(log.step)
            and (self.attempt is None or log.attempt == self.attempt)
            and (not self.failed or log.has_failed)
            and (not self.previous or log.is_previous)
        )

    def matches(self, line: str) -> bool:
        return self.pattern is None or bool(self.pattern.search(line))

    @property
    def is_specific(self) -> bool:
        """Whether a user asks for a certain log, so that it is an error if there is none."""
        return bool(self.steps) or self.previous or self.attempt is not None


@dataclass
class _Printer:
    """Prints lines, and knows which logs have been seen."""

    session: Session
    wish: LogWish
    form: LogForm
    seen: set[str | LogSource] = field(default_factory=set)

    def show(self, source: LogSource, at: datetime | None, text: str) -> None:
        if not self.wish.matches(text):
            return
        whole_time = self.session.options.time_style.value == "iso"
        for line, colour in lines_of(source, text, at, self.form, whole_time=whole_time):
            self.session.console.line(line, colour)


async def print_logs(session: Session, run: Object, wish: LogWish, form: LogForm | None = None) -> None:
    """Print the logs; with ``follow``, as the lines come, until the run's Pods have ended.

    Args:
        form: None for that of the reader: in words on a terminal, in a pipe as they were written, behind their source.
    Raises:
        CommandError: there is no such log, or none yet.
    """
    form = form or (LogForm.PEOPLE if session.console.reader_is_person else LogForm.LABELLED)
    printer = _Printer(session, wish, form)
    if wish.follow:
        await _follow(printer, run)
    else:
        await _print_all(printer, run)


async def _follow(printer: _Printer, run: Object) -> None:
    session, wish = printer.session, printer.wish

    def show_warm(step: str, attempt: int, at: datetime | None, text: str) -> None:
        if wish.means(step) and wish.attempt in (None, attempt):
            printer.seen.add(LogSource(step, attempt))
            printer.show(LogSource(step, attempt), at, text)

    workers = WorkerFollower(session, run, show_warm, since_seconds=wish.since_seconds)
    async with trio.open_nursery() as of_workers:
        async with trio.open_nursery() as nursery:
            while True:
                over = await patiently(lambda: _over(session, run))
                step_runs = await patiently(lambda: step_runs_of(session, run))
                pods = await patiently(lambda: pods_of(session, run, tolerant=False))
                for log in numbered(pods, step_runs):
                    if wish.takes(log) and log.name not in printer.seen and log.has_started:
                        printer.seen.add(log.name)
                        show = _labelled(printer.show, LogSource(log.step, log.attempt))
                        nursery.start_soon(_read_to_the_end, session, log, wish.parameters, show)
                await workers.look(of_workers, step_runs)
                if over:
                    break
                await trio.sleep(_POLL_SECONDS)
        if workers.has_workers:  # their logs do not end with the run
            await trio.sleep(_POLL_SECONDS)
        of_workers.cancel_scope.cancel()
    if workers.has_workers:
        await workers.read_rest(step_runs)
    if not printer.seen:  # their Pods have gone, or never started
        await _print_all(printer, await session.client.get(STORY_RUN, run["metadata"]["name"], session.namespace))


async def _read_to_the_end(
    session: Session, log: PodLog, parameters: dict[str, str], show: Callable[[datetime | None, str], object]
) -> None:
    try:
        await read_pod_log(session, log, parameters, show)
    except TransportError as error:  # those of other Pods go on
        session.console.note(f"the log of Pod {log.name} broke off: {error}")


async def _print_all(printer: _Printer, run: Object) -> None:
    session, wish = printer.session, printer.wish
    step_runs = await step_runs_of(session, run)
    logs = [log for log in numbered(await pods_of(session, run, tolerant=False), step_runs) if log.has_started]
    chosen = [log for log in (previous_of(logs) if wish.previous else logs) if wish.takes(log)]
    of_workers = await read_worker_logs(session, run, step_runs)
    warm = [log for log in of_workers if wish.takes_warm(log)]
    have = {(log.step, log.attempt) for log in logs} | {(log.step, log.attempt) for log in of_workers}
    chosen_steps = {log.step for log in chosen} | {log.step for log in warm}
    missing = _without_pod(step_runs, have, chosen_steps, wish)
    stored, found = [StoredLog(log.step, log.attempt, log.lines) for log in warm], StoredLogs((), "")
    if can_be_stored := [step_run for step_run, _ in missing if executor_of(step_run) in (JOB, WORKER)]:
        found = await read_stored_logs(session, run, can_be_stored)
        wanted = {(path_of(step_run), number) for step_run, numbers in missing for number in numbers}
        stored += [log for log in found.logs if (log.step, log.attempt) in wanted]
    await _in_order(printer, chosen, stored)
    shown = {(log.step, log.attempt) for log in chosen} | {(log.step, log.attempt) for log in stored}
    lacking = [
        (step_run, number)
        for step_run, numbers in missing
        for number in numbers
        if (path_of(step_run), number) not in shown
    ]
    if lacking and (wish.is_specific or not shown):
        _refuse(session, run, lacking, found, is_error=wish.is_specific and not shown)
    elif not shown and not lacking:
        await _say_why_none(session, run, step_runs, wish)
    _say_which_attempts(session, run, step_runs, shown, wish)


def _without_pod(
    step_runs: Sequence[Object], have: Set[tuple[str, int]], chosen: Set[str], wish: LogWish
) -> list[tuple[Object, list[int]]]:
    """StepRuns and their attempts that are wanted and whose Pods have gone.

    Args:
        have: step and number of each attempt of which there is a log.
        chosen: the steps of which a log is printed.
    """
    found = []
    for step_run in step_runs:
        step, last = path_of(step_run), attempts_started(step_run)
        if not wish.means(step) or not _has_had_an_attempt(step_run):
            continue
        if wish.previous:
            numbers = [last - 1] if last > 1 and step not in chosen else []
        else:
            known = {attempt for each, attempt in have if each == step}
            every = [wish.attempt] if wish.attempt is not None else [] if known else list(range(1, last + 1))
            numbers = [number for number in every if number <= last and number not in known]
        if wish.failed:
            has_failed = (step_run.get("status") or {}).get("phase") != Phase.SUCCEEDED
            numbers = [number for number in numbers if number < last or has_failed]
        if numbers:
            found.append((step_run, numbers))
    return found


def _has_had_an_attempt(step_run: Object) -> bool:
    """Whether an attempt has ended that had a log."""
    status = step_run.get("status") or {}
    return may_have_logged(step_run) and (status.get("phase") in TERMINAL_PHASES or bool(status.get("retries")))


async def _in_order(printer: _Printer, logs: Sequence[PodLog], stored: Sequence[StoredLog]) -> None:
    """Print all lines in order of time."""
    waiting, wish = LinesInOrder(), printer.wish
    for log in stored:
        waiting.add(LogSource(log.step, log.attempt), _narrowed(log.lines, wish.since_seconds, wish.tail))
    for index, pod_log in enumerate(logs):
        lines: list[tuple[datetime | None, str]] = []
        await read_pod_log(printer.session, pod_log, wish.parameters, _collector(lines))
        waiting.add(LogSource(pod_log.step, pod_log.attempt), lines)
        following = logs[index + 1].pod["metadata"].get("creationTimestamp") if index + 1 < len(logs) else None
        for line in waiting.older_than(parse_instant_or_none(following)):
            printer.show(line.source, line.at, line.text)
    for line in waiting.rest():
        printer.show(line.source, line.at, line.text)


def _collector(lines: list[tuple[datetime | None, str]]) -> Callable[[datetime | None, str], None]:
    return lambda at, text: lines.append((at, text))


def _narrowed(
    lines: Sequence[tuple[datetime | None, str]], since_seconds: int | None, tail: int | None
) -> Sequence[tuple[datetime | None, str]]:
    """The lines that the API server would give of a log."""
    if since_seconds is not None:
        earliest = system_now() - timedelta(seconds=since_seconds)
        lines = [(at, text) for at, text in lines if at is not None and at >= earliest]
    return lines if tail is None else lines[max(len(lines) - tail, 0) :]


def _refuse(
    session: Session, run: Object, lacking: Sequence[tuple[Object, int]], found: StoredLogs, *, is_error: bool
) -> None:
    """Say which logs are lost, why, and what can be done; logs with the same fate together."""
    follow = session.command("logs", run["metadata"]["name"], "--follow")
    fates: dict[LostLog, list[str]] = {}
    for step_run, number in lacking:
        is_last = number == attempts_started(step_run)
        fate = lost_log(step_run, is_last=is_last, problem=found.problem, has_store=found.has_store, follow=follow)
        fates.setdefault(fate, []).append(str(LogSource(path_of(step_run), number)))
    texts = [f"no logs of {_named(labels)}: {fate.why}" for fate, labels in fates.items()]
    remedies = list(dict.fromkeys(fate.remedy for fate in fates))
    if is_error:
        raise CommandError("\n".join(texts), remedy="\nhint: ".join(remedies))
    session.console.note("\n".join((*texts, *(f"hint: {remedy}" for remedy in remedies))))


async def _say_why_none(session: Session, run: Object, step_runs: Sequence[Object], wish: LogWish) -> None:
    """Say why there is nothing to show, and nothing lost.

    Raises:
        CommandError: the user has asked for a certain log.
    """
    steps, by_step = _named(wish.steps), {path_of(each): each for each in step_runs}
    view = await look_at(session, run)
    never = [
        f"no logs of {step.name}: {why_never_begun(step, by_step.get(step.name))}"
        for step in view.steps
        if wish.means(step.name) and never_begins(step, by_step.get(step.name))
    ]
    if never and (wish.steps or not any(map(may_have_logged, step_runs))):
        remedy = f"see more with: {session.command('why', view.name)}"
        text = "\n".join(never[:_NAMES_IN_MESSAGES])
        if wish.is_specific:
            raise CommandError(text, remedy=remedy)
        session.console.note(f"{text}\nhint: {remedy}")
    elif wish.previous:
        raise CommandError(
            f"there is no log of a previous attempt of {steps}: it has had only one",
            remedy="leave out --previous to see the last attempt",
        )
    elif wish.attempt is not None:
        raise CommandError(
            f"there is no log of attempt {wish.attempt} of {steps}: it has had fewer",
            remedy="see how many with: bobrapet get RUN/STEP",
        )
    elif wish.steps:
        raise CommandError(f"no logs of {steps}: no Pod has started yet", remedy="wait for one with --follow")


def _say_which_attempts(
    session: Session, run: Object, step_runs: Sequence[Object], shown: Set[tuple[str, int]], wish: LogWish
) -> None:
    """Say that steps of which a log is shown have had other attempts, too."""
    if wish.attempt is not None or wish.previous:
        return
    for step_run in step_runs:
        step, last = path_of(step_run), attempts_started(step_run)
        numbers = sorted(number for name, number in shown if name == step)
        if numbers and len(numbers) < last and wish.means(step) and not wish.follow:
            first = next(number for number in range(1, last + 1) if number not in numbers)
            other = session.command("logs", f"{run['metadata']['name']}/{step}", f"--attempt={first}")
            which = "attempt" if len(numbers) == 1 else "attempts"
            session.console.note(f"{step}: {which} {', '.join(map(str, numbers))} of {last}; the first other: {other}")


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_IN_MESSAGES]) or "any step"
    more = len(names) - _NAMES_IN_MESSAGES
    return f"{shown} and {more} more" if more > 0 else shown


def _labelled(
    show: Callable[[LogSource, datetime | None, str], None], source: LogSource
) -> Callable[[datetime | None, str], None]:
    return lambda at, text: show(source, at, text)


async def refuse_unknown_steps(session: Session, run: Object, steps: Sequence[str]) -> None:
    """Raises:
    CommandError: the run does not have such a step; the message names those that it has.
    """
    if not steps:
        return
    known = [step.name for step in (await look_at(session, run)).steps]
    for step in steps:
        if step not in known:
            near = closest(step, known)
            remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(known)}"
            raise CommandError(f"run {run['metadata']['name']} has no step {step!r}", remedy=remedy)


async def _over(session: Session, run: Object) -> bool:
    metadata = run["metadata"]
    stored = await session.client.get(STORY_RUN, metadata["name"], metadata["namespace"])
    return bool((stored.get("status") or {}).get("finishedAt"))


_LOG_BYTES: Final = 4 << 20
"""More than the SDK stores."""
_LAST_RECORDS: Final = 20
"""Records at the end, in which the number of the attempt is searched for."""
_SDK_LOGGER: Final = "bubu_sdk"


@dataclass(frozen=True, slots=True)
class StoredLog:
    """What one attempt of a step has logged."""

    step: str
    attempt: int
    lines: tuple[tuple[datetime | None, str], ...]


@dataclass(frozen=True, slots=True)
class StoredLogs:
    logs: tuple[StoredLog, ...]
    problem: str
    """Why there may be more that cannot be read; empty if everything was read."""
    has_store: bool = True
    """Whether the operator has an object store."""


async def read_stored_logs(session: Session, run: Object, step_runs: Sequence[Object]) -> StoredLogs:
    """The stored logs of all attempts of these StepRuns, oldest first for each."""
    try:
        store = (await find_stores(session)).of(run["metadata"]["namespace"])
    except CommandError as error:
        return StoredLogs((), str(error), has_store=not isinstance(error.__cause__, NoStoreError))
    found: list[StoredLog] = []
    for step_run in step_runs:
        try:
            found += await _of_step(store, run, step_run)
        except (PayloadError, StoreUnavailableError) as error:
            return StoredLogs(tuple(found), str(error))
    return StoredLogs(tuple(found), "")


async def _of_step(store: Store, run: Object, step_run: Object) -> list[StoredLog]:
    metadata, after = run["metadata"], ""
    own = step_run["metadata"]["name"]
    folder = "/".join((metadata["namespace"], "logs", metadata["name"], step_run["spec"]["stepId"], own))
    keys: list[str] = []
    while page := await store.page(folder, after=after, limit=PAGE_OBJECTS):
        after = page[-1].key
        keys += [each.key for each in page]
    texts = [(await store.read(key, _LOG_BYTES)).decode(errors="replace") for key in keys]
    told = [_attempt_in(text) for text in texts]
    last = max(attempts_started(step_run), len(texts))
    numbers = _numbers(told, last)
    return [
        StoredLog(path_of(step_run), number, tuple((readable(line).at, line) for line in text.splitlines()))
        for number, text in zip(numbers, texts, strict=True)
    ]


def _numbers(told: Sequence[int | None], last: int) -> list[int]:
    """The attempts of the logs: as they say themselves; one that does not comes just before the next one."""
    numbers: list[int] = []
    following = last + 1
    for number in reversed(told):
        following = number if number is not None else max(following - 1, 1)
        numbers.insert(0, following)
    return numbers


def _attempt_in(text: str) -> int | None:
    """The attempt that the SDK has written into one of the last records of a log."""
    for line in reversed(text.splitlines()[-_LAST_RECORDS:]):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("logger") == _SDK_LOGGER and isinstance(record.get("attempt"), int):
            return int(record["attempt"])
    return None
