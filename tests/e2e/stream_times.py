"""How long a realtime run takes to connect, and to stream again, beside the starts of its processes alone.

Programs start more slowly beside others, and so does everything else. So the starts are measured in the same minute:
the same programs, all at once, with nothing of Kubernetes around them (``starts_of_steps``); or as workloads of the
same cluster, without a Story (``starts_of_workloads``): this takes as many turns of API server, controllers and node,
which a busy machine slows down more than it does a program that only starts.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import trio

from core.api.objects import Object
from core.api.resource import STEP_RUN, STORY_RUN, Resource
from core.kube.informer import Change, Informer
from tests.e2e.stream_rig import PATIENCE_SECONDS, ROOT, RUN, STEPS, Kept, StreamRig, is_connected, program, until
from tests.integration.operator_cluster import NAMESPACE_NAME, status_of
from tools.control_plane.processes import open_process

CONNECTED_SECONDS: Final = 2.0
"""Target: from the apply to all streams connected, beyond the starts of the processes."""
STREAMING_AGAIN_SECONDS: Final = 3.0
"""Target: from ``kill -9`` of the hub to the next message at the sink, the start of the next hub included."""
SLOWED: Final = 6.0
"""Where the start alone takes ``s`` seconds, because other programs run beside it, all the rest may take ``SLOWED * s``
seconds more than the target says: those programs are others a moment later. On a quiet machine of 2024 that is less
than six seconds: a limit for hanging. ``make bench BENCH=streams`` measures without others, against the target alone.
"""


async def starts_of_steps(directory: Path, *, hub: bool) -> float:
    """Seconds until the programs of all steps, started at once, have called their hub.

    Args:
        directory: does not exist yet.
        hub: a hub starts beside them, and must listen, too.
    """
    _make(directory)
    async with AsyncExitStack() as stack:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = await stack.enter_async_context(listeners[0])
        began = time.monotonic()
        if hub:
            await stack.enter_async_context(_hub_alone(directory))
        for name in STEPS:
            environment = {
                **os.environ,
                "PYTHONPATH": f"{ROOT}/sdk",
                **_variables(name, listener.socket.getsockname()[1]),
            }
            await stack.enter_async_context(open_process(name, program(name, directory), directory, environment))
        with trio.fail_after(PATIENCE_SECONDS):
            for _ in STEPS:
                await stack.enter_async_context(await listener.accept())
        if hub:
            await until(lambda: _listens(directory))
        return time.monotonic() - began


async def starts_of_workloads(rig: StreamRig, directory: Path) -> float:
    """Seconds from the create of a workload for each step until the programs of all of them have called their hub.

    If the hub of the rig starts with the first run, a hub starts beside them, and must listen, too.

    Args:
        directory: does not exist yet.
    """
    _make(directory)
    async with AsyncExitStack() as stack:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = await stack.enter_async_context(listeners[0])
        began = time.monotonic()
        if not rig.hub_runs:
            await stack.enter_async_context(_hub_alone(directory))
        await rig.start_alone({name: _variables(name, listener.socket.getsockname()[1]) for name in STEPS})
        with trio.fail_after(PATIENCE_SECONDS):
            for _ in STEPS:
                await stack.enter_async_context(await listener.accept())
        if not rig.hub_runs:
            await until(lambda: _listens(directory))
        took = time.monotonic() - began
    await rig.stop_alone()
    return took


async def start_of_hub(directory: Path) -> float:
    """Seconds until a hub without a cluster listens. ``directory`` does not exist yet."""
    _make(directory)
    began = time.monotonic()
    async with _hub_alone(directory):
        await until(lambda: _listens(directory))
        return time.monotonic() - began


class Connected(NamedTuple):
    """Seconds since the first object of the Story was sent to the API server."""

    steps: float
    """Until each StepRun shows that its stream is connected."""
    run: float
    """Until the StoryRun shows that all of its steps run: it follows within a second."""


async def time_to_connect(rig: StreamRig, run: str = RUN) -> Connected:
    """Apply the Story, with all that it needs, and a run of it."""
    times = {"steps": 0.0, "run": 0.0}
    shown = trio.Event()
    states: dict[str, bool] = dict.fromkeys((*STEPS, run), False)

    def note_step(change: Change) -> None:
        name = _name(change).removeprefix(f"{run}-")
        if name in states:
            note(name, lambda obj: is_connected(obj) and status_of(obj).get("phase") == "Running", change)

    def note_run(change: Change) -> None:
        if _name(change) == run:
            note(run, _shows_all_running, change)

    def note(name: str, holds: Callable[[Object], bool], change: Change) -> None:
        states[name] = change.new is not None and holds(change.new)
        if all(states[step] for step in STEPS):
            times["steps"] = times["steps"] or time.monotonic()
            if states[run]:
                times["run"] = time.monotonic()
                shown.set()

    async with trio.open_nursery() as nursery:
        for resource, handler in ((STEP_RUN, note_step), (STORY_RUN, note_run)):
            await nursery.start(_watching(rig, resource, handler).run)
        began = await rig.apply(run)
        with trio.fail_after(PATIENCE_SECONDS):
            await shown.wait()
        nursery.cancel_scope.cancel()
    return Connected(times["steps"] - began, times["run"] - began)


async def kill_the_hub(rig: StreamRig) -> float:
    """While messages flow. Seconds from SIGKILL until the sink has got a message through the next hub."""
    killed_at = time.monotonic()
    await rig.hub.kill()
    await rig.until_hub_listens()
    listened_at = time.monotonic()
    await until(lambda: rig.kept()[-1].at > listened_at)
    return end_of_longest_gap(rig.kept(), killed_at) - killed_at


def assert_in_time(what: str, took: float, starts: float, target: float) -> None:
    """``took`` seconds contain ``starts``, and beyond that at most ``target``; more if everything is slow.

    Args:
        starts: of the same programs alone, under the same load.
    """
    print(f"{what}: {took:.2f} s; its programs alone start in {starts:.2f} s")
    allowed = starts + target + SLOWED * starts
    assert took <= allowed, (
        f"{what} took {took:.2f} s; at most {allowed:.2f} s were allowed for starts of {starts:.2f} s"
    )


def end_of_longest_gap(kept: list[Kept], since: float) -> float:
    """When the first message came after the longest time without one, after ``since``."""
    gaps = ((later.at - max(earlier.at, since), later.at) for earlier, later in itertools.pairwise(kept))
    return max(gap for gap in gaps if gap[1] > since)[1]


def longest_gap(kept: list[Kept]) -> float:
    """Between two messages at the sink, in seconds."""
    return max(later.at - earlier.at for earlier, later in itertools.pairwise(kept))


def _shows_all_running(run: Object) -> bool:
    states = status_of(run).get("stepStates") or {}
    return all(states.get(name, {}).get("phase") == "Running" for name in STEPS)


def _name(change: Change) -> str:
    name: str = (change.new or change.old or {})["metadata"]["name"]
    return name


def _watching(rig: StreamRig, resource: Resource, handler: Callable[[Change], None]) -> Informer:
    informer = Informer(rig.cluster.client, resource, namespace=NAMESPACE_NAME)
    informer.add_handler(handler)
    return informer


def _make(directory: Path) -> None:
    directory.mkdir()
    (directory / "topology.yaml").write_text("runs: []\n")
    (directory / "keys").write_text("k" * 64 + "\n")


def _listens(directory: Path) -> bool:
    """The hub has printed its port."""
    return b"\n" in (directory / "hub-alone.log").read_bytes()


@asynccontextmanager
async def _hub_alone(directory: Path) -> AsyncIterator[None]:
    files = (f"--topology={directory / 'topology.yaml'}", f"--key-file={directory / 'keys'}")
    command = [sys.executable, "-m", "cli", "hub", *files, "--bind-address=127.0.0.1:0"]
    async with open_process("hub-alone", command, directory):
        yield


def _variables(name: str, port: int) -> dict[str, str]:
    """By which the program of a step finds the hub on a port of this machine."""
    binding = {"endpoint": f"127.0.0.1:{port}", "protocolVersion": "1.0.0"}
    return {
        "BUBU_EXECUTION_MODE": "realtime",
        "BUBU_STEP_NAME": name,
        "BUBU_STORYRUN_ID": "alone",
        "BUBU_STEPRUN_NAMESPACE": "team",
        "BUBU_TRANSPORT_BINDING": json.dumps({"name": name, "namespace": "team", "binding": binding}),
    }
