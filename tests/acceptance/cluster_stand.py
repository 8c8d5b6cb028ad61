"""The whole operator on a cluster with an API server: one cluster for all scenarios, a namespace for each.

Scenarios run side by side in two rounds: first those that need the operator, then those that stop it. The operator has
its own ServiceAccount with the rights of a deployed operator, and these must be sufficient.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import trio

from bubu_sdk.cancellation import SystemClock
from core.api.objects import Object
from core.api.phases import Reason
from core.api.resource import (
    DEPLOYMENT,
    ENGRAM,
    ENGRAM_TEMPLATE,
    EVENT,
    IMPULSE,
    IMPULSE_TEMPLATE,
    JOB,
    NAMESPACE,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    Resource,
)
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer
from core.policy.settings import OperatorSettings
from fuzz.engine.worker import Script
from localcluster.clock import utc_now
from localcluster.controllers.running import run_controllers
from localcluster.server.cluster import ApiServer, open_api_server
from tests.acceptance.acceptance_stand import (
    DEADLINE_SECONDS,
    DONE,
    ENGRAM_NAME,
    IMPULSE_TEMPLATE_NAME,
    LISTENER,
    QUEUES,
    Rig,
    Scenario,
    Scripts,
    SdkSide,
    T,
    status_of,
)
from tests.acceptance.scripted_node import Place, ScriptedNode, open_scripted_node
from tests.integration.api_access import ApiAccess, embedded
from tests.integration.blocking_cluster import BlockingCluster
from tests.integration.clean_slate import MARK, make_clean
from tests.integration.operator_cluster import OPERATOR_NAMESPACE, OperatorCluster, install_definitions, open_emptied
from tools.control_plane.session import SessionCluster

AT_A_TIME: Final = 16
"""Scenarios that run side by side. With all of them at once, the API server would be late for each."""
_SEEN: Final = (
    *(STORY, STORY_RUN, STORY_TRIGGER, STEP_RUN, IMPULSE, JOB, DEPLOYMENT, POD, EVENT),
    *(SERVICE_ACCOUNT, ROLE, ROLE_BINDING),
)


class ClusterOutcomes:
    """Runs all chosen scenarios when the first outcome is requested."""

    def __init__(self, rig: Rig, scenarios: Sequence[Scenario], real: SessionCluster | None, folder: Path) -> None:
        self._rig = rig
        self._scenarios = scenarios
        self._real = real
        self._folder = folder
        self._raised: dict[str, Exception | None] = {}
        self._broken: Exception | None = None
        """The error that stopped the scenarios, or that affects all of them."""

    def of(self, play: Scenario) -> None:
        if not self._raised:
            try:
                trio.run(self._play_all)
            except Exception as broken:
                self._broken = broken
        error = self._raised.get(play.name) or self._broken
        if error is not None:
            raise error

    async def _play_all(self) -> None:
        async with open_stage(self._rig, self._real, self._folder) as stage:
            for disturbs in (False, True):
                limiter = trio.CapacityLimiter(AT_A_TIME)
                async with stage.operator(), trio.open_nursery() as nursery:
                    for scenario in self._scenarios:
                        if scenario.disturbs is disturbs:
                            nursery.start_soon(self._play, stage, scenario, limiter)

    async def _play(self, stage: Stage, scenario: Scenario, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            try:
                stand = await stage.stand(scenario.name)
                await scenario.play(stand)
                stand.check()
            except Exception as error:
                self._raised[scenario.name] = error
            else:
                self._raised[scenario.name] = None


@dataclass(frozen=True)
class _Presence:
    """The events of one running operator."""

    enough: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)


@dataclass
class Stage:
    """The cluster, and the present operator."""

    rig: Rig
    access: ApiAccess
    client: KubeClient
    node: ScriptedNode
    informers: dict[Resource, Informer]
    cluster: OperatorCluster
    settings: OperatorSettings
    nursery: trio.Nursery
    changed: trio.Event = field(default_factory=trio.Event)
    _absences: int = 0
    _presence: _Presence | None = None
    _turn: trio.Lock = field(default_factory=trio.Lock)

    def see(self, _: Change) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def stand(self, name: str) -> ClusterStand:
        """A namespace for a scenario."""
        namespace = name.replace("_", "-")[:63].strip("-")
        await self.client.create(NAMESPACE, {"metadata": {"name": namespace, "labels": {MARK: "true"}}})
        stand = ClusterStand(self, namespace, self.node.places[namespace])
        await stand.create(ENGRAM, ENGRAM_NAME, {"version": "1.0.0", "templateRef": {"name": ENGRAM_NAME}})
        if self.rig is Rig.REAL:  # Pods need the ServiceAccount that a controller gives every namespace
            await stand.until(lambda: stand.find(SERVICE_ACCOUNT, "default"), "the namespace is ready")
        return stand

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        """An operator during the block, except for absences."""
        await self._start()
        try:
            yield
        finally:
            await self._stop()

    @asynccontextmanager
    async def absence(self) -> AsyncIterator[None]:
        """No operator runs during the block. Absences may overlap."""
        async with self._turn:
            self._absences += 1
            if self._absences == 1:
                await self._stop()
        yield
        async with self._turn:
            self._absences -= 1
            if self._absences == 0:
                await self._start()

    async def _start(self) -> None:
        self._presence = await self.nursery.start(self._be_present)

    async def _be_present(self, *, task_status: trio.TaskStatus[_Presence]) -> None:
        presence = _Presence()
        try:
            async with self.cluster.operator(lambda: self.settings):
                task_status.started(presence)
                await presence.enough.wait()
        finally:
            presence.over.set()

    async def _stop(self) -> None:
        presence, self._presence = self._presence, None
        if presence is not None:
            presence.enough.set()
            await presence.over.wait()


@dataclass
class ClusterStand:
    stage: Stage
    namespace: str
    place: Place

    @property
    def rig(self) -> Rig:
        return self.stage.rig

    @property
    def scripts(self) -> Scripts:
        return self.place.scripts

    @property
    def ran(self) -> list[str]:
        return self.place.ran

    @property
    def at_once(self) -> int:
        return self.place.at_once

    def hold(self, step: str, then: Script = DONE[0]) -> None:
        self.scripts[step] = (then,)
        self.place.held[step] = trio.Event()

    def let_go(self, step: str) -> None:
        self.place.held[step].set()

    # What users do.

    async def create(self, kind: Resource, name: str, spec: Object, **metadata: Any) -> Object:
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "spec": spec,
        }
        return await self.stage.client.create(kind, body)

    async def patch(self, kind: Resource, name: str, patch: Object, subresource: str = "") -> None:
        await self.stage.client.patch(
            kind, name, patch, namespace=self.namespace, subresource=subresource or None, field_manager="tests"
        )

    async def delete(self, kind: Resource, name: str) -> None:
        await self.stage.client.delete(kind, name, self.namespace)

    async def sdk(self, work: Callable[[SdkSide], T]) -> T:
        side = SdkSide(BlockingCluster(self.stage.client), SystemClock())
        return await trio.to_thread.run_sync(work, side)

    async def read(self, kind: Resource, name: str) -> Object:
        return await self.stage.client.get(kind, name, self.namespace)

    # What can be seen.

    def find(self, kind: Resource, name: str) -> Object | None:
        return self.stage.informers[kind].get(self.namespace, name)

    def all(self, kind: Resource) -> list[Object]:
        return list(self.stage.informers[kind].list(self.namespace))

    def told(self) -> set[tuple[str, str]]:
        return {(event["type"], event["reason"]) for event in self.all(EVENT)}

    async def until(self, look: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
        with trio.move_on_after(seconds * min(self.stage.access.patience, 6.0)):
            while True:
                self.check()
                changed = self.stage.changed
                if found := look():
                    return found
                await changed.wait()
        runs = [(run["metadata"]["name"], run.get("status")) for run in self.all(STORY_RUN)]
        raise AssertionError(f"not in time: {what}; runs: {runs}; ran: {self.ran}; told: {sorted(self.told())}")

    def check(self) -> None:
        """Check that the engine met no unexpected error."""
        for run in self.all(STORY_RUN):
            reasons = {found.get("reason") for found in status_of(run).get("conditions") or ()}
            assert Reason.ENGINE_ERROR not in reasons, (
                f"the engine crashed in {run['metadata']['name']}: {run['status']}"
            )

    async def pause(self, seconds: float) -> None:
        await trio.sleep(seconds)

    # The operator.

    @asynccontextmanager
    async def away(self, **settings: Any) -> AsyncIterator[None]:
        async with self.stage.absence():
            yield
            runs = replace(self.stage.settings.runs, **settings)
            self.stage.settings = replace(self.stage.settings, runs=runs)


@asynccontextmanager
async def open_stage(rig: Rig, real: SessionCluster | None, folder: Path) -> AsyncIterator[Stage]:
    """An embedded cluster, or the real one, emptied. No operator runs yet."""
    settings = OperatorSettings()
    settings = replace(settings, runs=replace(settings.runs, queues={**settings.runs.queues, **QUEUES}))
    opened = _open_embedded() if real is None else open_emptied(real)
    async with opened as (access, client), trio.open_nursery() as nursery:
        await _create_template(client, ENGRAM_TEMPLATE, ENGRAM_NAME, {"supportedModes": ["job"]})
        await _create_template(client, IMPULSE_TEMPLATE, IMPULSE_TEMPLATE_NAME, LISTENER)
        informers = {kind: Informer(client, kind) for kind in _SEEN}
        async with open_scripted_node(client, informers[POD]) as node:
            cluster = OperatorCluster(access, client, folder / "images.yaml")
            stage = Stage(rig, access, client, node, informers, cluster, settings, nursery)
            for informer in informers.values():
                informer.add_handler(stage.see)
                await nursery.start(informer.run)
            yield stage
        if real is not None:
            await _tidy(client)
        nursery.cancel_scope.cancel()


async def _create_template(client: KubeClient, kind: Resource, name: str, spec: Object) -> None:
    named = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}}
    await client.create(kind, {**named, "spec": {"version": "1.0.0", "image": "tests/scripted:1", **spec}})


async def _tidy(client: KubeClient) -> None:
    """Delete the namespaces of scenarios. The namespaces of all tests stay, but empty."""
    made = [obj["metadata"]["name"] for obj in (await client.list(NAMESPACE, label_selector=MARK)).items]
    await make_clean(client, ())
    for name in made:
        if name.startswith(("test-26-", "test-15-")):
            await client.delete(NAMESPACE, name)


@asynccontextmanager
async def _open_embedded() -> AsyncIterator[tuple[ApiAccess, KubeClient]]:
    async with open_api_server() as server, trio.open_nursery() as nursery:
        access = embedded(server, nursery)
        async with access.connected() as client:
            await install_definitions(client)
            await client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
            await nursery.start(_run_controllers, server)
            yield access, client
        nursery.cancel_scope.cancel()


async def _run_controllers(server: ApiServer, *, task_status: trio.TaskStatus[None]) -> None:
    await run_controllers(server.registry, utc_now, job_failure_delay_seconds=0.1, task_status=task_status)
