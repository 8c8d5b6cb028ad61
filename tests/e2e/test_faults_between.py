"""Faults between a manager and a real API server that must leave no trace in the outcome.

Each case plays the same work (``fault_workload``) with one fault, named by its number in our catalogue. The outcome is
compared with that of the play without a fault: the state of every object, how often each was created and deleted, and
how often each program was started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.e2e.comparison import Outcome
from tests.e2e.fault_rig import FaultRig, open_fault_rig
from tools.control_plane.faults import (
    Choice,
    Cut,
    Late,
    LoseAnswer,
    LoseRequest,
    Refuse,
    Repeat,
    RepeatLines,
    Request,
    a_share,
    everything,
    named,
    watches,
    writes,
)
from tools.control_plane.processes import ServerProcess
from tools.control_plane.session import SessionCluster

Course = Callable[[FaultRig], Awaitable[None]]
"""What the fault does during the work. Once every run has ended, it is canceled, and the proxy is healed."""


def first_of_each_kind(among: Choice) -> Choice:
    """The first request of each name, such as ``POST jobs``."""
    known: set[str] = set()

    def is_first(request: Request) -> bool:
        if not among(request) or request.name in known:
            return False
        known.add(request.name)
        return True

    return is_first


def either(*choices: Choice) -> Choice:
    return lambda request: any(choice(request) for choice in choices)


def updates(request: Request) -> bool:
    return request.method in {"PATCH", "PUT"}


def of_kind(plural: str) -> Choice:
    """Watches of one kind."""
    return lambda request: request.is_watch and request.path.endswith(f"/{plural}")


async def conflicts(rig: FaultRig) -> None:
    """One in five updates fails with a conflict. The first ten of runs' status do so in a row."""
    conflict = Refuse(409, "Conflict")
    rig.proxy.add(conflict, a_share(0.2, updates, seed=13), times=None)
    rig.proxy.add(conflict, named("PATCH storyruns/status"), times=10)


async def refused_status(rig: FaultRig) -> None:
    """A new admission rule of a user refuses status writes, six times. Then the rule is corrected."""
    rig.proxy.add(Refuse(422, "Invalid"), named("PATCH storyruns/status"), times=6)


async def lost_answers(rig: FaultRig) -> None:
    """Writes succeed, but the client gets no answer: the first of each kind, and then one in four."""
    chosen = either(first_of_each_kind(writes), a_share(0.25, writes, seed=17))
    rig.proxy.add(LoseAnswer(), chosen, times=None)


async def lost_requests(rig: FaultRig) -> None:
    """The same, but the writes did not happen."""
    chosen = either(first_of_each_kind(writes), a_share(0.25, writes, seed=18))
    rig.proxy.add(LoseRequest(), chosen, times=None)


async def repeated_requests(rig: FaultRig) -> None:
    """Something between sends each write twice, and passes on the second answer."""
    rig.proxy.add(Repeat(), writes, times=None)


async def too_many_requests(rig: FaultRig) -> None:
    """The server is overloaded, and says when to try again."""
    refusal = Refuse(429, "TooManyRequests", retry_after_seconds=1)
    rig.proxy.add(refusal, a_share(0.1, everything, seed=18), times=None)


async def server_errors(rig: FaultRig) -> None:
    """As soon as runs are in progress, every request fails, for nine seconds."""
    while not any(seen.request.name == "POST jobs" for seen in rig.proxy.seen):  # noqa: ASYNC110 - no event
        await trio.sleep(0.02)
    for code, reason in ((500, "InternalError"), (502, ""), (503, "ServiceUnavailable")):
        rig.proxy.add(Refuse(code, reason), everything, times=None)
        rig.proxy.cut_connections()
        await trio.sleep(3)
    rig.proxy.heal()


async def duplicate_events(rig: FaultRig) -> None:
    rig.proxy.add(RepeatLines(3), watches, times=None)


async def late_events(rig: FaultRig) -> None:
    """Each kind has another delay, so that a Pod has ended before its StepRun is seen."""
    for number, kind in enumerate(("pods", "jobs", "engrams", "storyruns", "stepruns")):
        rig.proxy.add(Late(0.5 * number), of_kind(kind), times=None)


async def late_pods(rig: FaultRig) -> None:
    """The manager gets the end of a Job long before that of its Pod."""
    rig.proxy.add(Late(3), of_kind("pods"), times=None)


async def closing_watches(rig: FaultRig) -> None:
    """Every connection breaks every second. Besides, watches end in the middle of a line."""
    rig.proxy.add(Cut(3000), a_share(0.5, watches, seed=30), times=None)
    while True:
        await trio.sleep(1)
        rig.proxy.cut_connections()


CASES = {
    "F13-conflicts": conflicts,
    "F15-refused-status": refused_status,
    "F17-answers-lost": lost_answers,
    "F17-requests-lost": lost_requests,
    "F17-requests-repeated": repeated_requests,
    "F18-too-many-requests": too_many_requests,
    "F19-server-errors": server_errors,
    "F20-duplicate-events": duplicate_events,
    "F21-late-events": late_events,
    "F23-late-pods": late_pods,
    "F27-F30-closing-watches": closing_watches,
}


GOES_ON_SECONDS: Final = 180.0
"""A fault that goes on: a watch that breaks again and again waits up to 30 s, and a run has several events in turn."""


@pytest.mark.parametrize("course", CASES.values(), ids=CASES)
async def test_nobody_can_tell(course: Course, steerable: SessionCluster, faultless: Outcome, tmp_path: Path) -> None:
    async with open_fault_rig(tmp_path, steerable) as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(course, rig)
            manager = await rig.start_manager()
            nursery.start_soon(lives, manager)
            await rig.workload.play()
            await rig.settled(seconds=GOES_ON_SECONDS)
            nursery.cancel_scope.cancel()
        rig.proxy.heal()
        await rig.ends_like(faultless)
        assert manager.running


async def lives(manager: ServerProcess) -> None:
    """Fail at once when the manager has ended, with the end of its log: nothing that the test waits for will happen."""
    await manager.wait_ended()
    raise AssertionError(f"the manager has ended:\n{manager.tail()}")
