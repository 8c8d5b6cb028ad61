"""Delivery of packets to one step: what waits, what is in flight, what is sent again, and what is given up.

A state machine without time and I/O. Its owner offers packets, takes what may be sent now, and reports receipts,
connections and the time. Packets are numbered when they are accepted, and a number is never used for another packet, so
a receiver can recognise repetitions. Numbers of one life of the hub differ from those of the next by the name
of the stream. Every packet ends in exactly one counter: offered = delivered + dropped + dead + pending.

At least once: a copy is kept until the receipt, and ``linger_seconds`` longer, because a receipt may overtake the
outputs that the packet has caused. Those seconds count only while the outputs of the step are read. When the step
connects again, all kept copies are sent again, oldest first. A packet that was in flight at the end of two sessions
is sent alone, so that the one packet that kills its receiver is found, and not its neighbours.

Source: streaming contract 13.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bubu_wire.forwarding import Address
from bubu_wire.inspection import Inspected
from hub.lanes import LaneTable, lane_of
from hub.packet_samples import DonePacket, PacketSamples
from hub.partitions import turn_of, whose_turn
from hub.pressure import FillGate
from hub.settings import ConcurrencyMode, DeliverySettings, DropPolicy, LaneKind, Ordering

LINGER_BYTES: Final = 16 * 1024 * 1024
"""Acknowledged copies that are still kept. Beyond, nothing new is sent until some are old enough."""
MAX_PARTITIONS: Final = 1_024
"""Partitions whose numbers are remembered one by one."""
MAX_WAIT_SECONDS: Final = 600.0
"""The longest time until an unacknowledged packet is sent again."""
_SUSPECT_ENDS: Final = 2
_LINGER_TICK: Final = 0.02


class Loss(StrEnum):
    """Why a packet was given up. Those of the contract, and ``session_ended``."""

    OVERSIZE = "oversize"
    LANE_OVERSIZE = "lane_oversize"
    LANE_FULL = "lane_full"
    DROP_OLDEST_LANE = "drop_oldest_lane"
    BUFFER_FULL = "buffer_full"
    DROP_OLDEST = "drop_oldest"
    EXPIRED = "expired"
    TIMEOUT = "timeout"
    SUPERSEDED = "superseded"
    SESSION_ENDED = "session_ended"
    RETRY_EXHAUSTED = "retry_exhausted"
    RUN_ENDED = "context_done"


@dataclass(slots=True)
class Parcel:
    """A packet that the hub keeps for one step."""

    packet: Inspected
    size: int
    order: int
    """Place in the order of acceptance."""
    sequence: int
    """0 without numbering."""
    key: tuple[str, int]
    """What a receipt names: partition, if numbers are counted by partition, and number."""
    accepted_at: float
    retry_at: float = math.inf
    attempts: int = 0
    ends: int = 0
    """Sessions that have ended while the packet was in flight."""
    is_delivered: bool = False
    """A receipt was counted."""
    lane: LaneKind = LaneKind.PAYLOAD
    """Known if the step has lanes."""
    is_traced: bool = False
    turn: str | None = None
    """Of packets with the same one, one is in flight at a time."""


@dataclass(slots=True)
class DeliveryCounts:
    """What became of the packets of one step since its run began."""

    offered: int = 0
    delivered: int = 0
    """Acknowledged; without numbering: written to the connection."""
    lost: Counter[Loss] = field(default_factory=Counter)
    sent: int = 0
    """Sendings, repetitions included."""
    unknown_receipts: int = 0
    """Receipts of another stream, and of packets that are not in flight, for example repeated ones."""

    @property
    def missed(self) -> int:
        """Lost packets, without those that a newer one has replaced: that is what the Story asks for."""
        return self.lost.total() - self.lost[Loss.SUPERSEDED]


class StepDelivery:
    """The packets of one step, from their acceptance to their end."""

    def __init__(self, settings: DeliverySettings, stream_id: str, metadata: Mapping[str, str]) -> None:
        """``metadata`` is put over that of each packet.

        Raises:
            MessageError: ``stream_id`` or ``metadata`` is outside the contract's bounds.
        """
        self.settings = settings
        self.counts = DeliveryCounts()
        self.gate = FillGate(settings.pause_percent, settings.resume_percent)
        """Closed while producers must wait."""
        self.is_connected = False
        self.samples: PacketSamples | None = None
        """Set while packets are traced."""
        self.stream_id = stream_id
        """The name of the stream in the present connection."""
        self._name = stream_id
        self._metadata = metadata
        self._sessions = 0
        """Of clients that were not known."""
        self.added_pairs = len(metadata)
        """Metadata pairs that each packet gets."""
        self._address = Address(stream_id, metadata)
        self._is_sequenced = settings.is_sequenced
        self._takes_turns = settings.takes_turns
        self._by_partition = settings.ordering is Ordering.PER_PARTITION
        self._has_suspects = False
        """Whether there may be packets that must be sent alone."""
        self._waiting: deque[Parcel] = deque()
        self._waiting_bytes = 0
        self._in_flight: dict[tuple[str, int], Parcel] = {}
        """In the order of sending."""
        self._has_repeated = False
        """Whether that may differ from the order of acceptance."""
        self._in_flight_bytes = 0
        self._retry_at = math.inf
        """No packet in flight is sent again before this time."""
        self._lingering: deque[tuple[float, Parcel]] = deque()
        """Acknowledged copies, with the reading time at which each may go."""
        self._lingering_bytes = 0
        self._lanes = LaneTable(settings.lanes) if settings.lanes else None
        self._dead: list[Parcel] = []
        self.order = 0
        """How many packets were accepted; each has its place among them."""
        self._next: dict[str, int] = {}
        """For each partition its next number; the least recently used partition first."""
        self._floor = 1
        """The first number of a partition that is new, or was forgotten."""

    # What the owner can see.

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def pending(self) -> int:
        """Packets that are in no counter yet."""
        return sum(not parcel.is_delivered for parcel in (*self._waiting, *self._in_flight.values()))

    @property
    def kept_bytes(self) -> int:
        return self._waiting_bytes + self._in_flight_bytes + self._lingering_bytes

    @property
    def settled(self) -> int:
        """All packets up to this one, in the order of acceptance, are acknowledged or lost."""
        pending = next((parcel.order for parcel in self._waiting if not parcel.is_delivered), self.order + 1)
        flying = (parcel.order for parcel in self._in_flight.values() if not parcel.is_delivered)
        oldest = min(flying, default=pending) if self._has_repeated else next(flying, pending)
        return min(pending, oldest) - 1

    def fill(self) -> float:
        """How full the buffer is, in percent."""
        by_count = len(self._waiting) / self.settings.max_messages
        return 100.0 * max(by_count, self._waiting_bytes / self.settings.max_bytes)

    def acknowledged(self, partition: str = "") -> int:
        """The contiguous prefix: all packets of ``partition`` up to this number are done. 0: none."""
        kept = [
            parcel.sequence
            for parcel in (*self._in_flight.values(), *self._waiting)
            if parcel.key[0] == partition and not parcel.is_delivered
        ]
        return (min(kept) if kept else self._next.get(partition, 1)) - 1

    def take_dead(self) -> list[Parcel]:
        """The packets that were given up after ``max_attempts`` since the last call."""
        dead, self._dead = self._dead, []
        return dead

    # Accepting.

    def must_wait(self, size: int) -> bool:
        """Whether a packet of this size cannot be offered now: its producer must wait."""
        settings = self.settings
        if not settings.blocks or size > settings.max_bytes or not self._waiting:
            return False
        return (
            self.gate.is_closed
            or len(self._waiting) >= settings.max_messages
            or self._waiting_bytes + size > settings.max_bytes
        )

    def has_room(self, size: int) -> bool:
        """Whether a packet of this size would be accepted without dropping one, or by dropping it for its size."""
        settings = self.settings
        if not settings.blocks or size > settings.max_bytes or not self._waiting:
            return True
        return len(self._waiting) < settings.max_messages and self._waiting_bytes + size <= settings.max_bytes

    def offer(self, packet: Inspected, size: int, now: float) -> Loss | None:
        """Accept a packet, or drop one; returns why ``packet`` itself was dropped. Look at ``gate`` afterwards."""
        settings = self.settings
        self.counts.offered += 1
        if size > settings.max_bytes:
            return self._lose(Loss.OVERSIZE)
        turn = turn_of(packet, settings.by_participant) if self._takes_turns else None
        if turn is not None and settings.concurrency is ConcurrencyMode.CANCEL_PREVIOUS:
            self._supersede(turn)
        if self._lanes is not None and (why := self._make_room(lane_of(packet), size)) is not None:
            return self._lose(why)
        while self._waiting and (
            len(self._waiting) >= settings.max_messages or self._waiting_bytes + size > settings.max_bytes
        ):
            if settings.drop_policy is DropPolicy.NEWEST:
                return self._lose(Loss.BUFFER_FULL)
            oldest = self._waiting.popleft()
            self._left(oldest)
            if not oldest.is_delivered:
                self._lose(Loss.DROP_OLDEST)
        partition = packet.partition if self._by_partition else ""
        self.order += 1
        sequence = self._number(partition) if self._is_sequenced else 0
        key = (partition, sequence) if sequence else ("", self.order)
        parcel = Parcel(packet, size, self.order, sequence, key, now, turn=turn)
        if self.samples is not None:
            parcel.is_traced = self.samples.takes(now)
        self._waiting.append(parcel)
        self._waiting_bytes += size
        if self._lanes is not None:
            parcel.lane = lane_of(packet)
            self._lanes.change(parcel.lane, 1, size)
        return None

    # Sending.

    def connected(self, *, is_known: bool = False) -> None:
        """The step has a session. Everything that was kept waits in ``take`` again, oldest first.

        A client that does not say that it is the same process as before (``is_known``) gets all of it under another
        name of the stream: it may have dropped what a packet has caused, together with its connection, and would
        take the same number for one that it has done.
        """
        self.is_connected = True
        if self._sessions and not is_known:
            self.stream_id = f"{self._name}.{self._sessions}"
            self._address = Address(self.stream_id, self._metadata)
        self._sessions += not is_known

    def disconnected(self) -> None:
        """The session has ended."""
        self.is_connected = False
        flying = list(self._in_flight.values())
        self._has_repeated = False
        again = [parcel for _, parcel in self._lingering] if self.settings.at_least_once else []
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._retry_at = math.inf
        self._lingering.clear()
        self._lingering_bytes = 0
        if not self.settings.at_least_once:
            self._lose(Loss.SESSION_ENDED, len(flying))
            return
        for parcel in flying:
            parcel.ends += 1
            self._has_suspects |= parcel.ends >= _SUSPECT_ENDS
            if not self._is_exhausted(parcel):
                again.append(parcel)
        again.sort(key=lambda parcel: parcel.order)
        self._put_back(again)

    def take(self, now: float, room: int) -> list[bytes]:
        """The messages to send now, in order: while there is ``room``, in bytes, so the last one may exceed it."""
        taken: list[bytes] = []
        settings = self.settings
        while self._waiting and room > 0 and self.is_connected:
            place = self._place_of_next() if self._takes_turns else 0
            if place is None:
                break
            parcel = self._waiting[place]
            if self._in_flight and (
                len(self._in_flight) >= settings.window_messages
                or self._in_flight_bytes + parcel.size > settings.window_bytes
                or (self._has_suspects and (parcel.ends >= _SUSPECT_ENDS or self._is_alone()))
            ):
                break
            if self._lingering_bytes >= LINGER_BYTES:
                break
            del self._waiting[place]
            self._waiting_bytes -= parcel.size
            if self._lanes is not None:
                self._lanes.change(parcel.lane, -1, -parcel.size)
            room -= parcel.size
            taken.append(self._send(parcel, now))
        self.counts.sent += len(taken)
        return taken

    def flushed(self) -> None:
        """Everything that was taken is written. Packets without numbers are delivered by that."""
        if not self._is_sequenced:
            self.counts.delivered += len(self._in_flight)
            for parcel in self._in_flight.values() if self.samples is not None else ():
                self._trace(parcel)
            self._in_flight.clear()
            self._in_flight_bytes = 0

    def receipt(self, stream_id: str, partition: str, sequence: int, reading: float) -> bool:
        """The step is done with a packet; returns whether there is room for others now.

        Args:
            reading: how many seconds the step's own packets have been read in this session.
        """
        key = (partition if self._by_partition else "", sequence)
        parcel = self._in_flight.pop(key, None) if stream_id == self.stream_id else None
        if parcel is None:
            self.counts.unknown_receipts += 1
            return False
        self._in_flight_bytes -= parcel.size
        if not parcel.is_delivered:
            parcel.is_delivered = True
            self.counts.delivered += 1
            self._trace(parcel)
        if self.settings.at_least_once:
            self._lingering.append((reading + self.settings.linger_seconds, parcel))
            self._lingering_bytes += parcel.size
        return True

    def export_samples(self, now: float) -> None:
        """Tell of the traced packets that are done."""
        if self.samples is not None:
            self.samples.export(now)

    # Time.

    def due(self, now: float, reading: float, *, is_reading: bool = True) -> float:
        """The time at which ``expire`` has something to do; infinite without one.

        Without ``is_reading`` the time of ``reading`` stands still.
        """
        found = math.inf
        if self._waiting and self.settings.max_age_seconds is not None:
            found = self._waiting[0].accepted_at + self.settings.max_age_seconds
        if self._in_flight and self._is_sequenced:
            found = min(found, self._retry_at)
        if self._lingering and is_reading:
            found = min(found, now + max(_LINGER_TICK, self._lingering[0][0] - reading))
        return found

    def expire(self, now: float, reading: float) -> None:
        """Drop what is too old, put what was not acknowledged back to be sent again, and forget old copies."""
        while self._lingering and self._lingering[0][0] <= reading:
            self._lingering_bytes -= self._lingering.popleft()[1].size
        age = self.settings.max_age_seconds
        while age is not None and self._waiting and self._waiting[0].accepted_at + age <= now:
            parcel = self._waiting.popleft()
            self._left(parcel)
            if not parcel.is_delivered:
                self._lose(Loss.EXPIRED)
        if self._retry_at <= now:
            self._retry(now)

    def abandon(self) -> None:
        """The run has ended: everything that is pending is lost."""
        self._lose(Loss.RUN_ENDED, self.pending)
        self._waiting.clear()
        self._in_flight.clear()
        self._lingering.clear()
        self._waiting_bytes = self._in_flight_bytes = self._lingering_bytes = 0
        if self._lanes is not None:
            self._lanes.clear()

    # Details.

    def _place_of_next(self) -> int | None:
        return whose_turn((each.turn for each in self._waiting), {each.turn for each in self._in_flight.values()})

    def _supersede(self, turn: str) -> None:
        """Drop what waits for ``turn`` and was never sent: a newer packet takes its place."""
        for parcel in [each for each in self._waiting if each.turn == turn and not each.attempts]:
            self._waiting.remove(parcel)
            self._left(parcel)
            self._lose(Loss.SUPERSEDED)

    def _trace(self, parcel: Parcel) -> None:
        if parcel.is_traced and self.samples is not None:
            number = parcel.sequence or parcel.order
            self.samples.done(DonePacket(parcel.key[0], number, parcel.size, parcel.attempts, parcel.accepted_at))

    def _left(self, parcel: Parcel) -> None:
        """A parcel waits no longer."""
        self._waiting_bytes -= parcel.size
        if self._lanes is not None:
            self._lanes.change(parcel.lane, -1, -parcel.size)

    def _make_room(self, kind: LaneKind, size: int) -> Loss | None:
        """Room in the lane of a packet, by its drop policy; returns why there is none."""
        load = self._lanes.load(kind) if self._lanes is not None else None
        if load is None:
            return None
        if size > load.settings.max_bytes:
            return Loss.LANE_OVERSIZE
        if not load.has_room(size) and self.settings.drop_policy is DropPolicy.NEWEST:
            return Loss.LANE_FULL
        while not load.has_room(size):
            oldest = next(parcel for parcel in self._waiting if parcel.lane is kind)
            self._waiting.remove(oldest)
            self._left(oldest)
            if not oldest.is_delivered:
                self._lose(Loss.DROP_OLDEST_LANE)
        return None

    def _send(self, parcel: Parcel, now: float) -> bytes:
        self._in_flight[parcel.key] = parcel
        self._in_flight_bytes += parcel.size
        if parcel.sequence:
            wait = self.settings.redeliver_seconds
            if parcel.attempts:
                wait = min(wait * (1 << min(parcel.attempts, 10)), MAX_WAIT_SECONDS)
            parcel.retry_at = retry_at = now + wait
            if retry_at < self._retry_at:
                self._retry_at = retry_at
        parcel.attempts += 1
        packet = parcel.packet
        return self._address.stamp(packet.body, parcel.sequence, packet.partition, packet.chunk)

    def _retry(self, now: float) -> None:
        """Put the packets back whose time has come. The first time that may be next is kept, not the exact one."""
        late = [parcel for parcel in self._in_flight.values() if parcel.retry_at <= now]
        again = []
        for parcel in late:
            del self._in_flight[parcel.key]
            self._in_flight_bytes -= parcel.size
            if not self.settings.at_least_once:
                self._lose(Loss.TIMEOUT)
            elif not self._is_exhausted(parcel):
                again.append(parcel)
        self._retry_at = min((parcel.retry_at for parcel in self._in_flight.values()), default=math.inf)
        again.sort(key=lambda parcel: parcel.order)
        self._has_repeated |= bool(again)
        self._put_back(again)

    def _put_back(self, again: list[Parcel]) -> None:
        self._waiting.extendleft(reversed(again))
        if self._takes_turns:  # they may have overtaken others
            self._waiting = deque(sorted(self._waiting, key=lambda parcel: parcel.order))
        self._waiting_bytes += sum(parcel.size for parcel in again)
        if self._lanes is not None:
            for parcel in again:
                self._lanes.change(parcel.lane, 1, parcel.size)

    def _is_alone(self) -> bool:
        """Whether the packet in flight is one that must be alone."""
        return len(self._in_flight) == 1 and next(iter(self._in_flight.values())).ends >= _SUSPECT_ENDS

    def _is_exhausted(self, parcel: Parcel) -> bool:
        """Whether a packet that came to nothing is given up. One that was acknowledged before is no loss."""
        most = self.settings.max_attempts
        if most is None or parcel.attempts < most:
            return False
        if not parcel.is_delivered:
            self._lose(Loss.RETRY_EXHAUSTED)
            self._dead.append(parcel)
        return True

    def _number(self, partition: str) -> int:
        """The next number of a partition. One that was forgotten goes on above all numbers it can have had."""
        number = self._next.pop(partition, self._floor)
        if len(self._next) >= MAX_PARTITIONS:
            oldest = next(iter(self._next))
            self._floor = max(self._floor, self._next.pop(oldest))
        self._next[partition] = number + 1
        return number

    def _lose(self, why: Loss, count: int = 1) -> Loss:
        if count:
            self.counts.lost[why] += count
        return why
