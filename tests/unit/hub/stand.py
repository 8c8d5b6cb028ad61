"""A hub on the loopback interface, with one run, for tests and measurements."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from core.api.objects import NamespacedName
from core.workloads.binding_token import issue_token
from hub.attendance import AttendanceBook
from hub.delivery import DeliveryCounts
from hub.listener import HubListenerRules
from hub.routes import RunRoutes, StreamStep, compile_routes
from hub.run import LiveStep
from hub.service import Hub
from hub.topology import BoundStep, Place, Topology, build_topology

KEY: Final = bytes(range(32))
RUN: Final = NamespacedName("team", "run-1")


class ChangingTopology:
    """A topology that a test changes."""

    def __init__(self, first: Topology) -> None:
        self._now = first
        self._news = trio.Event()

    def set(self, topology: Topology) -> None:
        self._now = topology
        self._news.set()
        self._news = trio.Event()

    async def changed(self, seen: Topology | None) -> Topology:
        while self._now is seen:
            await self._news.wait()
        return self._now


def topology_of(*runs: RunRoutes, generation: int = 1, uid: str = "uid") -> Topology:
    """These runs, with a binding for each step."""
    bindings = {
        NamespacedName(routes.run.namespace, binding_of(routes.run, step)): BoundStep(
            Place(routes.run, step), f"{uid}-{step}", generation
        )
        for routes in runs
        for step in routes.steps
    }
    return build_topology(runs, bindings)


def binding_of(run: NamespacedName, step: str) -> str:
    return f"{run.name}-{step}-transport"


def identity(step: str, *, generation: int = 1, run: NamespacedName = RUN, key: bytes = KEY) -> str:
    """What a client of ``step`` says about itself."""
    token = issue_token(key, run.namespace, binding_of(run, step), f"uid-{step}", generation)
    return f"{run.namespace}/{token}"


@dataclass
class HubStand:
    """A hub that runs."""

    hub: Hub
    port: int
    topology: ChangingTopology
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def step(self, name: str, run: NamespacedName = RUN) -> LiveStep:
        return self.hub.runs[run].steps[name]

    def counts(self, name: str) -> DeliveryCounts:
        return self.step(name).delivery.counts


@asynccontextmanager
async def open_hub(
    steps: Iterable[StreamStep] | RunRoutes,
    *more: RunRoutes,
    rules: HubListenerRules | None = None,
    context: ssl.SSLContext | None = None,
    attendance: AttendanceBook | None = None,
) -> AsyncIterator[HubStand]:
    """A hub that serves one run with these steps, and ``more`` runs. Everything must be over within a minute."""
    first = steps if isinstance(steps, RunRoutes) else compile_routes(RUN, "story", steps)
    topology = ChangingTopology(topology_of(first, *more))
    hub = Hub([KEY], rules, attendance=attendance)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[int]) -> None:
                tls = (lambda: context) if context is not None else None
                await hub.serve(topology, "127.0.0.1", 0, context=tls, task_status=task_status)

            port = await nursery.start(serve)
            yield HubStand(hub, port, topology)
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the callable ``condition`` is true: for states that nobody announces."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the hub announces none of these states
            await trio.sleep(0.005)
