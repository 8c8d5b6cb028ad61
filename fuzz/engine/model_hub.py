"""The hub of realtime runs, as far as the operator sees it: who is connected to it, and what is drained.

It knows the TransportBindings and writes their status, on edges only. A client of a generation that is fenced, or of a
step that has finished, is not admitted; nor is anybody before every stream of the run has its binding.

A hub that is killed writes nothing: the operator learns of it by the silence of its Lease. The next hub corrects the
statuses when it comes, and counts as there when it has renewed the Lease (core.workloads.hub_lease).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import trio

from bubu_contract.instants import format_precise_instant
from core.api import keys
from core.api.objects import Object
from core.workloads.hub_lease import HubSilence
from fuzz.engine.cluster import Cluster, Place, Write

HUB: Final = "hub"
"""The actor of its writes."""
BINDING: Final = "TransportBinding"
CONNECT_SECONDS: Final = 0.2
"""How long a client takes to connect."""
LINGER_SECONDS: Final = 0.3
"""How long the hub waits for late messages before it calls a step drained."""
SILENCE_SECONDS: Final = 30.0
"""How long its Lease may be silent."""
RENEWS_SECONDS: Final = 5.0
"""When a new hub renews the Lease for the first time."""


@dataclass(frozen=True)
class Silence:
    """A time during which the operator knows that the hub is lost; seconds."""

    lost: HubSilence
    begins: float
    back: float = math.inf
    """When the next hub takes the Lease, and corrects statuses."""
    ends: float = math.inf
    """When it renews the Lease."""

    def at(self, seconds: float) -> HubSilence | None:
        """What the operator knows then."""
        if not self.begins <= seconds < self.ends:
            return None
        return self.lost if seconds >= self.back else replace(self.lost, back_at=None)

    @property
    def news(self) -> tuple[float, ...]:
        """When the operator learns something."""
        return (self.begins,) if self.ends == math.inf else (self.begins, self.ends)


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
    silences: list[Silence] = field(default_factory=list)
    listeners: list[Callable[[], None]] = field(default_factory=list)
    """Called when the hub is lost, and when it is back."""
    _term: int = 0
    """Counts the ends and starts of hubs."""
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

    @property
    def silence(self) -> HubSilence | None:
        """What every process of the operator knows."""
        return silence_at(self.silences, trio.current_time())

    def go_down(self) -> None:
        """All connections end, and nobody can connect; the hub lives and says so."""
        for place in self._let_go():
            self._report_lost(place)

    def die(self) -> None:
        """It is killed: all connections end, and nothing is written about it."""
        self._let_go()
        self._term += 1
        assert self.nursery is not None, "a hub that is killed is that of a world"
        self.nursery.start_soon(self._miss, self._term, self.cluster.now())

    def come_up(self) -> None:
        """It lives again, or its successor begins with what the former one has left wrong; unless it does already: two
        times of its absence may overlap.
        """
        if not self.down:
            return
        self.down = False
        self._term += 1
        if self.silence is not None and self.nursery is not None:
            lost = replace(self.silences[-1].lost, back_at=self.cluster.now())
            self.silences[-1] = replace(self.silences[-1], lost=lost, back=trio.current_time())
            self.nursery.start_soon(self._renew, self._term)
        for place, binding in list(self.cluster.objects.items()):
            if place[0] == BINDING and stream_of(binding).get("connected") is True and place not in self._clients:
                self._report_lost(place)
        self._wake()

    def _let_go(self) -> list[Place]:
        self.down = True
        for client in self._clients.values():
            client.lost.set()
        lost, self._clients = [*self._clients], {}
        return lost

    async def _miss(self, term: int, since: datetime) -> None:
        await trio.sleep(SILENCE_SECONDS)
        if self._term != term:
            return
        now = trio.current_time()
        if self.silence is not None:  # its predecessor was lost, too, and it has not renewed
            self.silences[-1] = replace(self.silences[-1], ends=now)
        self.silences.append(Silence(HubSilence(since), now))
        self._tell()

    async def _renew(self, term: int) -> None:
        await trio.sleep(RENEWS_SECONDS)
        if self._term == term:
            self.silences[-1] = replace(self.silences[-1], ends=trio.current_time())
            self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

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
        stream = {**stream, "observedAt": format_precise_instant(self.cluster.now())}
        if place in self.cluster.objects:
            self.cluster.force_patch(HUB, place, "status", {"stream": stream})


def silence_at(silences: Sequence[Silence], seconds: float) -> HubSilence | None:
    return next((known for one in silences if (known := one.at(seconds)) is not None), None)


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
