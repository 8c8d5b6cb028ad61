"""Managers that die, freeze, are cut off or are one too many, on a real API server; named by the rows of our catalogue.

Unless a test says otherwise, its outcome is compared with that of the same work done by an undisturbed manager.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from core.api.keys import ANNOTATION_STEP_TIMERS
from core.api.objects import Object
from core.api.resource import LEASE, STEP_RUN, STORY_RUN
from deployment.permissions.table import LEASE_NAME
from tests.e2e.comparison import Outcome
from tests.e2e.fault_rig import FaultRig, open_fault_rig
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE, eventually, status_of, step
from tools.control_plane.faults import Choice, Hold, LoseRequest, Moment, Request, everything, named
from tools.control_plane.processes import ServerProcess
from tools.control_plane.session import SessionCluster

MOMENTS = tuple(Moment)
UNCOUNTED = frozenset({"POST events", "PATCH events", "PATCH stories/status", "PATCH engrams/status"})
"""Writes on which nothing depends."""
OFTEN = (
    "POST serviceaccounts",
    "POST rolebindings",
    "POST stepruns",
    "POST jobs",
    "PATCH stepruns/status",
    "PATCH storyruns/status",
)
"""Writes of every run. A manager dies before, during and after each."""
RARE = frozenset(
    {
        ("DELETE jobs", Moment.ASKED),
        ("DELETE storyruns", Moment.DONE),
        ("PATCH stepruns", Moment.DONE),
        ("PATCH storyruns", Moment.DONE),
    }
)
"""Writes of few runs, each at one moment at which a manager must have died."""
HELD_WITHIN_SECONDS = 5.0
FURTHER_ROUNDS = 3


@pytest.fixture
async def rig(steerable: SessionCluster, tmp_path: Path) -> AsyncIterator[FaultRig]:
    async with open_fault_rig(tmp_path, steerable) as opened:
        yield opened


@asynccontextmanager
async def beside(course: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """``course`` runs during the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(course)
        yield
        nursery.cancel_scope.cancel()


# Deaths.


async def test_F01_F02_a_manager_dies_before_in_and_after_each_kind_of_write(rig: FaultRig, faultless: Outcome) -> None:
    met: set[tuple[str, Moment]] = set()
    manager = await rig.start_manager()

    async def dies_again_and_again() -> None:
        while True:
            await dies_at_the_next(rig, manager, met)

    async with beside(dies_again_and_again):
        await rig.workload.play()
        await rig.settled()
    rig.proxy.heal()
    rig.proxy.cut_connections()
    await rig.ends_like(faultless)
    assert {(name, moment) for name in OFTEN for moment in MOMENTS} <= met
    for round_number in range(FURTHER_ROUNDS):
        if met >= RARE:
            break
        async with beside(dies_again_and_again):  # the connection broke at one of them, and it did not come again
            await rig.workload.play_rare(round_number)
        rig.proxy.heal()
        rig.proxy.cut_connections()
    assert met >= RARE


async def dies_at_the_next(rig: FaultRig, manager: ServerProcess, met: set[tuple[str, Moment]]) -> None:
    """Let the manager live until it makes a write at a new moment, kill it there, and start it again.

    The connection may break first. That moment then does not count as met, and comes again.
    """
    holds = {moment: Hold(moment) for moment in MOMENTS}
    found = trio.Event()
    place: tuple[str, Moment] | None = None

    def is_new(moment: Moment) -> Choice:
        def chosen(request: Request) -> bool:
            nonlocal place
            if not request.is_write or request.name in UNCOUNTED:
                return False
            if place is not None:  # hold every further write, because this manager is about to be killed
                return moment is Moment.ASKED
            if (request.name, moment) in met:
                return False
            place = (request.name, moment)
            found.set()
            return True

        return chosen

    for moment, hold in reversed(holds.items()):
        rig.proxy.add(hold, is_new(moment), times=None)
    await found.wait()
    assert place is not None
    with trio.move_on_after(HELD_WITHIN_SECONDS) as patience:
        await holds[place[1]].held.wait()
    rig.proxy.heal()
    if patience.cancelled_caught:
        for hold in holds.values():
            hold.release.set()
        return
    met.add(place)
    await manager.kill()
    rig.proxy.cut_connections()
    manager.start()


async def test_F01_F11_fifty_deaths_at_random_instants_lose_and_double_nothing(rig: FaultRig) -> None:
    """Under load: a new run of three steps every half second, as long as managers die."""
    deaths, steps, chance = 50, ("a", "b", "c"), random.Random(50)
    needs = dict(zip(steps[1:], steps, strict=False))
    names: list[str] = []
    await rig.cluster.story(
        "chain", *(step(name, "nap", needs=[needs[name]] if name in needs else []) for name in steps)
    )
    manager = await rig.start_manager()

    async def load() -> None:
        while True:
            names.append(f"run-{len(names)}")
            await rig.cluster.run(names[-1], "chain")
            await trio.sleep(0.5)

    async with beside(load):
        for _ in range(deaths):
            await trio.sleep(chance.uniform(0.1, 1.0))
            await manager.kill()
            manager.start()

    async def all_ended() -> bool:
        runs = await rig.listed(STORY_RUN)
        return len(runs) == len(names) and all(status_of(run).get("finishedAt") for run in runs)

    await eventually(all_ended, seconds=120)
    await rig.ends_without_orphans()
    once = [f"{run}-{name}" for run in names for name in steps]
    expected = Counter({f"{prefix}/{NAMESPACE_NAME}/{name}": 1 for name in once for prefix in ("jobs", STEP_RUNS)})
    outcome = await rig.outcome()
    assert {status_of(run)["phase"] for run in await rig.listed(STORY_RUN)} == {"Succeeded"}
    assert {key: count for key, count in outcome.created.items() if key.startswith(("jobs/", STEP_RUNS))} == expected
    assert {key: count for key, count in outcome.created.items() if key.startswith("pods/")} == {
        f"pods/{NAMESPACE_NAME}/{name}-*": 1 for name in once
    }
    assert outcome.deleted == {}
    assert outcome.executed == {f"{run}/{name}": 1 for run in names for name in steps}
    assert {status_of(found).get("retries") for found in await rig.listed(STEP_RUN)} == {0}
    print(f"{deaths} deaths, {len(names)} runs of {len(steps)} steps, all succeeded, each program started once")


STEP_RUNS = "runs.bubustack.io/stepruns"


# Two managers.


async def test_F03_a_manager_that_is_told_to_stop_hands_over_at_once(rig: FaultRig) -> None:
    """With 80 sleeping runs. The manager gives the lease back, so that the next one need not wait until it expires."""
    await rig.cluster.story("asleep", {"name": "sleep", "type": "sleep", "with": {"duration": "1h"}})
    first = await rig.start_manager("first", elect=True)
    await leads(rig, first)
    second = await rig.start_manager("second", url=rig.ready.url, elect=True)
    limiter = trio.CapacityLimiter(16)

    async def start(number: int) -> None:
        async with limiter:
            await rig.cluster.run(f"asleep-{number}", "asleep")

    async with trio.open_nursery() as nursery:
        for number in range(80):
            nursery.start_soon(start, number)

    async def all_asleep() -> bool:
        runs = await rig.listed(STORY_RUN)
        return len(runs) == 80 and all(is_asleep(run) for run in runs)

    await eventually(all_asleep, seconds=90)
    rig.proxy.seen.clear()
    told_at = trio.current_time()
    await first.stop(seconds=10)
    stopped_after = trio.current_time() - told_at
    written = [seen.request.name for seen in rig.proxy.seen if is_decision(seen.request)]
    await leads(rig, second, seconds=10)
    led_after = trio.current_time() - told_at
    await rig.cluster.run("last", "asleep")
    await rig.cluster.until(STORY_RUN, "last", is_asleep)
    assert first.exit_code == 0
    assert stopped_after < 10
    assert written[-1:] == ["PUT leases"], written
    assert led_after - stopped_after <= 3
    print(f"stopped after {stopped_after:.1f} s, the next led {led_after - stopped_after:.1f} s later")


def is_asleep(run: Object) -> bool:
    return ANNOTATION_STEP_TIMERS in (run["metadata"].get("annotations") or {})


async def test_F04_a_manager_frozen_past_its_lease_changes_nothing_when_it_wakes(
    rig: FaultRig, faultless: Outcome
) -> None:
    """The manager is stopped between a decision and its write.

    The write reaches the server after another did the work.
    """
    first = await rig.start_manager("first", elect=True)
    await leads(rig, first)
    second = await rig.start_manager("second", url=rig.ready.url, elect=True)
    late = Hold(Moment.ASKED)
    rig.proxy.add(late, named("PATCH storyruns/status"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.workload.play)
        await late.held.wait()
        first.pause()
        await leads(rig, second, seconds=30)
    await rig.settled()
    rig.proxy.seen.clear()
    late.release.set()
    first.resume()
    woken_at = trio.current_time()
    with trio.fail_after(10):
        await first.wait_ended()
    demoted_after = trio.current_time() - woken_at
    effective = [seen for seen in rig.proxy.seen if is_decision(seen.request) and (seen.code or 500) < 300]
    assert effective == []
    await rig.ends_like(faultless)
    assert demoted_after <= 3
    assert second.running
    print(f"demoted {demoted_after:.1f} s after it woke")


def is_decision(request: Request) -> bool:
    """Whether it changes what others act upon. Events only report."""
    return request.is_write and not request.name.endswith(" events")


async def test_F05_a_manager_that_is_cut_off_stops_before_another_takes_over(rig: FaultRig, faultless: Outcome) -> None:
    first = await rig.start_manager("first", elect=True)
    await leads(rig, first)
    second = await rig.start_manager("second", url=rig.ready.url, elect=True)
    ended_after = led_after = 0.0

    async def first_ends() -> None:
        nonlocal ended_after
        await first.wait_ended()
        ended_after = trio.current_time() - cut_at

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.workload.play)
        await eventually(lambda: rig.has_seen("POST jobs"))
        rig.proxy.add(LoseRequest(), everything, times=None)
        rig.proxy.cut_connections()
        cut_at = trio.current_time()
        nursery.start_soon(first_ends)
        await leads(rig, second, seconds=30)
        led_after = trio.current_time() - cut_at
    await rig.settled()
    await rig.ends_like(faultless)
    tries = [seen.at for seen in rig.proxy.seen if is_decision(seen.request) and "leases" not in seen.request.name]
    assert max(tries) - cut_at <= 10.5
    assert ended_after < led_after <= 25
    print(
        f"tried to write for {max(tries) - cut_at:.1f} s, ended after {ended_after:.1f} s, other led {led_after:.1f} s"
    )


async def test_F06_two_managers_that_both_think_they_lead_do_everything_once(rig: FaultRig, faultless: Outcome) -> None:
    managers = [await rig.start_manager(name) for name in ("one", "other")]
    await rig.workload.play()
    await rig.settled()
    await rig.ends_like(faultless)
    assert all(manager.running for manager in managers)


async def test_F09_a_manager_that_stalls_again_and_again_does_everything_once(
    rig: FaultRig, faultless: Outcome
) -> None:
    chance = random.Random(9)
    manager = await rig.start_manager()

    async def stalls() -> None:
        while True:
            await trio.sleep(chance.uniform(0.1, 0.8))
            manager.pause()
            await trio.sleep(chance.uniform(0.2, 2.0))
            manager.resume()

    try:
        async with beside(stalls):
            await rig.workload.play()
            await rig.settled()
    finally:
        manager.resume()
    await rig.ends_like(faultless)


async def leads(rig: FaultRig, manager: ServerProcess, *, seconds: float = 60) -> None:
    """Wait until this manager holds the Lease."""

    async def holds() -> bool:
        leases = (await rig.cluster.client.list(LEASE, OPERATOR_NAMESPACE)).items
        holders = [lease["spec"].get("holderIdentity") for lease in leases if lease["metadata"]["name"] == LEASE_NAME]
        return any(str(holder).endswith(f"_{manager.pid}") for holder in holders)

    await eventually(holds, seconds=seconds)
