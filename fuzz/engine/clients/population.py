"""All clients of a world: they live as long as it does, and longer than any process of the operator."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from bubu_contract.identity import compose
from bubu_sdk.kube import KubeError
from core.api.objects import Object
from fuzz.engine.clients.api import Connection
from fuzz.engine.clients.effects import Effect, EffectResult, Performance, Performer, Stray
from fuzz.engine.clients.fate import Fates
from fuzz.engine.clients.strands import Client
from fuzz.engine.clients.submissions import NAMESPACE, ModelStore, Submission, Told, submit
from fuzz.engine.cluster import Cluster

RESTART_SECONDS = 0.3
"""The time until an Impulse that died runs again; the source of the event then delivers it again."""


@dataclass
class Clients:
    """``crashed`` gets the errors that no client may have."""

    cluster: Cluster
    nursery: trio.Nursery
    crashed: Callable[[BaseException], None]
    fates: Fates = field(default_factory=Fates)
    store: ModelStore = field(init=False)
    told: list[Told] = field(default_factory=list)
    performances: list[Performance] = field(default_factory=list)
    died_at: dict[str, float] = field(default_factory=dict)
    """When a client died, by name."""
    results: list[tuple[str, EffectResult]] = field(default_factory=list)
    """How containers ended, by name."""
    busy: int = 0
    """The number of submissions that are not over, and of stray containers."""
    settled: trio.Event = field(default_factory=trio.Event)
    """Set when none is busy."""
    connection: Connection = field(init=False)
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = ModelStore(self.cluster)
        self.connection = Connection(self.cluster, self.fates, self._deliver_later)

    def begin(self, submissions: Sequence[Submission], strays: Sequence[Stray], run: str) -> None:
        """``run``: the name of the run whose steps the stray containers work for."""
        self.busy = len(submissions) + len(strays)
        for submission in submissions:
            self.nursery.start_soon(self._submit, submission)
        for stray in strays:
            self.nursery.start_soon(self._stray, stray, run)
        if not self.busy:
            self.settled.set()

    async def perform(
        self, pod: str, step_run: Object, effect: Effect, ending: trio.Event, grace: float
    ) -> EffectResult:
        """A container that performs an effect. After ``ending`` it has its grace, and is then killed."""
        client = self._client(pod)
        performer = Performer(client, step_run, effect, self.performances.append)
        async with trio.open_nursery() as nursery:

            async def kill_in_time() -> None:
                await ending.wait()
                await trio.sleep(grace)
                client.kill()

            nursery.start_soon(kill_in_time)
            await self._perform(performer)
            nursery.cancel_scope.cancel()
        return performer.result

    async def _submit(self, wanted: Submission) -> None:
        await trio.sleep(wanted.at)
        for _ in range(wanted.times):
            while True:
                client = self._client("user" if wanted.by_hand else "impulse")
                await self._run(client, partial(submit, client, self.store, wanted, self.told.append))
                if client.name not in self.died_at:
                    break
                await trio.sleep(RESTART_SECONDS)
        self._leave()

    async def _stray(self, stray: Stray, run: str) -> None:
        await trio.sleep(stray.at)
        step_run = self.cluster.objects.get(("StepRun", NAMESPACE, compose(run, *stray.step.split("/"))))
        if step_run is not None:
            client = self._client("stray")
            await self._perform(Performer(client, step_run, stray.effect, self.performances.append))
        self._leave()

    async def _perform(self, performer: Performer) -> None:
        await self._run(performer.client, performer.work)
        self.results.append((performer.client.name, performer.result))

    def _leave(self) -> None:
        self.busy -= 1
        if not self.busy:
            self.settled.set()

    async def _run(self, client: Client, work: Callable[[], None]) -> None:
        await client.run(work)
        if client.was_killed:
            self.died_at[client.name] = trio.current_time()

    def _client(self, kind: str) -> Client:
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return Client(self.connection, self.fates, f"{kind}-{number}", self.crashed)

    def _deliver_later(self, apply: Callable[[], Object], seconds: float) -> None:
        async def deliver() -> None:
            await trio.sleep(seconds)
            try:
                apply()
            except KubeError:
                return

        self.nursery.start_soon(deliver)


@contextmanager
def seeded_system(seed: int) -> Iterator[None]:
    """The SDK gets the identities of holders, and the jitter of its retries, from the system: here, from ``seed``."""
    before, os.urandom = os.urandom, random.Random(seed).randbytes
    try:
        yield
    finally:
        os.urandom = before
