"""The one writer of the status of TransportBindings.

What people and the operator wait for is written at once: a client has come or gone, a step is drained, a run cannot be
served. Counts follow at most every ten seconds for each binding, every second while a command watches it, and only when
they have changed; a hub without traffic writes nothing. A binding that has to be looked at is in the queue once,
however often it changes, so the queue is never longer than there are bindings. An answer that is lost does no harm: the
next look compares with what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

import trio

from core.api.objects import NamespacedName, Object
from core.api.resource import TRANSPORT_BINDING
from core.kube.client import KubeClient
from core.kube.errors import ConflictError, InvalidError, KubeError, NotFoundError, ResourceExpiredError
from core.kube.informer import Change, Informer
from core.kube.retry import wait_seconds
from core.telemetry.logs import get_logger
from hub.binding_status import FIELD_MANAGER, StreamState, is_edge, status_patch, wanted_status
from hub.bindings import is_watched, watched_until

_log = get_logger("hub")
_STALE: Final = (ConflictError, InvalidError, NotFoundError, ResourceExpiredError)
"""The binding is gone or is another one: the watch tells, and nothing has to be done before."""


class StreamStates(Protocol):
    """What the statuses should say."""

    def of(self, name: NamespacedName, uid: str) -> StreamState: ...

    def draining(self) -> list[NamespacedName]: ...

    def forget(self, name: NamespacedName) -> None: ...


@dataclass(frozen=True, slots=True)
class ReportPace:
    """Seconds, and how many writes are under way at a time."""

    counts: float = 10.0
    """Between two writes of counts of one binding."""
    watched: float = 1.0
    """The same while a command watches it."""
    watched_writes: float = 20.0
    """Writes a second for all that are watched together: beyond, each is written less often."""
    edges: float = 1.0
    """Between two other writes of one binding: a client that comes and goes all the time must not flood the server."""
    edges_at_once: int = 3
    """So many may follow each other without that time: a step that starts waits for others, then for its client."""
    settle: float = 0.2
    """Before the first write of a new binding: those of a run come one after the other, and say less alone."""
    tick: float = 0.1
    """Between two looks at steps that may be drained."""
    retry: float = 0.5
    longest_retry: float = 30.0
    writers: int = 8


@dataclass(frozen=True, slots=True)
class _Past:
    """What was done for one binding."""

    uid: str
    written_at: float = -math.inf
    edges_paid_until: float = -math.inf
    """Each write other than of counts costs ``ReportPace.edges`` seconds, from the end of those before it."""
    failures: int = 0
    """In a row."""
    not_before: float = -math.inf
    """When the next write may be tried."""


class StatusReporter:
    """Writes statuses while ``run`` runs.

    Args:
        client: its writes are refused when this process may no longer write (core.kube.fence).
        bindings: as the watch has them; it gets the answers of the server.
        now: the wall clock.
    """

    def __init__(
        self,
        client: KubeClient,
        bindings: Informer,
        views: StreamStates,
        now: Callable[[], datetime],
        pace: ReportPace = ReportPace(),
    ) -> None:
        self._client = client.in_background()
        self._bindings = bindings
        self._views = views
        self._now = now
        self._pace = pace
        self._queue: dict[NamespacedName, None] = {}
        self._work = trio.Event()
        self._later: dict[NamespacedName, float] = {}
        """When a binding has to be looked at again."""
        self._alarm = trio.Event()
        self._past: dict[NamespacedName, _Past] = {}
        self._at_work: set[NamespacedName] = set()
        self._watched: set[NamespacedName] = set()
        bindings.add_handler(self._changed)

    def look_at(self, name: NamespacedName) -> None:
        """Something about this binding may have changed."""
        self._queue[name] = None
        self._work.set()
        self._alarm.set()

    def _changed(self, change: Change) -> None:
        """A command starts to watch a binding, or continues."""
        new = change.new
        if new is not None and is_watched(new, self._now()) and watched_until(change.old or {}) != watched_until(new):
            self.look_at(_name_of(new))

    async def run(self) -> None:
        """Write until cancelled. Every binding is looked at first."""
        for binding in self._bindings.each():
            self.look_at(_name_of(binding))
        async with trio.open_nursery() as nursery:
            for number in range(self._pace.writers):
                nursery.start_soon(self._write_forever, name=f"status writer {number}")
            nursery.start_soon(self._look_at_counts)
            await self._keep_time()

    async def _keep_time(self) -> None:
        """Looks again at what is due, and often at steps that may be drained."""
        while True:
            self._alarm = trio.Event()
            now = trio.current_time()
            for name in [name for name, due in self._later.items() if due <= now]:
                del self._later[name]
                self._queue[name] = None
            draining = self._views.draining()
            for name in draining:
                self._queue[name] = None
            if self._queue:
                self._work.set()
            if draining:
                await trio.sleep(self._pace.tick)
                continue
            with trio.move_on_at(min(self._later.values(), default=math.inf)):
                await self._alarm.wait()
            await trio.sleep(self._pace.tick)  # many events, one look at all

    async def _look_at_counts(self) -> None:
        while True:
            await trio.sleep(self._pace.counts)
            for binding in self._bindings.each():
                self._queue[_name_of(binding)] = None
            if self._queue:
                self._work.set()

    async def _write_forever(self) -> None:
        while True:
            name = next((each for each in self._queue if each not in self._at_work), None)
            if name is None:
                self._work = trio.Event() if self._work.is_set() else self._work
                await self._work.wait()
                continue
            del self._queue[name]
            self._at_work.add(name)
            try:
                await self._report(name)
            finally:
                self._at_work.discard(name)
                if name in self._queue:
                    self._work.set()

    async def _report(self, name: NamespacedName) -> None:
        binding = self._bindings.get(name.namespace, name.name)
        if binding is None:
            self._views.forget(name)
            self._past.pop(name, None)
            self._later.pop(name, None)
            self._watched.discard(name)
            return
        uid = binding["metadata"]["uid"]
        past = self._past.get(name)
        if past is None or past.uid != uid:
            is_new = not binding.get("status")
            past = _Past(uid, not_before=trio.current_time() + self._pace.settle if is_new else -math.inf)
            self._past[name] = past
        wanted = wanted_status(binding, self._views.of(name, uid), self._now())
        patch, now, pause = status_patch(binding, wanted, self._now()), trio.current_time(), self._pause(name, binding)
        if name in self._watched:
            self._again(name, now + pause)
        if patch is None:
            await trio.lowlevel.checkpoint()
            return
        edge = is_edge(binding.get("status") or {}, wanted)
        allowed = self._next_edge(past) if edge else past.written_at + pause
        due = max(past.not_before, allowed)
        if now < due:
            self._again(name, due)
            await trio.lowlevel.checkpoint()
            return
        await self._write(name, past, patch, edge=edge)

    def _next_edge(self, past: _Past) -> float:
        return past.edges_paid_until - (self._pace.edges_at_once - 1) * self._pace.edges

    async def _write(self, name: NamespacedName, past: _Past, patch: Object, *, edge: bool) -> None:
        began_at = trio.current_time()
        try:
            stored = await self._client.patch(
                TRANSPORT_BINDING,
                name.name,
                patch,
                namespace=name.namespace,
                subresource="status",
                field_manager=FIELD_MANAGER,
            )
        except _STALE as error:
            _log.debug("the status of a binding was refused", binding="/".join(name), error=str(error))
            self._past[name] = replace(past, not_before=trio.current_time() + self._pace.counts)
        except KubeError as error:
            failures = past.failures + 1
            wait = wait_seconds(failures, self._pace.retry, self._pace.longest_retry, error)
            level = _log.warning if failures == 1 else _log.debug
            level("the status of a binding cannot be written", binding="/".join(name), error=str(error))
            due = trio.current_time() + wait
            self._past[name] = replace(past, failures=failures, not_before=due)
            self._again(name, due)
        else:
            paid_until = max(began_at, past.edges_paid_until) + self._pace.edges if edge else past.edges_paid_until
            self._past[name] = _Past(past.uid, written_at=began_at, edges_paid_until=paid_until)
            self._bindings.remember(stored)

    def _pause(self, name: NamespacedName, binding: Object) -> float:
        """Seconds between two writes of counts; notes whether the binding is watched."""
        if not is_watched(binding, self._now()):
            self._watched.discard(name)
            return self._pace.counts
        self._watched.add(name)
        return max(self._pace.watched, len(self._watched) / self._pace.watched_writes)

    def _again(self, name: NamespacedName, due: float) -> None:
        self._later[name] = min(due, self._later.get(name, due))
        self._alarm.set()


def _name_of(binding: Object) -> NamespacedName:
    return NamespacedName(binding["metadata"]["namespace"], binding["metadata"]["name"])
