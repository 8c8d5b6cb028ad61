"""The engine on the model cluster, with the model's controllers, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import trio
from trio.testing import MockClock

from core.api.objects import Object, step_path
from core.api.resource import Resource
from core.engine.settings import RunDefaults
from core.engine.slots.queueing import SlotLimits
from core.evaluation.asker import NOBODY, Asker
from core.evaluation.evaluator import Evaluator
from core.kube.errors import error_from_status
from core.policy.settings import OperatorSettings
from fuzz.engine.adapters import Engram
from fuzz.engine.clients.fate import Fates
from fuzz.engine.clients.strands import Client
from fuzz.engine.cluster import Write
from fuzz.engine.worker import Script
from fuzz.engine.world import NAMESPACE, World, open_world
from kubewire import StatusReason, status_failure
from tests.acceptance.acceptance_stand import (
    DEADLINE_SECONDS,
    DONE,
    ENGRAM_NAME,
    QUEUES,
    Rig,
    Scenario,
    Scripts,
    SdkSide,
    T,
)

HELD_SECONDS = 60.0
LONGER = 1000.0
"""The factor by which anything may take longer than on clusters. In virtual time this costs nothing."""
_USER = "user"


class ModelOutcomes:
    """Runs each scenario in its own world, when its outcome is requested."""

    def of(self, play: Scenario) -> None:
        trio.run(_play, play, clock=MockClock(autojump_threshold=0))


async def _play(scenario: Scenario) -> None:
    async with open_model() as stand:
        await scenario.play(stand)
        assert stand.world.crashes == []


class _OnTheLoop(Evaluator):
    """Uses no threads, because virtual time would not wait for them."""

    async def analyse(self, look: Callable[[Any], T], manifest: Any, *, asker: Asker = NOBODY) -> T:
        await trio.lowlevel.checkpoint()
        return look(manifest)


class _AtOnce(dict[str, tuple[Script, ...]]):
    """Steps without scripts succeed at once."""

    def get(self, step: str, default: Any = None) -> Any:
        return super().get(step) or (DONE if "/" not in step else default)


@dataclass
class ModelStand:
    world: World
    scripts: Scripts
    rig: Rig = Rig.MODEL
    namespace: str = NAMESPACE
    ran: list[str] = field(default_factory=list)
    at_once: int = 0

    _held: int = 0

    def hold(self, step: str, then: Script = DONE[0]) -> None:
        self._held += 1
        self.scripts[step] = (replace(then, after_seconds=self._held * HELD_SECONDS),)

    def let_go(self, step: str) -> None:
        """Steps end after ``HELD_SECONDS``, and as much later for each step that was held before."""

    # What users do.

    async def create(self, kind: Resource, name: str, spec: Object, **metadata: Any) -> Object:
        manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "spec": spec,
        }
        created = self.world.cluster.create(_USER, manifest)
        if created is None:
            text = f"{kind.kind} {name} already exists"
            raise error_from_status(status_failure(StatusReason.ALREADY_EXISTS, text))
        return created

    async def patch(self, kind: Resource, name: str, patch: Object, subresource: str = "") -> None:
        self.world.cluster.merge(_USER, (kind.kind, self.namespace, name), patch, subresource)

    async def delete(self, kind: Resource, name: str) -> None:
        self.world.cluster.delete(_USER, (kind.kind, self.namespace, name))

    async def sdk(self, work: Callable[[SdkSide], T]) -> T:
        clients, answers = self.world.clients, list[Callable[[], T]]()
        assert clients is not None
        client = Client(clients.connection, clients.fates, "sdk", self.world.crashes.append)

        def call() -> None:
            try:
                found = work(SdkSide(client, client))
            except Exception as error:
                raised = error
                answers.append(lambda: _raise(raised))
            else:
                answers.append(lambda: found)

        await client.run(call)
        return answers[0]()

    async def read(self, kind: Resource, name: str) -> Object:
        found = self.find(kind, name)
        assert found is not None, f"there is no {kind.kind} {name}"
        return found

    # What can be seen.

    def find(self, kind: Resource, name: str) -> Object | None:
        return self.world.cluster.get(kind.kind, self.namespace, name)

    def all(self, kind: Resource) -> list[Object]:
        return self.world.cluster.list(kind.kind, self.namespace)

    def told(self) -> set[tuple[str, str]]:
        return {(type_, reason) for type_, reason, _ in self.world.events.told}

    async def until(self, look: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
        found: list[T] = []

        def holds() -> bool:
            found[:] = [look()]
            return bool(found[0])

        if not await self.world.until(holds, seconds * LONGER):
            raise AssertionError(f"never: {what}; {self.world.cluster.list_all('StoryRun')}")
        return found[0]

    async def pause(self, seconds: float) -> None:
        await trio.sleep(seconds)

    # The operator.

    @asynccontextmanager
    async def away(self, **settings: Any) -> AsyncIterator[None]:
        await self.world.kill()
        yield
        if "max_inline_inputs_size_bytes" in settings:
            limit = settings["max_inline_inputs_size_bytes"]
            self.world.settings = replace(
                self.world.settings, run_defaults=lambda: RunDefaults(max_inline_inputs_bytes=limit)
            )
        self.world.start(everything=True)

    @asynccontextmanager
    async def dying(self, kind: Resource) -> AsyncIterator[None]:
        """The operator dies when it has created an object of that kind; after the block a new one starts."""

        def see(write: Write) -> None:
            if write.place[0] == kind.kind and write.verb == "create" and write.actor != _USER:
                self.world.kill_nowait()

        self.world.cluster.listeners.append(see)
        yield
        self.world.cluster.listeners.remove(see)
        assert not self.world.alive, f"it has created no {kind.kind}"
        await self.world.gone()
        self.world.start(everything=True)

    def see(self, write: Write) -> None:
        """A listener of the model."""
        if write.place[0] != "Pod":
            return
        cluster = self.world.cluster
        if write.verb == "create" and write.new is not None:
            step_run = cluster.objects.get(("StepRun", self.namespace, write.new["spec"]["stepRun"]))
            self.ran.append(step_path(step_run) if step_run is not None else "")
        alive = [pod for pod in cluster.list_all("Pod") if (pod.get("status") or {}).get("phase") == "Running"]
        self.at_once = max(self.at_once, len(alive))


def _settings() -> OperatorSettings:
    settings = OperatorSettings()
    return replace(settings, runs=replace(settings.runs, queues=QUEUES))


def _raise(error: Exception) -> NoReturn:
    raise error


@asynccontextmanager
async def open_model() -> AsyncIterator[ModelStand]:
    scripts = _AtOnce()
    async with open_world(engrams={ENGRAM_NAME: Engram()}, evaluator=_OnTheLoop()) as world:
        world.worker.scripts = scripts
        world.settings = replace(world.settings, queues=lambda: QUEUES)
        world.cluster.has_store = False
        world.limits = SlotLimits(0, QUEUES)
        world.house = _settings()
        world.add_clients(Fates())
        stand = ModelStand(world, scripts)
        world.cluster.listeners.append(stand.see)
        world.start(everything=True)
        yield stand
