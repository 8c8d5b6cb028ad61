"""Workers of a controller: how they react to what a reconcile returns or raises."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from core.engine.errors import GoneError, RejectedError, StaleError, UnavailableError
from core.ownership.acting import current_key
from core.ownership.ownership import OwnedKey
from core.telemetry.logs import get_logger
from reconcilers.runtime.controller import (
    GLANCES_AT_ONCE,
    HEAD_START_SECONDS,
    PAUSE_SECONDS,
    Controller,
    ControllerOptions,
    Key,
)
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater, Terminal
from reconcilers.runtime.queue import TOGETHER_SECONDS

SECOND = timedelta(seconds=1)
KEY = Key("team", "a")


class Script:
    """Answers each reconcile with the next outcome or error, and records when it was called."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self._answers = list(answers)
        self.asked_at: list[float] = []
        self.observed: list[tuple[str, str]] = []

    async def reconcile(self, key: Key) -> Outcome:
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        answer = self._answers.pop(0) if self._answers else Done()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def observe(self, controller: str, outcome: str, seconds: float) -> None:
        self.observed.append((controller, outcome))

    def controller(self, **options: object) -> Controller:
        chosen = ControllerOptions(workers=1, base_delay=SECOND, max_delay=60 * SECOND, **options)  # type: ignore[arg-type]  # one field, by name
        return Controller("story", self.reconcile, chosen, observe=self.observe)


async def lived(controller: Controller, *keys: Key, seconds: float = 100) -> float:
    """Let the controller run for a while; returns the time at which it began."""
    started = trio.current_time()
    with trio.move_on_after(seconds):
        for key in keys:
            controller.enqueue(key)
        await controller.run()
    return started


@pytest.mark.parametrize(
    ("answers", "times", "words"),
    [
        pytest.param([Done()], [0], ["success"], id="done"),
        pytest.param([After(5 * SECOND)], [0, 5], ["requeue_after", "success"], id="after"),
        pytest.param([RetryLater(ValueError())] * 3, [0, 1, 3, 7], ["error"] * 3 + ["success"], id="retry"),
        pytest.param(
            [RetryLater(ValueError(), 9 * SECOND)], [0, 9], ["error", "success"], id="retry-as-the-server-wishes"
        ),
        pytest.param([Terminal(ValueError())], [0], ["terminal"], id="terminal"),
        pytest.param([StaleError("moved on")], [0, 1], ["error", "success"], id="stale"),
        pytest.param([UnavailableError("away")], [0, 1], ["error", "success"], id="unavailable"),
        pytest.param(
            [UnavailableError("busy", retry_after_seconds=7)], [0, 7], ["error", "success"], id="asked-to-wait"
        ),
        pytest.param([GoneError("gone")], [0], ["success"], id="gone"),
        pytest.param([RejectedError("no")], [0], ["terminal"], id="rejected"),
        pytest.param([KeyError("spec")], [0, 1], ["error", "success"], id="bug"),
        pytest.param(
            [StaleError("x"), After(4 * SECOND), StaleError("x")],
            [0, 1, 5, 6],
            ["error", "requeue_after", "error", "success"],
            id="a-success-resets-the-back-off",
        ),
    ],
)
async def test_what_is_answered_or_raised_decides_what_follows(
    answers: list[Outcome | Exception], times: list[float], words: list[str], autojump_clock: MockClock
) -> None:
    script = Script(*answers)
    started = await lived(script.controller(), KEY)
    assert [at - started for at in script.asked_at] == times
    assert script.observed == [("story", word) for word in words]


async def test_a_reconcile_that_takes_too_long_is_ended_and_tried_again(autojump_clock: MockClock) -> None:
    calls = []

    async def slow(key: Key) -> Outcome:
        calls.append(trio.current_time())
        if len(calls) == 1:
            await trio.sleep_forever()
        return Done()

    options = ControllerOptions(1, SECOND, 60 * SECOND, reconcile_timeout=lambda: 30 * SECOND)
    started = await lived(Controller("story", slow, options), KEY)
    assert [at - started for at in calls] == [0, 31]


async def test_another_time_limit_counts_from_the_next_pass(autojump_clock: MockClock) -> None:
    calls, limit = [], [30 * SECOND]

    async def slow(key: Key) -> Outcome:
        calls.append(trio.current_time())
        limit[0] = 5 * SECOND
        await trio.sleep_forever()

    options = ControllerOptions(1, SECOND, SECOND, reconcile_timeout=lambda: limit[0])
    started = await lived(Controller("story", slow, options), KEY, seconds=40)
    assert [at - started for at in calls] == [0, 31, 37]


async def test_without_a_deadline_a_reconcile_may_take_its_time(autojump_clock: MockClock) -> None:
    ended = []

    async def slow(key: Key) -> Outcome:
        await trio.sleep(3600)
        ended.append(key)
        return Done()

    options = ControllerOptions(1, SECOND, SECOND, reconcile_timeout=timedelta)
    await lived(Controller("story", slow, options), KEY, seconds=4000)
    assert ended == [KEY]


async def test_one_poisoned_object_does_not_stop_the_others(autojump_clock: MockClock) -> None:
    done = []

    async def reconcile(key: Key) -> Outcome:
        await trio.lowlevel.checkpoint()
        if key.name == "bad":
            raise ZeroDivisionError
        done.append(key.name)
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(1, SECOND, SECOND))
    await lived(controller, Key("t", "bad"), Key("t", "one"), Key("t", "two"), seconds=10)
    assert done == ["one", "two"]
    assert controller.queue.statistics().failing == 1


async def test_an_event_during_a_reconcile_causes_another_one(autojump_clock: MockClock) -> None:
    calls = []

    async def reconcile(key: Key) -> Outcome:
        calls.append(trio.current_time())
        if len(calls) == 1:
            controller.enqueue(key)
            await trio.sleep(2)
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(4, SECOND, SECOND))
    started = await lived(controller, KEY)
    assert [at - started for at in calls] == [0, 2]


async def test_workers_work_side_by_side(autojump_clock: MockClock) -> None:
    ended = []

    async def reconcile(key: Key) -> Outcome:
        await trio.sleep(1)
        ended.append(trio.current_time())
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(3, SECOND, SECOND))
    started = await lived(controller, *(Key(f"t{number}", "x") for number in range(6)))
    assert [at - started for at in ended] == [1, 1, 1, 2, 2, 2]


async def test_one_namespace_never_has_all_workers(autojump_clock: MockClock) -> None:
    ended: dict[str, float] = {}

    async def reconcile(key: Key) -> Outcome:
        await trio.sleep(1)
        ended[str(key)] = trio.current_time()
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(3, SECOND, SECOND))
    started = await lived(controller, *(Key("noisy", str(number)) for number in range(40)), Key("quiet", "x"))
    assert ended["quiet/x"] - started == 1
    assert max(ended.values()) - started == 20


@pytest.mark.parametrize(
    ("obj", "key", "text"),
    [
        ({"metadata": {"name": "a", "namespace": "t"}}, Key("t", "a"), "t/a"),
        ({"metadata": {"name": "a"}}, Key("", "a"), "a"),
    ],
)
def test_keys_name_objects(obj: dict[str, dict[str, str]], key: Key, text: str) -> None:
    assert (Key.of(obj), str(key)) == (key, text)


async def stopped_after_a_second(seconds_of_work: float) -> tuple[bool, float]:
    """Whether a reconcile finished although the process stopped meanwhile, and how long stopping took."""
    finished = False

    async def reconcile(_: Key) -> Outcome:
        nonlocal finished
        await trio.sleep(seconds_of_work)
        finished = True
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(workers=1, base_delay=SECOND, max_delay=SECOND))
    controller.enqueue(KEY)
    with trio.move_on_after(1) as process:
        await controller.run()
    assert process.cancelled_caught
    return finished, trio.current_time() - process.deadline


async def test_a_reconcile_under_way_may_end_when_the_process_stops(autojump_clock: MockClock) -> None:
    finished, waited = await stopped_after_a_second(2.5)

    assert finished
    assert waited == pytest.approx(1.5)


async def test_a_reconcile_that_does_not_end_is_cut_off(autojump_clock: MockClock) -> None:
    finished, waited = await stopped_after_a_second(60)

    assert not finished
    assert waited == pytest.approx(2)


class Owning:
    """Owns the keys of a set."""

    def __init__(self, *keys: OwnedKey) -> None:
        self.keys = {*keys}

    def owns(self, key: OwnedKey) -> bool:
        return key in self.keys


async def test_a_key_of_another_process_is_dropped_when_its_turn_comes(autojump_clock: MockClock) -> None:
    owning = Owning(KEY, Key("team", "b"))
    worked_on: list[Key] = []

    async def reconcile(key: Key) -> Outcome:
        worked_on.append(key)
        await trio.sleep(1)
        owning.keys = {KEY}
        return RetryLater(ValueError())

    controller = Controller("story", reconcile, ControllerOptions(1, SECOND, SECOND), ownership=owning)
    with trio.move_on_after(1.5):
        for name in "abc":
            controller.enqueue(Key("team", name))
        await controller.run()
    assert worked_on == [KEY]
    statistics = controller.queue.statistics()
    assert (statistics.ready, statistics.delayed, statistics.working, statistics.failing) == (0, 1, 0, 1)


async def test_of_many_keys_only_those_that_a_glance_is_not_enough_for_are_reconciled(
    autojump_clock: MockClock,
) -> None:
    hour = timedelta(hours=1)
    glances: list[tuple[float, str]] = []
    reconciled: list[str] = []

    def glance(key: Key) -> Outcome | None:
        glances.append((trio.current_time(), key.name))
        if key.name == "broken":
            raise ValueError(key.name)
        known: dict[str, Outcome] = {"rests": Done(), "waits": After(hour)}
        return known.get(key.name)

    async def reconcile(key: Key) -> Outcome:
        reconciled.append(key.name)
        return Done()

    names = ("rests", "waits", "foreign", "works", "broken")
    owned = Owning(*(Key("team", name) for name in names if name != "foreign"))
    controller = Controller("story", reconcile, ControllerOptions(1, SECOND, SECOND), glance=glance, ownership=owned)
    controller.look_at(lambda: [Key("team", name) for name in names])  # also before it runs
    started = trio.current_time()
    with trio.move_on_after(hour.total_seconds() + 60):
        await controller.run()

    assert reconciled == ["works"]
    assert controller.queue.statistics().failing == 1  # the error of a glance is treated as that of a reconcile
    at = {name: [when - started for when, other in glances if other == name] for name in names}
    assert at["rests"] == [HEAD_START_SECONDS]
    assert at["foreign"] == []
    first, second = at["waits"]
    assert first == HEAD_START_SECONDS
    assert 3600 <= second - first <= 3600 + TOGETHER_SECONDS


async def test_keys_beside_which_many_get_a_glance_need_not_wait_for_the_rest(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    glances: list[str] = []
    after: dict[str, int] = {}

    def glance(key: Key) -> Outcome | None:
        glances.append(key.name)
        return None if key.name in ("first", "later") else Done()

    async def reconcile(key: Key) -> Outcome:
        after[key.name] = len(glances)
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(1, SECOND, SECOND), glance=glance)
    controller.look_at(lambda: [Key("team", str(number)) for number in range(1_000)])
    controller.enqueue(Key("team", "first"))
    nursery.start_soon(controller.run)
    await trio.sleep(HEAD_START_SECONDS + 5 * PAUSE_SECONDS)
    seen = len(glances)
    controller.enqueue(Key("team", "later"))
    await trio.sleep(1)

    assert after["first"] == 1
    assert GLANCES_AT_ONCE < seen < after["later"] <= seen + GLANCES_AT_ONCE + 1
    assert len(glances) == 1_002
    nursery.cancel_scope.cancel()


async def test_a_release_waits_for_the_reconcile_that_is_under_way(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    owning = Owning(KEY)
    ended_at: list[float] = []

    async def slow(key: Key) -> Outcome:
        await trio.sleep(7)
        ended_at.append(trio.current_time())
        return Done()

    controller = Controller("story", slow, ControllerOptions(2, SECOND, SECOND), ownership=owning)
    started = trio.current_time()
    nursery.start_soon(controller.run)
    controller.enqueue(KEY)
    await trio.sleep(1)
    owning.keys.clear()
    await controller.release(Key("team", "idle"))
    assert trio.current_time() == started + 1
    controller.enqueue(KEY)
    await controller.release(KEY)
    assert [trio.current_time()] == ended_at == [started + 7]
    await trio.sleep(60)
    assert ended_at == [started + 7]


async def test_a_reconcile_is_at_work_for_its_key(autojump_clock: MockClock) -> None:
    seen: list[OwnedKey | None] = []

    async def look(key: Key) -> Outcome:
        seen.append(current_key())
        return Done()

    await lived(Controller("story", look, ControllerOptions(1, SECOND, SECOND)), KEY, Key("team", "b"))
    assert seen == [KEY, ("team", "b")]
    assert current_key() is None


@pytest.mark.parametrize("of_runs", [True, False])
async def test_records_of_a_reconcile_name_the_run_if_keys_are_runs(
    of_runs: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of the controller, of what it calls, and of tasks that this starts."""
    caplog.set_level("INFO", logger="bobrapet")
    answers: list[Exception] = [UnavailableError("away"), RejectedError("no")]

    async with trio.open_nursery() as nursery:

        async def later() -> None:
            get_logger("engine").info("later")

        async def reconcile(key: Key) -> Outcome:
            get_logger("engine").info("at work")
            nursery.start_soon(later)
            await trio.lowlevel.checkpoint()
            raise answers.pop(0)

        options = ControllerOptions(workers=1, base_delay=SECOND, max_delay=SECOND)
        await lived(Controller("storyrun", reconcile, options, of_runs=of_runs), KEY)

    fields = [vars(record)["bobrapet_fields"] for record in caplog.records]
    assert len(fields) == 6
    assert [each.get("run") for each in fields] == ["team/a" if of_runs else None] * 6


async def test_what_a_glance_answers_is_not_reconciled(autojump_clock: MockClock) -> None:
    script = Script()
    glances: list[Outcome | Exception | None] = [After(5 * SECOND), ValueError("a bug"), None]

    def glance(key: Key) -> Outcome | None:
        answer = glances.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    options = ControllerOptions(workers=1, base_delay=SECOND, max_delay=60 * SECOND)
    controller = Controller("story", script.reconcile, options, glance=glance, observe=script.observe)
    started = await lived(controller, KEY)
    assert [at - started for at in script.asked_at] == [6]
    assert [word for _, word in script.observed] == ["requeue_after", "error", "success"]
