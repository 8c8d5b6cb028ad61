"""What has been received and is not yet done: duplicates, chunks, receipts.

A message is delivered once, however often the hub sends it, until 4,096 others are done after it. Its receipt goes out
when it is done, and again whenever the hub sends it again. The memory outlives connections: a message that is being
worked on when the connection breaks is not delivered anew. Source: Streaming contract 11.4.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bubu_sdk.streaming import packet_bytes
from bubu_sdk.streaming.chunks import Assembler, Broken, Part, Whole
from bubu_sdk.streaming.translation import Content, RefusedError, content_of
from bubu_wire.errors import MessageError
from bubu_wire.messages import DataResponse

REMEMBERED: Final = 4096


@dataclass(eq=False, slots=True)
class Delivery:
    """A message for the function."""

    number: int
    """Counts the deliveries of this process."""
    content: Content
    parts: tuple[Part, ...]
    """One for each packet that it came in."""
    connection: int
    """The connection that it came on."""
    held_bytes: int = 0
    """Of a message in chunks, whose bytes the hub may replace already."""
    outputs: int = 0
    """Packets that answer it and are not accepted."""
    finished: bool = False
    """The function sends nothing more for it."""
    done: bool = False

    @property
    def place(self) -> Part:
        """The packet that it came in, or the first of them."""
        return self.parts[0]


@dataclass(slots=True)
class Intake:
    """What received packets amount to."""

    deliveries: list[Delivery] = field(default_factory=list)
    receipts: list[Part] = field(default_factory=list)
    """To be sent now."""
    refusals: list[Broken] = field(default_factory=list)
    consumed: int = 0
    """Packets that are done with already; the others are when their delivery is taken."""


class Inbox:
    """Pure; the owner says the time."""

    def __init__(self, *, with_in_packets: bool = False) -> None:
        """``with_in_packets``: as in the settings of the stream."""
        self._with_in_packets = with_in_packets
        self._pending: set[str] = set()
        self._completed: set[str] = set()
        self._order: deque[str] = deque()
        """The keys in ``_completed``, the oldest first. A dict would look for its oldest key among deleted ones."""
        self._assembler = Assembler()
        self._numbers = itertools.count(1)
        self.unfinished = 0
        """Deliveries that are not done."""

    def receive(self, packets: Iterable[bytes], connection: int, now: float) -> Intake:
        """Take in ``packets`` of one connection, in order."""
        intake = Intake()
        for data in packets:
            self._receive(data, connection, now, intake)
        return intake

    def expire(self, now: float) -> list[Broken]:
        """Give up chunks that wait for others for too long; a hub that sends them again is heard."""
        expired = self._assembler.expire(now)
        for broken in expired:
            self.release(broken.parts)
        return expired

    def next_expiry(self) -> float | None:
        """When chunks that wait were begun, at the earliest."""
        return self._assembler.next_expiry()

    def complete(self, delivery: Delivery) -> list[Part]:
        """``delivery`` is done; returns the receipts."""
        self.unfinished -= 1
        delivery.done = True
        for part in delivery.parts:
            if part.key:
                self._pending.discard(part.key)
                self._completed.add(part.key)
                self._order.append(part.key)
        while len(self._order) > REMEMBERED:
            self._completed.discard(self._order.popleft())
        return [part for part in delivery.parts if part.sequence]

    def refuse(self, delivery: Delivery) -> None:
        """The function cannot use ``delivery``. It has no receipt, and is delivered again if the hub sends it again."""
        self.unfinished -= 1
        delivery.done = True
        self.release(delivery.parts)

    def release(self, parts: Iterable[Part]) -> None:
        """Forget these packets: if the hub sends them again, they are new."""
        for part in parts:
            self._pending.discard(part.key)

    def _receive(self, data: bytes, connection: int, now: float, intake: Intake) -> None:
        try:
            read = packet_bytes.read(data)
        except MessageError as error:
            intake.consumed += 1
            intake.refusals.append(Broken(str(error), ()))
            return
        part = Part("", len(data), read.stream_id, read.sequence, read.partition)
        packet = read.packet
        if packet is not None and packet.envelope is not None and packet.envelope.is_chunk:
            part.key = _key(part, "")
            self._receive_chunk(packet, part, connection, now, intake)
            return
        try:
            content = content_of(read, data, with_in_packets=self._with_in_packets)
        except RefusedError as error:
            intake.consumed += 1
            intake.refusals.append(Broken(str(error), (part,)))
            return
        if content is None:
            intake.consumed += 1
            if part.sequence:
                intake.receipts.append(part)
            return
        part.key = _key(part, content.message_id)
        if self._is_new(part, intake):
            intake.deliveries.append(self._delivery(content, (part,), connection))
        else:
            intake.consumed += 1

    def _receive_chunk(self, packet: DataResponse, part: Part, connection: int, now: float, intake: Intake) -> None:
        intake.consumed += 1
        if not self._is_new(part, intake):
            return
        outcome = self._assembler.add(packet, part, now)
        if isinstance(outcome, Whole):
            try:
                whole = packet_bytes.whole(outcome.packet)
                content = content_of(whole, b"", with_in_packets=self._with_in_packets)
            except RefusedError as error:
                outcome = Broken(str(error), outcome.parts)
            else:
                self._deliver_whole(outcome, content, connection, intake)
        if isinstance(outcome, Broken):
            self.release(outcome.parts)
            intake.refusals.append(outcome)

    def _deliver_whole(self, whole: Whole, content: Content | None, connection: int, intake: Intake) -> None:
        if content is None:
            self.release(whole.parts)
            intake.receipts += [part for part in whole.parts if part.sequence]
            return
        parts = whole.parts
        if not parts[0].key and content.message_id:  # no chunk has a number of its own
            name = Part(f"#{content.message_id}", 0)
            if not self._is_new(name, intake):
                return
            parts = (*parts, name)
        delivery = self._delivery(content, parts, connection)
        delivery.held_bytes = sum(part.size_bytes for part in whole.parts)
        intake.deliveries.append(delivery)

    def _delivery(self, content: Content, parts: tuple[Part, ...], connection: int) -> Delivery:
        self.unfinished += 1
        return Delivery(next(self._numbers), content, parts, connection)

    def _is_new(self, part: Part, intake: Intake) -> bool:
        key = part.key
        if not key:
            return True
        if key in self._completed:
            if part.sequence:
                intake.receipts.append(part)
            return False
        if key in self._pending:
            return False
        self._pending.add(key)
        return True


def _key(part: Part, message_id: str) -> str:
    """What makes a packet the same; empty if nothing does."""
    if part.sequence and part.stream_id:
        return f"{part.stream_id}|{part.partition}|{part.sequence}"
    return message_id and f"#{message_id}"


class Receipts:
    """Receipts that wait for a connection. There are no more than messages that the hub has under way."""

    def __init__(self) -> None:
        self._waiting: deque[Part] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, parts: Iterable[Part]) -> None:
        self._waiting.extend(parts)

    def take(self) -> list[Part]:
        """All of them."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
