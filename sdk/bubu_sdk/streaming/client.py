"""The client of the hub over all its connections: what it must not lose, and when it connects again. No I/O.

The owner dials when ``dial_at`` says so, reports with ``connected`` or ``dial_failed``, and moves bytes. The function's
side is ``put``, ``taken``, ``finish`` and ``refuse``; messages for it are in ``news``. Source: Streaming contract 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bubu_sdk.streaming.chunks import MAX_TOTAL_BYTES, Broken
from bubu_sdk.streaming.inbox import Delivery, Inbox, Receipts
from bubu_sdk.streaming.outbox import Outbox, Settled
from bubu_sdk.streaming.session import (
    Accepted,
    PacketsReceived,
    Ready,
    Remark,
    Session,
    SessionEnded,
    SessionEvent,
)
from bubu_sdk.streaming.settings import StreamSettings

HAND_BYTES: Final = 256 * 1024
"""Packets that a connection holds for the hub's window; the others wait in the outbox."""
MAX_UNFINISHED: Final = 32_768
"""Messages that are not done. One window holds up to 13,107, but each new connection has a new one."""
_REASON_CHARACTERS: Final = 2_000
_JITTER: Final = 0.2


@dataclass(slots=True)
class News:
    """What has happened; the owner passes it on."""

    deliveries: list[Delivery] = field(default_factory=list)
    freed_packets: int = 0
    freed_bytes: int = 0
    remarks: list[str] = field(default_factory=list)
    """For the log."""


class StreamClient:
    """Pure. Only the owner's thread uses it. Every method with ``now`` may add to ``news``; take it often."""

    def __init__(self, settings: StreamSettings, now: float, chance: Callable[[], float]) -> None:
        self._settings = settings
        self._chance = chance
        self._inbox = Inbox(with_in_packets=settings.with_in_packets)
        self._outbox = Outbox()
        self._receipts = Receipts()
        self._session: Session | None = None
        self._connections = 0
        self._retries = 0
        self._ready_since: float | None = None
        self._draining = self._closing = False
        self._consumed = 0
        """Packets of this connection that are done with, and that it does not know of."""
        self._held_bytes = 0
        """Of messages in chunks that are not taken. With too many of them, the hub is to send nothing."""
        self.dial_at: float | None = now
        """When to dial; None while there is a connection, a dial, or no need."""
        self.failure: str | None = None
        """Why the stream cannot go on."""
        self.closed = False
        """The hub has everything, and the connection has ended."""
        self.news = News()

    # Connections.

    @property
    def session(self) -> Session | None:
        """The connection, until its end is reported."""
        return self._session

    def dialing(self) -> None:
        """The owner has begun to dial."""
        self.dial_at = None

    def connected(self, now: float, unix_ms: int) -> Session:
        """The owner has a transport."""
        endpoint = self._settings.endpoint
        self.dial_at = None
        self._connections += 1
        self._outbox.restart()
        self._consumed = 0
        self._session = Session(
            endpoint.authority,
            self._settings.binding,
            self._settings.pace,
            now,
            unix_ms=unix_ms,
            secure=endpoint.secure,
            accepted=self._outbox.accepted,
        )
        return self._session

    def dial_failed(self, reason: str, now: float, *, final: bool = False) -> None:
        """There is no transport."""
        self._lost(f"no connection to {self._settings.endpoint}: {reason}", now, final=final)

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the hub; none is the end of the connection."""
        if self._session is not None:
            self._handle(self._session.receive(data, now), now)

    def broken(self, reason: str, now: float) -> None:
        """The transport has failed."""
        if self._session is not None:
            self._handle(self._session.lost(reason), now)

    def tick(self, now: float) -> None:
        """Do what is due: heartbeats, deadlines, chunks that wait for others."""
        for broken in self._inbox.expire(now):
            self._refuse(broken)
        if self._session is not None:
            self._handle(self._session.tick(now), now)
            self._move(now)

    def next_tick(self) -> float:
        """When ``tick`` or a dial is due, at the latest."""
        times = [] if self.dial_at is None else [self.dial_at]
        if self._session is not None:
            times.append(self._session.next_tick())
        if (expiry := self._inbox.next_expiry()) is not None:
            times.append(expiry + 120.0)
        return min(times, default=float("inf"))

    def data_to_send(self, now: float) -> bytes:
        """What to write to the transport; say ``written`` when all of it is."""
        if self._session is None:
            return b""
        self._move(now)
        return self._session.data_to_send()

    def written(self, now: float) -> None:
        """All that ``data_to_send`` has returned is written."""
        session = self._session
        if session is None:
            return
        session.written()
        if session.ready and not session.accepts:
            self._settle(self._outbox.accept(session.written_packets))
        self._move(now)

    # The function.

    def put(self, packets: Sequence[bytes], delivery: Delivery | None) -> None:
        """Send the packets of one output, which answers ``delivery``."""
        self._outbox.put(packets, delivery)

    def taken(self, delivery: Delivery) -> None:
        """The function has ``delivery`` now: the hub may send another."""
        if delivery.held_bytes:
            self._held_bytes -= delivery.held_bytes
        elif delivery.connection == self._connections:
            self._consumed += 1

    def finish(self, delivery: Delivery) -> None:
        """The function sends nothing more for ``delivery``."""
        if not delivery.finished:
            delivery.finished = True
            if not delivery.outputs and not delivery.done:
                self._complete(delivery)

    def refuse(self, delivery: Delivery, reason: str) -> None:
        """The function cannot use ``delivery``."""
        if not delivery.done:
            self._inbox.refuse(delivery)
            self._refuse(Broken(reason, delivery.parts))

    def drain(self) -> None:
        """Deliver nothing more. What arrives from now on is left to the hub, which has no receipt for it."""
        self._draining = True

    def close(self, now: float) -> None:
        """The function has ended: send what is left, then end the connection."""
        self._draining = self._closing = True
        self._settle_without_session()
        self._move(now)

    def unsent(self) -> tuple[int, int]:
        """Packets that are not accepted, and receipts that have not left."""
        return len(self._outbox), len(self._receipts)

    # Inside.

    def _handle(self, events: Iterable[SessionEvent], now: float) -> None:
        for event in events:
            if self._session is None:
                break  # one of these events has ended it
            match event:
                case PacketsReceived():
                    self._take_in(event.packets, now)
                case Accepted():
                    self._accept(event.total, now)
                case Ready():
                    self._ready_since = now
                    self._outbox.restart()
                case Remark():
                    self.news.remarks.append(event.text)
                case SessionEnded():
                    self._session_ended(event, now)
        self._move(now)

    def _take_in(self, packets: tuple[bytes, ...], now: float) -> None:
        assert self._session is not None
        if self._draining:
            return
        if self._inbox.unfinished > MAX_UNFINISHED:
            self._handle(self._session.lost(f"more than {MAX_UNFINISHED} messages wait for the function"), now)
            return
        intake = self._inbox.receive(packets, self._connections, now)
        self.news.deliveries += intake.deliveries
        self._held_bytes += sum(delivery.held_bytes for delivery in intake.deliveries)
        self._receipts.add(intake.receipts)
        for broken in intake.refusals:
            self._refuse(broken)
        self._consumed += intake.consumed

    def _accept(self, total: int, now: float) -> None:
        if self._session is None or not self._session.accepts:
            return
        settled = self._outbox.accept(total)
        if settled is not None:
            self._settle(settled)
            return
        text = f"the hub has accepted {total} packets, more than were sent to it"
        self._handle(self._session.lost(text), now)

    def _settle(self, settled: Settled | None) -> None:
        if settled is not None:
            self.news.freed_packets += settled.packets
            self.news.freed_bytes += settled.size_bytes
            for delivery in settled.done:
                self._complete(delivery)

    def _complete(self, delivery: Delivery) -> None:
        self._receipts.add(self._inbox.complete(delivery))

    def _refuse(self, broken: Broken) -> None:
        places = [part for part in broken.parts if part.sequence]
        name = f"packet {places[0].sequence} of {places[0].stream_id}" if places else "a packet"
        self.news.remarks.append(f"{name} is refused: {broken.reason[:_REASON_CHARACTERS]}")
        if self._session is not None and self._session.ready:
            self._session.send_refusal(broken.reason, broken.parts[:1])

    def _move(self, now: float) -> None:
        """Give the connection what it can carry, and end it when nothing is left."""
        session = self._session
        if session is None:
            return
        if self._consumed and self._held_bytes <= MAX_TOTAL_BYTES:
            session.consumed(self._consumed)
            self._consumed = 0
        if not session.ready:
            return
        if self._receipts:
            session.send_receipts(self._receipts.take())
        while self._outbox.waiting and (room := HAND_BYTES - session.backlog()) > 0 and not session.ended:
            session.send(self._outbox.hand(room), now)
        if self._closing and not self._outbox and session.control_is_sent():
            session.finish(now)

    def _session_ended(self, ended: SessionEnded, now: float) -> None:
        self._session = None
        self._outbox.restart()
        since, self._ready_since = self._ready_since, None
        if since is not None and now - since >= self._settings.reconnect.max_seconds:
            self._retries = 0
        if ended.finished:
            self.closed = True
            return
        self._lost(ended.reason, now, final=ended.final)

    def _lost(self, reason: str, now: float, *, final: bool) -> None:
        reconnect = self._settings.reconnect
        if self._settle_without_session():
            return
        self._retries += 1
        if final or 0 <= reconnect.max_retries < self._retries:
            tries = "" if final else f"; gave up after {reconnect.max_retries} retries"
            self.failure = f"{reason}{tries}"
            return
        pause = min(reconnect.max_seconds, reconnect.base_seconds * 2.0 ** min(self._retries - 1, 40))
        pause *= 1 - _JITTER + 2 * _JITTER * self._chance()
        self.dial_at = now + pause
        self.news.remarks.append(f"{reason}; connecting again in {pause:.2f} s")

    def _settle_without_session(self) -> bool:
        """Whether the end has come, because there is neither a connection nor anything to send."""
        if self._closing and self._session is None and not self._outbox and not self._receipts:
            self.closed = True
            self.dial_at = None
        return self.closed
