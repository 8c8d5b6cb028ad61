"""The hub of realtime runs, as far as the operator sees it: who is connected to it, and what is drained.

It knows the TransportBindings and writes their status, on edges only. A client of a generation that is fenced, or of a
step that has finished, is not admitted; nor is anybody before every stream of the run has its binding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import trio

from core.api import keys
from core.api.instant import format_precise_instant
from core.api.objects import Object
from fuzz.engine.cluster import Cluster, Place, Write

HUB: Final = "hub"
"""The actor of its writes."""
BINDING: Final = "TransportBinding"
CONNECT_SECONDS: Final = 0.2
"""How long a client takes to connect."""
LINGER_SECONDS: Final = 0.3
"""How long the hub waits for late messages before it calls a step drained."""


@dataclass
class Client:
    """The container of one step, as the hub knows it."""

    binding: Place
    uid: str
    """UID of the binding that its token names."""
    generation: int
    backlog_seconds: float = 0.0
    """How long it takes to receive what the hub has for it when the steps that it needs have finished."""
    lost: trio.Event = field(default_factory=trio.Event)
    """Set when its connection ends."""


@dataclass
class ModelHub:
    """Lives longer than all processes of the operator; ``down`` from time to time."""

    cluster: Cluster
    nursery: trio.Nursery | None = None
    down: bool = False
    doubled: list[str] = field(default_factory=list)
    """Bindings that two clients of different generations served at once; there must be none."""
    _clients: dict[Place, Client] = field(default_factory=dict)
    _backlogs: dict[Place, float] = field(default_factory=dict)
    _draining: set[Place] = field(default_factory=set)
    _changed: trio.Event = field(default_factory=trio.Event)

    def see(self, write: Write) -> None:
        """Listens to the writes of the cluster."""
        if write.place[0] != BINDING or write.actor == HUB:
            return
        client = self._clients.get(write.place)
        if client is not None and (write.new is None or not self._admits(client)):
            self.disconnect(client)
        self._wake()

    async def stay_connected(self, client: Client) -> None:
        """Connect again and again, as a container with an SDK does."""
        self._backlogs[client.binding] = client.backlog_seconds
        while True:
            await trio.sleep(CONNECT_SECONDS)
            while not self._admits(client):
                await self._changed.wait()
            before = self._clients.get(client.binding)
            if before is not None and before.generation > client.generation:
                self.doubled.append(client.binding[2])
            if before is not None:
                before.lost.set()
            client.lost = trio.Event()
            self._clients[client.binding] = client
            self._report(client.binding, {"connected": True, "generation": client.generation, "disconnectedAt": None})
            self._wake()
            await client.lost.wait()

    def disconnect(self, client: Client) -> None:
        """The connection of the client ends, whoever ends it."""
        if self._clients.get(client.binding) is not client:
            return
        del self._clients[client.binding]
        client.lost.set()
        self._report_lost(client.binding)

    def go_down(self) -> None:
        """All connections end; the next hub finds that when it comes."""
        self.down = True
        for client in self._clients.values():
            client.lost.set()
        lost, self._clients = [*self._clients], {}
        for place in lost:
            self._report_lost(place)

    def come_up(self) -> None:
        self.down = False
        self._wake()

    def _admits(self, client: Client) -> bool:
        binding = self.cluster.objects.get(client.binding)
        if self.down or binding is None or binding["metadata"]["uid"] != client.uid or is_finished(binding):
            return False
        run = binding["spec"]["run"]
        known = {one["spec"]["step"] for _, one in self._of_run(run)}
        return client.generation >= lowest_generation(binding) and known >= set(binding["spec"]["streams"])

    def _of_run(self, run: str) -> Iterator[tuple[Place, Object]]:
        for place, obj in list(self.cluster.objects.items()):
            if place[0] == BINDING and obj["spec"]["run"] == run:
                yield place, obj

    def _wake(self) -> None:
        """Let waiting clients look again, and find what begins to drain."""
        self._changed.set()
        self._changed = trio.Event()
        if self.down or self.nursery is None:
            return
        for place, binding in list(self.cluster.objects.items()):
            if place[0] == BINDING and place not in self._draining and self._may_drain(place, binding):
                self._draining.add(place)
                self.nursery.start_soon(self._drain, place, binding["metadata"]["uid"])

    def _may_drain(self, place: Place, binding: Object) -> bool:
        """Whether no more messages come for the step, and it can receive the last ones, or nobody ever will."""
        if is_drained(binding):
            return False
        if not binding["spec"]["needs"]:
            return is_finished(binding)
        by_step = {one["spec"]["step"]: one for _, one in self._of_run(binding["spec"]["run"])}
        needs, seen = [*binding["spec"]["needs"]], set[str]()
        while needs:
            need = needs.pop()
            if need not in by_step or not is_finished(by_step[need]):
                return False
            if need not in seen:
                seen.add(need)
                needs += by_step[need]["spec"]["needs"]
        return is_finished(binding) or not self._backlogs.get(place) or place in self._clients

    async def _drain(self, place: Place, uid: str) -> None:
        binding = self.cluster.objects.get(place)
        finished = binding is None or is_finished(binding)
        await trio.sleep(LINGER_SECONDS + (0.0 if finished else self._backlogs.get(place, 0.0)))
        self._draining.discard(place)
        binding = self.cluster.objects.get(place)
        same = binding is not None and binding["metadata"]["uid"] == uid
        if binding is not None and same and not self.down and self._may_drain(place, binding):
            self._report(place, {"drained": True})
        self._wake()

    def _report_lost(self, place: Place) -> None:
        at = format_precise_instant(self.cluster.now())
        self._report(place, {"connected": False, "disconnectedAt": at})

    def _report(self, place: Place, stream: Object) -> None:
        if place in self.cluster.objects:
            self.cluster.force_patch(HUB, place, "status", {"stream": stream})


def stream_of(binding: Object | None) -> Object:
    """What the hub has written about the stream of a binding."""
    found: Object = ((binding or {}).get("status") or {}).get("stream") or {}
    return found


def is_drained(binding: Object | None) -> bool:
    return stream_of(binding).get("drained") is True


def is_finished(binding: Object) -> bool:
    return _annotations(binding).get(keys.ANNOTATION_STREAM_FINISHED) == "true"


def lowest_generation(binding: Object) -> int:
    return int(_annotations(binding).get(keys.ANNOTATION_CONNECTOR_GENERATION) or 1)


def _annotations(binding: Object) -> Object:
    return binding["metadata"].get("annotations") or {}
