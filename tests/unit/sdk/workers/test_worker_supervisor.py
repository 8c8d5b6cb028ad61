"""The decisions of a supervisor, with steps that only exist in memory and a clock that the test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from bubu_sdk.errors import Object
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.heartbeat import WorkerState
from bubu_sdk.workers.order import StepOrder
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.settings import WorkerSettings
from bubu_sdk.workers.supervisor import LeaseRenewed, Unable, WorkerSupervisor
from bubu_sdk.workers.watching import Listed, LostSight, Seen
from tests.unit.sdk.workers.test_worker_ledger import UID, step_run
from tests.unit.sdk.workers.worker_stand import eventually

ENVIRON = {
    "BUBU_WORKER_POOL": "pool",
    "BUBU_POD_NAME": "pod",
    "BUBU_POD_UID": UID,
    "BUBU_POD_NAMESPACE": "default",
    "BUBU_WORKER_CONCURRENCY": "2",
    "BUBU_STEP_TIMEOUT": "30s",
    "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT": "10s",
}


def deadline(assigned_at: float) -> str:
    """``deadlineAt`` of an attempt, by an operator whose clock has nothing to do with that of the worker."""
    return datetime.fromtimestamp(1_700_000_000 + assigned_at + 30, UTC).isoformat()


class MemoryStep:
    """A step that ends when it is told to; a deaf one only when it is killed."""

    def __init__(self, order: StepOrder) -> None:
        self.name = order.attempt.step_run
        self.ends_at = order.ends_at
        self.was_asked = False
        self.kills = 0
        self._ended = threading.Event()
        self._exit_code = 0

    def end(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._ended.set()

    def wait(self) -> AttemptOutcome:
        self._ended.wait(60)
        return AttemptOutcome(self._exit_code)

    def terminate(self) -> None:
        self.was_asked = True
        if "deaf" not in self.name and "undead" not in self.name:
            self.end(143)

    def kill(self) -> None:
        self.kills += 1
        if "undead" not in self.name:
            self.end(137)

    def discard(self) -> None:
        pass


class MemoryIsolation:
    def __init__(self) -> None:
        self.can_kill = True
        self.steps: dict[str, MemoryStep] = {}
        self.broken = False
        self.trouble: str | None = None

    def prepare(self, lost: Callable[[str], None]) -> None:
        del lost

    def start(self, order: StepOrder) -> MemoryStep:
        if self.broken:
            raise OSError("no more processes")
        step = MemoryStep(order)
        self.steps[step.name] = step
        return step

    def problem(self) -> str | None:
        return self.trouble

    def close(self) -> None:
        pass


class MemoryReports:
    def __init__(self) -> None:
        self.exits: dict[str, int] = {}
        self.phases: dict[str, object] = {}
        self.stopped = threading.Event()
        self.away = threading.Event()
        """Set while the API server does not answer."""

    def report(self, attempt: AssignedAttempt, outcome: AttemptOutcome, known: Object | None) -> None:
        del known
        while self.away.is_set() and not self.stopped.wait(0.002):
            pass
        if not self.stopped.is_set():
            self.phases[attempt.step_run] = outcome.update.phase if outcome.update is not None else None
            self.exits[attempt.step_run] = outcome.exit_code

    def stop(self) -> None:
        self.stopped.set()


class MemoryPulse:
    def __init__(self) -> None:
        self.renewed_at: float | None = None
        self.announced: WorkerState | None = None
        self.has_begun = False

    def begin(self) -> None:
        self.has_begun = True

    def announce(self, state: WorkerState) -> None:
        self.announced = state


class Bench:
    """A supervisor in a thread."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.isolation, self.reports, self.pulse = MemoryIsolation(), MemoryReports(), MemoryPulse()
        self.supervisor = WorkerSupervisor(
            WorkerSettings.of(ENVIRON), self.isolation, self.reports, ENVIRON, now=lambda: self.time
        )
        self.lists_wanted = 0
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)

    def begin(self, *left: Object) -> None:
        self.thread.start()
        self.supervisor.post(Listed(list(left)))
        eventually(lambda: self.pulse.has_begun)
        self.renew()

    def renew(self) -> None:
        self.pulse.renewed_at = self.time
        self.supervisor.post(LeaseRenewed())

    def start(self, name: str, assigned_at: float | None = None) -> MemoryStep:
        """``assigned_at``: by ``time``, when the operator has assigned it; ``None``: it has no deadline."""
        self.supervisor.post(Seen(step_run(name, deadline_at=None if assigned_at is None else deadline(assigned_at))))
        eventually(lambda: name in self.isolation.steps)
        return self.isolation.steps[name]

    def wait(self) -> int:
        self.thread.join(60)
        assert self.code is not None
        return self.code

    def _run(self) -> None:
        self.code = self.supervisor.run(self.pulse, self._list_anew)

    def _list_anew(self) -> int:
        self.lists_wanted += 1
        return self.lists_wanted


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.reports.stop()
    bench.supervisor.terminate()
    for step in bench.isolation.steps.values():
        step.end(0)
    bench.thread.join(60)
    assert not bench.thread.is_alive()


def test_attempts_of_an_earlier_process_are_released_before_the_worker_is_ready(bench: Bench) -> None:
    bench.begin(step_run("left"))

    eventually(lambda: bench.reports.exits == {"left": 137})
    assert bench.isolation.steps == {}


def test_without_renewals_steps_are_asked_to_end_and_then_killed(bench: Bench) -> None:
    bench.begin()
    polite, deaf = bench.start("polite"), bench.start("deaf")
    bench.time += 11.9
    bench.supervisor.post(Seen(step_run("waits")))
    bench.supervisor.post(Seen(step_run("waits")))
    assert not polite.was_asked

    bench.time += 0.2

    eventually(lambda: bench.reports.exits == {"polite": 143, "waits": 137})
    assert deaf.was_asked
    bench.time += 4
    eventually(lambda: bench.reports.exits == {"polite": 143, "deaf": 137, "waits": 137})
    assert "waits" not in bench.isolation.steps, "the worker may be lost already"


def test_what_was_assigned_while_a_worker_was_silent_is_not_begun_when_it_is_heard_again(bench: Bench) -> None:
    bench.begin()
    bench.time += 12.1
    eventually(lambda: bench.supervisor._ledger.holds)
    bench.renew()
    bench.renew()
    eventually(lambda: bench.lists_wanted == 1)
    bench.supervisor.post(Listed([step_run("old")], 0))  # it may have been read before the renewal
    eventually(lambda: bench.reports.exits == {"old": 137})
    assert bench.supervisor._ledger.holds
    bench.supervisor.post(Listed([step_run("old"), step_run("unseen")], 1))
    eventually(lambda: bench.reports.exits == {"old": 137, "unseen": 137})

    bench.start("new")


def test_a_silence_that_only_the_heartbeat_has_seen_ends_all_steps(bench: Bench) -> None:
    """The worker was stopped for a while, and the Lease was renewed before the main thread could look."""
    bench.begin()
    bench.start("polite")
    bench.start("deaf")
    bench.pulse.renewed_at = bench.time + 25
    bench.time += 25

    bench.supervisor.post(LeaseRenewed(25.0))

    eventually(lambda: set(bench.reports.exits) == {"polite", "deaf"})
    assert bench.reports.exits["deaf"] == 137
    eventually(lambda: bench.lists_wanted == 1)
    bench.supervisor.post(Listed([step_run("unseen")], 1))
    eventually(lambda: bench.reports.exits.get("unseen") == 137)
    bench.start("new")


def test_a_short_silence_ends_nothing(bench: Bench) -> None:
    bench.begin()
    step = bench.start("polite")
    bench.supervisor.post(LeaseRenewed(11.9))
    look(bench, 2)
    assert not step.was_asked


def test_an_end_that_cannot_be_reported_is_kept_until_the_server_answers(bench: Bench) -> None:
    bench.begin()
    step = bench.start("done")
    bench.reports.away.set()
    step.end(0)
    bench.time += 30

    eventually(lambda: bench.supervisor._ledger.holds)
    assert bench.reports.exits == {}
    bench.reports.away.clear()

    eventually(lambda: bench.reports.exits == {"done": 0})


def test_a_process_that_cannot_even_time_out_by_itself_is_killed(bench: Bench) -> None:
    bench.begin()
    step = bench.start("stuck")

    for _ in range(9):
        bench.time += 5
        bench.renew()
    assert not step.was_asked
    bench.time += 1
    bench.renew()

    eventually(lambda: bench.reports.exits == {"stuck": 137})


def test_a_step_that_was_seen_late_ends_by_the_deadline_of_the_operator(bench: Bench) -> None:
    bench.begin()
    prompt = bench.start("prompt", bench.time)
    bench.time += 10
    bench.renew()

    late = bench.start("late", bench.time - 9)

    assert prompt.ends_at == 1030
    assert late.ends_at == 1010 + 30 - 9 + 2
    for _ in range(38):
        bench.time += 1
        bench.renew()
    assert "late" not in bench.reports.exits
    bench.time += 1
    eventually(lambda: bench.reports.exits.get("late") == 137)


def test_a_step_whose_deadline_has_passed_is_not_begun_and_has_timed_out(bench: Bench) -> None:
    bench.begin()
    first, second = bench.start("first", bench.time), bench.start("second", bench.time)
    bench.supervisor.post(Seen(step_run("waits", deadline_at=deadline(bench.time))))
    for _ in range(4):
        bench.time += 8
        bench.renew()
    first.end(0)

    eventually(lambda: bench.reports.exits == {"first": 0, "waits": 124})
    assert bench.reports.phases["waits"] == "Timeout"
    assert "waits" not in bench.isolation.steps
    second.end(0)


def test_a_step_whose_step_run_is_gone_is_killed_at_once(bench: Bench) -> None:
    bench.begin()
    bench.start("deaf")

    bench.supervisor.post(LostSight(step_run("deaf")))

    eventually(lambda: bench.reports.exits == {"deaf": 137})


def test_where_a_kill_ends_all_steps_one_whose_step_run_is_gone_has_its_grace(bench: Bench) -> None:
    bench.isolation.can_kill = False
    bench.begin()
    polite, deaf = bench.start("polite"), bench.start("deaf")

    for name in ("polite", "deaf"):
        bench.supervisor.post(LostSight(step_run(name)))

    eventually(lambda: bench.reports.exits == {"polite": 143} and deaf.was_asked)
    look(bench)
    assert (polite.kills, deaf.kills) == (0, 0)
    for _ in range(5):
        bench.time += 4
        look(bench)
    eventually(lambda: bench.reports.exits == {"polite": 143, "deaf": 137})


def test_a_draining_worker_asks_after_half_the_grace_and_kills_at_its_end(bench: Bench) -> None:
    bench.begin()
    polite, deaf = bench.start("polite"), bench.start("deaf")

    bench.supervisor.terminate()
    eventually(lambda: bench.pulse.announced is WorkerState.DRAINING)
    bench.supervisor.post(Seen(step_run("late")))
    eventually(lambda: bench.reports.exits == {"late": 143})
    bench.time += 4.9
    assert not polite.was_asked
    bench.time += 0.2
    eventually(lambda: deaf.was_asked and bench.reports.exits.get("polite") == 143)
    bench.time += 5
    assert bench.wait() == 0
    assert bench.reports.exits == {"late": 143, "polite": 143, "deaf": 137}


def test_a_second_signal_to_end_is_urgent(bench: Bench) -> None:
    bench.begin()
    step = bench.start("polite")

    bench.supervisor.terminate()
    bench.supervisor.terminate()

    assert bench.wait() == 0
    assert step.was_asked


def test_an_idle_worker_ends_at_once(bench: Bench) -> None:
    bench.begin()

    bench.supervisor.terminate()

    assert bench.wait() == 0


def test_a_worker_that_cannot_go_on_reports_its_steps_and_ends_with_a_failure(bench: Bench) -> None:
    bench.begin()
    step = bench.start("last")

    bench.supervisor.post(Unable("the zygote was killed"))
    step.end(137)

    assert bench.wait() == 1
    assert bench.reports.exits == {"last": 137}
    assert bench.pulse.announced is WorkerState.DRAINING


def test_a_step_that_cannot_be_started_is_reported(bench: Bench) -> None:
    bench.begin()
    bench.isolation.broken = True

    bench.supervisor.post(Seen(step_run("unlucky")))

    eventually(lambda: bench.reports.exits == {"unlucky": 128})


def look(bench: Bench, times: int = 1) -> None:
    """Let the supervisor look at the clock."""
    for _ in range(times):
        before = bench.supervisor.looked_at
        bench.time += 0.001
        bench.renew()
        eventually(lambda before=before: bench.supervisor.looked_at > before or bench.code is not None)  # type: ignore[misc]


def test_a_worker_that_cannot_end_a_step_ends_itself(bench: Bench) -> None:
    bench.begin()
    other, undead = bench.start("other"), bench.start("undead")
    bench.supervisor.post(LostSight(step_run("undead")))
    eventually(lambda: undead.kills > 0)
    for _ in range(9):
        bench.time += 0.99
        look(bench)
    assert bench.code is None

    bench.time += 2
    look(bench, 5)

    assert bench.wait() == 1
    assert bench.reports.exits == {}, "neither of them is over"
    assert not other.was_asked


def test_a_pause_after_the_kill_is_none_of_the_step(bench: Bench) -> None:
    bench.begin()
    undead = bench.start("undead")
    bench.supervisor.post(LostSight(step_run("undead")))
    eventually(lambda: undead.kills > 0)
    kills = undead.kills
    bench.time += 11
    look(bench)
    assert undead.kills == kills + 1
    assert bench.code is None, "its end was not looked at"
    undead.end(137)

    eventually(lambda: bench.reports.exits == {"undead": 137})


def test_a_worker_whose_zygote_is_stuck_ends_at_once(bench: Bench) -> None:
    bench.begin()
    bench.start("any")

    bench.isolation.trouble = "it does not answer"

    assert bench.wait() == 1
    assert bench.reports.exits == {}
    assert bench.pulse.announced is None, "there is nothing to wait for"
