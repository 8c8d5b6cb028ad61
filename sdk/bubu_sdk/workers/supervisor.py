"""The supervisor of a worker: it sees what is assigned, starts and ends steps, and reports how they ended.

The main thread decides; it waits for news in one queue. Other threads only bring news, or carry one attempt from its
start to its report. Times, in seconds:

    0    the last renewal of the Lease that the API server has answered
    12   steps that run are asked to end: the operator may soon take this worker for lost
    16   their processes are killed
    20   the operator takes the worker for lost, and starts their next attempts
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from bubu_contract import durations
from bubu_sdk import contract, logs, status
from bubu_sdk.batch import TIMEOUT_EXIT_CODE
from bubu_sdk.errors import EngramError, Object
from bubu_sdk.timing import utc_now
from bubu_sdk.workers import clock, ledger
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.deadline import Deadlines
from bubu_sdk.workers.heartbeat import WorkerState
from bubu_sdk.workers.isolation import Isolation, RunningStep
from bubu_sdk.workers.ledger import End, Ledger, Release, Start
from bubu_sdk.workers.order import StepOrder
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.settings import WorkerSettings, seconds_of
from bubu_sdk.workers.watching import Listed, LostSight, Seen, WatchNews

UNSURE_SECONDS: Final = 12.0
KILL_SECONDS: Final = 16.0
_NEVER: Final = float("inf")
_LOOK_SECONDS: Final = 0.5
"""The longest time without a look at the clock and at signals."""
_OVERDUE_SECONDS: Final = 10.0
"""An attempt that is not over so long after it was killed never will be: the worker ends."""
_OVERDUE_LOOKS: Final = 5
"""And after so many looks: a process that was stopped for a while did not see its end."""
_REPORT_SECONDS: Final = 5.0
"""The time that a process has to report after the grace of its function, before it is killed."""
_CANNOT_START: Final = 128
_ANNOUNCE_SECONDS: Final = 3.0

log = logging.getLogger(logs.SDK_LOGGER)


@dataclass(frozen=True)
class AttemptOver:
    """An attempt is reported, or needs no report."""

    attempt: AssignedAttempt


@dataclass(frozen=True)
class LeaseRenewed:
    """The API server has answered a renewal."""

    silence_seconds: float = 0.0
    """The time since the renewal before."""


@dataclass(frozen=True)
class EndRequested:
    """A signal asks the worker to end."""


@dataclass(frozen=True)
class Unable:
    """The worker cannot go on; a new process of the container may."""

    reason: str


News = WatchNews | AttemptOver | LeaseRenewed | EndRequested | Unable


class Reports(Protocol):
    """Writes ends of attempts into the StepRuns."""

    def report(self, attempt: AssignedAttempt, outcome: AttemptOutcome, known: Object | None) -> None:
        """Blocks until there is nothing to write any more, or until ``stop``."""

    def stop(self) -> None:
        """Give up what cannot be written at once."""


class Pulse(Protocol):
    """The Lease of this worker."""

    renewed_at: float | None
    announced: WorkerState | None
    """The state that the API server has."""

    def begin(self) -> None:
        """Start to renew it."""

    def announce(self, state: WorkerState) -> None:
        """Tell the operator a new state."""


@dataclass
class _Running:
    """An attempt in its thread. ``step`` is set once it is started."""

    attempt: AssignedAttempt
    step: RunningStep | None = None
    is_ending: bool = False
    is_over: bool = False
    """Its process has ended; it is being reported."""
    kill_at: float = field(default=float("inf"))
    """By ``clock.now()``."""
    killed_at: float | None = None
    kills: int = 0


class WorkerSupervisor:
    """One worker. ``run`` blocks until its end; ``terminate`` may be called by a signal handler."""

    def __init__(
        self,
        settings: WorkerSettings,
        isolation: Isolation,
        reports: Reports,
        environ: Mapping[str, str],
        *,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._settings = settings
        self._isolation = isolation
        self._reports = reports
        self._environ = environ
        self._now = now
        self._began_at = now()
        self._news: SimpleQueue[News] = SimpleQueue()
        self._ledger = Ledger(settings.pod_uid, settings.concurrency)
        self._deadlines = Deadlines()
        self._running: dict[tuple[str, int], _Running] = {}
        self._lock = threading.Lock()
        self._pulse: Pulse | None = None
        self._is_first_list = True
        self._list_anew: Callable[[], int] = lambda: 0
        self._resumes_with: float = _NEVER
        """The number of the list that ends a hold."""
        self._drain_ends_at = float("inf")
        self._drain_began_at = float("inf")
        self._asks_at = float("inf")
        self._is_draining = False
        self._must_exit = False
        self._exit_code = 0
        self.looked_at = self._began_at
        """When the main thread was not stuck; the heartbeat asks."""

    def post(self, news: News) -> None:
        """Tell the supervisor something. Any thread may call it, also a signal handler."""
        self._news.put(news)

    def terminate(self) -> None:
        """Take nothing new, and end when what is under way has ended, or after the grace."""
        self.post(EndRequested())

    def run(self, pulse: Pulse, list_anew: Callable[[], int]) -> int:
        """Serve until the end; returns the exit code of the worker.

        ``pulse`` begins after the first list. ``list_anew`` asks for another one, and returns the number that it has.
        """
        self._pulse = pulse
        self._list_anew = list_anew
        while True:
            try:
                news = self._news.get(timeout=_LOOK_SECONDS)
            except Empty:
                pass
            else:
                self.looked_at = self._now()
                self._take(news)
            self._look_at_clock()
            if self._must_exit or self._has_drained():
                return self._exit_code

    def _take(self, news: News) -> None:
        """Do what follows from the news."""
        match news:
            case Listed(step_runs, number) if self._ledger.holds and number >= self._resumes_with:
                self._resumes_with = _NEVER
                self._do(self._ledger.resume(step_runs))
            case Listed(step_runs):
                self._do(self._ledger.replace(step_runs, left_behind=self._is_first_list))
                if self._is_first_list and self._pulse is not None:
                    self._is_first_list = False
                    self._began_at = self._now()
                    self._pulse.begin()
            case Seen(step_run):
                self._do(self._ledger.see(step_run))
            case LostSight(step_run):
                self._do(self._ledger.lose_sight(step_run))
            case AttemptOver(attempt):
                with self._lock:
                    self._running.pop(attempt.key, None)
                self._do(self._ledger.over(attempt))
            case LeaseRenewed(silence_seconds):
                if silence_seconds > UNSURE_SECONDS:  # this thread may not have looked meanwhile
                    self._hold(self._now() - silence_seconds + KILL_SECONDS)
                if self._ledger.holds and self._resumes_with == _NEVER:
                    self._resumes_with = self._list_anew()
            case EndRequested():
                if self._is_draining:  # asked again: it is urgent
                    self._asks_at = self._now()
                self._drain()
            case Unable(reason):
                log.error("the worker ends: %s", reason)
                self._exit_code = 1
                self._drain()

    def _do(self, steps: Sequence[ledger.Step]) -> None:
        for step in steps:
            match step:
                case Start(attempt, step_run):
                    self._begin(attempt, step_run)
                case Release(attempt, step_run, exit_code):
                    self._carry(attempt, StepOrder(attempt, step_run), AttemptOutcome(exit_code))
                case End(attempt, at_once):
                    self._end(attempt, self._now() if at_once and self._isolation.can_kill else None)

    def _begin(self, attempt: AssignedAttempt, step_run: Object) -> None:
        """Start an attempt, unless its time was over before this worker had room for it, or saw it."""
        timeout_seconds = self._timeout_seconds(attempt)
        now = self._now()
        ends_at = self._deadlines.of(attempt, timeout_seconds, now)
        too_late = None if now < ends_at else _not_begun(timeout_seconds)
        self._carry(attempt, StepOrder(attempt, step_run, ends_at=ends_at), too_late)

    def _carry(self, attempt: AssignedAttempt, order: StepOrder, outcome: AttemptOutcome | None) -> None:
        running = _Running(attempt)
        with self._lock:
            self._running[attempt.key] = running
        threading.Thread(
            target=self._carry_out, args=(running, order, outcome), name="bubu-attempt", daemon=True
        ).start()

    def _carry_out(self, running: _Running, order: StepOrder, outcome: AttemptOutcome | None) -> None:
        """The thread of one attempt, from its start to its report."""
        attempt, step = running.attempt, None
        if outcome is None:
            step, outcome = self._run_step(running, order)
        running.is_over = True
        self._reports.report(attempt, outcome, self._ledger.latest(attempt))
        self.post(AttemptOver(attempt))
        if step is not None:
            step.discard()

    def _run_step(self, running: _Running, order: StepOrder) -> tuple[RunningStep | None, AttemptOutcome]:
        try:
            step = self._isolation.start(order)
        except OSError as error:
            log.error("a process for %s cannot be started: %s", running.attempt.step_run, error)  # noqa: TRY400 - for the administrator of the cluster
            return None, AttemptOutcome(_CANNOT_START)
        with self._lock:
            running.step = step
            if order.ends_at is not None:  # even its own supervision may fail
                latest = order.ends_at + self._grace_seconds(running.attempt) + _REPORT_SECONDS
                running.kill_at = min(running.kill_at, latest)
            must_end = running.is_ending
        if must_end:
            step.terminate()
        return step, step.wait()

    def _timeout_seconds(self, attempt: AssignedAttempt) -> float:
        environ = {**self._environ, **attempt.environment}
        return seconds_of(environ, "BUBU_STEP_TIMEOUT", contract.DEFAULT_STEP_TIMEOUT_SECONDS)

    def _grace_seconds(self, attempt: AssignedAttempt) -> float:
        environ = {**self._environ, **attempt.environment}
        return seconds_of(environ, "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT", contract.DEFAULT_GRACE_SECONDS)

    def _end(self, attempt: AssignedAttempt, kill_at: float | None = None) -> None:
        """Ask the process of an attempt to end, and see that it does."""
        with self._lock:
            running = self._running.get(attempt.key)
            if running is None or running.is_over:
                return
            at = kill_at if kill_at is not None else self._now() + self._grace_seconds(attempt) + _REPORT_SECONDS
            was_ending, running.is_ending = running.is_ending, True
            running.kill_at = min(running.kill_at, at)
            step = running.step
        if step is not None and not was_ending:
            step.terminate()

    def _look_at_clock(self) -> None:
        now = self.looked_at = self._now()
        renewed_at = self._renewed_at()
        if now - renewed_at > UNSURE_SECONDS:
            self._hold(renewed_at + KILL_SECONDS)
        if self._is_draining and now >= self._asks_at:
            self._end_all(self._drain_ends_at)
        self._kill_late(now)
        if (problem := self._isolation.problem()) is not None:
            self._give_up(problem)
        if now >= self._drain_ends_at + _REPORT_SECONDS:
            self._reports.stop()

    def _kill_late(self, now: float) -> None:
        with self._lock:
            late = [each for each in self._running.values() if not each.is_over and now >= each.kill_at]
        for each in late:
            if each.step is not None:
                each.step.kill()
            each.kills += 1
            each.killed_at = now if each.killed_at is None else each.killed_at
            if now - each.killed_at >= _OVERDUE_SECONDS and each.kills >= _OVERDUE_LOOKS:
                self._give_up(f"{each.attempt.step_run} was killed {_OVERDUE_SECONDS:g} s ago and is not over")

    def _give_up(self, reason: str) -> None:
        """End the worker at once. Its attempts are released by the next process of the container, or are lost."""
        log.error("the worker ends, and with it all its steps: %s", reason)
        self._exit_code = 1
        self._must_exit = True

    def _renewed_at(self) -> float:
        """When the operator was told the last time that this worker lives; before the first time, when it began."""
        renewed_at = self._pulse.renewed_at if self._pulse is not None else None
        return self._began_at if renewed_at is None else renewed_at

    def _hold(self, kill_at: float) -> None:
        """The operator may take this worker for lost: what runs ends, and nothing new is started."""
        if not self._ledger.holds:
            log.warning("no answer to the renewals of the Lease for %d s: the steps of this worker end", UNSURE_SECONDS)
            self._do(self._ledger.hold())
        self._resumes_with = _NEVER
        self._end_all(kill_at)

    def _end_all(self, kill_at: float) -> None:
        for attempt in self._ledger.busy:
            self._end(attempt, kill_at)

    def _drain(self) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        now = self._drain_began_at = self._now()
        self._asks_at = now + self._settings.grace_seconds / 2
        self._drain_ends_at = now + self._settings.grace_seconds
        if self._pulse is not None:
            self._pulse.announce(WorkerState.DRAINING)
        self._do(self._ledger.drain())

    def _has_drained(self) -> bool:
        """Whether nothing is left to do, and the operator knows that it must not assign more, or cannot be told."""
        if not self._is_draining or self._ledger.busy:
            return False
        is_told = self._pulse is None or self._is_first_list or self._pulse.announced is WorkerState.DRAINING
        return is_told or self._now() >= self._drain_began_at + _ANNOUNCE_SECONDS


def _not_begun(timeout_seconds: float) -> AttemptOutcome:
    """A timeout before the function was called."""
    limit = durations.format_duration(timedelta(seconds=timeout_seconds))
    error = EngramError(f"the step did not begin within {limit}: its worker was busy, or did not see it")
    now = utc_now()
    return AttemptOutcome(TIMEOUT_EXIT_CODE, status.timed_out(error, output=None, started_at=now, finished_at=now))
