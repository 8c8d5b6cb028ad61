"""The hub: live runs, their sessions, and the listener for connections, in one nursery.

It follows a topology: a run that appears is served, one that disappears ends with its sessions. A run that fails starts
again after a pause, with a new epoch and without what it had; no other run is affected. An orderly end stops reading
from the sources first, and gives the steps behind them time for what is on its way.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from bubu_wire.metadata import Metadata
from bubu_wire.status import Status, StatusCode
from core.api.objects import NamespacedName
from core.telemetry import metrics
from core.telemetry.hub_catalogue import CALL_DURATION, CALLS, HEARTBEAT_INTERVAL
from core.telemetry.logs import get_logger
from hub.admission import Admitted, admit
from hub.attendance import Attendance, AttendanceBook
from hub.client_refusal import ClientRefusal, Refused
from hub.listener import HubListener, HubListenerRules
from hub.packets import PacketChecker
from hub.receipts import Receipt
from hub.refusal_log import RefusalLog
from hub.registry import Registry, StaleGenerationError
from hub.routes import RunRoutes
from hub.run import LiveRun, RunServices
from hub.session import ClientSession
from hub.taps import TapBook
from hub.topology import BoundStep, Place, Topology, TopologyPort

BACKLOG: Final = 256
_PAUSES: Final = (1.0, 5.0, 30.0, 60.0)
_EPOCH_BYTES: Final = 4
_DRAIN_POLL_SECONDS: Final = 0.02

_log = get_logger("hub")
_ENDED: Final = Status(StatusCode.UNAVAILABLE, "the run has ended, or is being restarted")
_REPLACED: Final = Status(StatusCode.FAILED_PRECONDITION, "another client serves the step now")
_LEAVING: Final = Status(StatusCode.UNAVAILABLE, "the hub is stopping; try again")
_RETURNING: Final = Status(
    StatusCode.UNAVAILABLE, "the operator has not said yet whether the step has finished; try again"
)
_FULL: Final = Status(StatusCode.UNAVAILABLE, "too many packets of former sessions wait; try again")


class Hub:
    """Serves the runs of a topology. It is the ``SessionHandler`` of all sessions."""

    def __init__(
        self,
        keys: Sequence[bytes],
        rules: HubListenerRules | None = None,
        *,
        on_end: Callable[[LiveRun], None] | None = None,
        attendance: AttendanceBook | None = None,
        services: RunServices | None = None,
    ) -> None:
        """
        Args:
            keys: those that sign tokens, the one in use first.
            on_end: called with each live run that has ended, when its counts are final.
            attendance: where it notes which clients come and go.
            services: what the runs share.
        """
        self._services = services or RunServices()
        self._services.taps.on_change = self._look_at_taps
        self._on_end = on_end
        self._attendance = attendance or AttendanceBook()
        self._keys = tuple(keys)
        self._rules = rules or HubListenerRules()
        self._topology = Topology()
        self._bound: dict[Place, BoundStep] = {}
        self._runs: dict[NamespacedName, LiveRun] = {}
        self._scopes: dict[NamespacedName, trio.CancelScope] = {}
        self._sessions: Registry[ClientSession] = Registry()
        self._checker = PacketChecker()
        self._refusals = RefusalLog(trio.current_time)
        self._is_leaving = False

    @property
    def runs(self) -> Mapping[NamespacedName, LiveRun]:
        """The live runs."""
        return self._runs

    @property
    def sessions(self) -> int:
        """Clients that serve a step."""
        return len(self._sessions)

    @property
    def taps(self) -> TapBook:
        """Those who look at packets."""
        return self._services.taps

    def _look_at_taps(self, place: Place) -> None:
        if (live := self._runs.get(place.run)) is not None:
            live.look_at_taps()

    def accept_keys(self, keys: Sequence[bytes]) -> None:
        """Accept tokens of these keys from now on. Sessions that were admitted stay."""
        self._keys = tuple(keys)

    def attendance(self, place: Place) -> Attendance:
        """Who serves a step, and since when."""
        return self._attendance.of(place)

    async def drain(self, seconds: float) -> bool:
        """Take nothing new from the sources, and let all steps behind them have what is on its way.

        Returns whether that was everything; False after ``seconds``. The caller ends ``serve`` then.
        """
        self._is_leaving = True
        for run, live in self._runs.items():
            for step, producers in live.routes.sources.items():
                if not producers and (session := self._sessions.holder(Place(run, step))) is not None:
                    session.hold()
        with trio.move_on_after(seconds):
            while any(live.is_busy for live in self._runs.values()):  # noqa: ASYNC110 - many small states, seldom asked
                await trio.sleep(_DRAIN_POLL_SECONDS)
            return True
        return False

    async def serve(
        self,
        topology: TopologyPort,
        host: str,
        port: int,
        *,
        context: Callable[[], ssl.SSLContext] | None = None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; started with the port, once the topology is known.

        Args:
            context: the TLS context for the next connection; None: plaintext, for the loopback interface.

        Raises:
            OSError: the address is in use, or is not an address of this machine.
        """
        metrics.set_gauge(HEARTBEAT_INTERVAL, self._rules.timeouts.heartbeat)
        listener = HubListener(self, self._rules, context)
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow, topology)
            async with trio.open_nursery() as connections:
                serve = partial(trio.serve_listeners, listener.serve, listeners, handler_nursery=connections)
                await connections.start(serve)
                task_status.started(listeners[0].socket.getsockname()[1])
                await trio.sleep_forever()

    # The topology.

    async def _follow(self, port: TopologyPort, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            seen = await port.changed(None)
            self._apply(seen, nursery)
            task_status.started()
            while True:
                seen = await port.changed(seen)
                self._apply(seen, nursery)

    def _apply(self, topology: Topology, nursery: trio.Nursery) -> None:
        before, self._topology = self._topology, topology
        self._bound = {each.place: each for each in topology.bindings.values()}
        for run, routes in before.runs.items():
            is_the_same = topology.runs.get(run) == routes and topology.lives.get(run) == before.lives.get(run)
            if not is_the_same and run in self._scopes:
                self._scopes.pop(run).cancel()
                self._end_sessions(run)
                self._runs.pop(run, None)
        for run, routes in topology.runs.items():
            if run not in self._scopes:
                self._scopes[run] = scope = trio.CancelScope()
                self._runs[run] = self._new_run(routes)
                nursery.start_soon(self._serve_run, routes, scope, name=f"run {run}")
        self._end_stale(before)
        for place in topology.finished - before.finished:
            if (live := self._runs.get(place.run)) is not None:
                live.finish(place.step)

    def _end_stale(self, before: Topology) -> None:
        """End the sessions whose binding is gone, or now belongs to a newer generation."""
        for former in before.bindings.values():
            if (now := self._bound.get(former.place)) is None or now.uid != former.uid:
                self._begin_again(former.place)
        for session in self._sessions.holders():
            who = session.who
            if who is None:
                continue
            now = self._bound.get(who.place)
            if now is not None and now.generation > who.client.generation:
                session.refuse(_REPLACED)

    def _begin_again(self, place: Place) -> None:
        """The binding of a step is gone. Another one of it counts its generations from the start."""
        if (session := self._sessions.holder(place)) is not None:
            session.refuse(_ENDED)
        self._sessions.begin_again(place)
        self._attendance.forget(place)

    async def _serve_run(self, routes: RunRoutes, scope: trio.CancelScope) -> None:
        run, failures = routes.run, 0
        with scope:
            live = self._runs[run]
            while True:
                try:
                    await live.serve()
                except Exception as broken:  # noqa: BLE001 - the edge of a run: the others go on
                    _log.error("a run failed and starts again", run=str(run), error=broken)
                finally:
                    if self._on_end is not None:
                        self._on_end(live)
                    if self._runs.get(run) is live:
                        del self._runs[run]
                        self._end_sessions(run)
                await trio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
                live = self._runs[run] = self._new_run(routes)

    def _new_run(self, routes: RunRoutes) -> LiveRun:
        live = LiveRun(routes, secrets.token_hex(_EPOCH_BYTES), self._checker, self._services)
        for place in self._topology.finished:
            if place.run == routes.run:
                live.finish(place.step)
        return live

    def _end_sessions(self, run: NamespacedName) -> None:
        for session in self._sessions.of_run(run):
            session.refuse(_ENDED)
        if run not in self._topology.runs:
            self._sessions.forget(run)

    # The handler.

    def admit(self, metadata: Metadata) -> Admitted | Refused:
        if self._is_leaving:
            return Refused(ClientRefusal.HUB_STOPPING, _LEAVING)
        found = admit(metadata, self._topology, self._keys, self._sessions.generation)
        if isinstance(found, Refused) or self._may_come(found):
            return found
        return Refused(ClientRefusal.RETURNING, _RETURNING, found.place)

    def _may_come(self, who: Admitted) -> bool:
        bound, routes = self._bound[who.place], self._topology.runs[who.place.run]
        is_asked = bound.may_return is not None and not routes.sources[who.place.step]
        return not is_asked or self._attendance.may_come(bound, who.client)

    def silent(self, who: Admitted) -> None:
        if (live := self._runs.get(who.place.run)) is not None:
            live.steps[who.place.step].silences += 1

    def call_ended(self, path: str, code: StatusCode, seconds: float) -> None:
        method = path.rpartition("/")[2]
        metrics.count(CALLS, method=method, code=code.name)
        metrics.observe(CALL_DURATION, seconds, method=method)

    def refused(self, refused: Refused, peer: str) -> None:
        self._refusals.note(refused, peer)
        if refused.place is not None and refused.place in self._bound:
            self._attendance.refused(refused.place, refused.reason, refused.status.message)

    def attach(self, who: Admitted, session: ClientSession) -> Refused | None:
        live = self._runs.get(who.place.run)
        bound = self._bound.get(who.place)
        if live is None or bound is None or bound.uid != who.uid:
            return Refused(ClientRefusal.NOT_SERVED, _ENDED)
        if not live.can_attach(who.place.step):
            return Refused(ClientRefusal.LEFTOVERS, _FULL)
        try:
            replaced = self._sessions.take(who.place, who.client.generation, session)
        except StaleGenerationError as error:
            return Refused(ClientRefusal.STALE_GENERATION, Status(StatusCode.FAILED_PRECONDITION, str(error)))
        if replaced is not None:
            _log.info("a client was replaced", step=str(who.place), generation=who.client.generation)
            replaced.refuse(_REPLACED)
        is_known = who.client.process != "" and who.client == self._attendance.of(who.place).client
        live.attach(who.place.step, session, is_known=is_known, accepted=who.accepted)
        self._attendance.came(who.place, who.client)
        return None

    def detach(self, who: Admitted, session: ClientSession) -> None:
        if self._sessions.leave(who.place, session):
            self._attendance.went(who.place)
        if (live := self._runs.get(who.place.run)) is not None:
            live.detach(who.place.step, session)

    def arrived(self, who: Admitted, session: ClientSession, messages: Sequence[bytes]) -> bool:
        live = self._runs.get(who.place.run)
        return live is not None and live.arrived(who.place.step, session, messages)

    def go_on(self, who: Admitted) -> bool:
        live = self._runs.get(who.place.run)
        return live is not None and live.route(live.steps[who.place.step])

    def receipts(self, who: Admitted, receipts: Sequence[Receipt]) -> None:
        if (live := self._runs.get(who.place.run)) is not None:
            live.receipts(who.place.step, receipts)

    def written(self, who: Admitted, session: ClientSession, *, everything: bool) -> None:
        if (live := self._runs.get(who.place.run)) is not None:
            live.written(who.place.step, session, everything=everything)
