"""What the function has sent and the hub has not accepted.

Packets stay here until they are accepted, and a new connection gets all of them again, in order. A hub that offers
``upstream.accepts`` says how many packets of a connection it has accepted; of any other hub, what is written to the
socket counts as accepted. Source: Streaming contract 11.4, 11.5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from bubu_sdk.streaming.inbox import Delivery


@dataclass(slots=True)
class Settled:
    """What an acceptance has freed."""

    packets: int = 0
    size_bytes: int = 0
    done: list[Delivery] = field(default_factory=list)
    """Deliveries whose outputs are all accepted and that the function has finished."""


class Outbox:
    """Pure. Only the owner's thread uses it."""

    def __init__(self) -> None:
        self._packets: deque[tuple[bytes, Delivery | None]] = deque()
        self._handed = 0
        """How many of ``_packets``, from the left, the current connection has."""
        self._accepted = 0
        """How many packets of the current connection are accepted, and no longer here."""
        self.accepted = 0
        """How many packets are accepted in all."""

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def waiting(self) -> int:
        """Packets that the current connection does not have."""
        return len(self._packets) - self._handed

    def put(self, packets: Sequence[bytes], delivery: Delivery | None) -> None:
        """Keep the packets of one output, which answers ``delivery``."""
        for packet in packets:
            self._packets.append((packet, delivery))
        if delivery is not None:
            delivery.outputs += len(packets)

    def restart(self) -> None:
        """There is a new connection, or none: everything is to be sent again."""
        self._handed = self._accepted = 0

    def hand(self, size_bytes: int) -> list[bytes]:
        """The next packets for the current connection: about ``size_bytes``, at least one if one waits."""
        taken: list[bytes] = []
        for packet, _ in islice(self._packets, self._handed, None):
            taken.append(packet)
            size_bytes -= len(packet)
            if size_bytes <= 0:
                break
        self._handed += len(taken)
        return taken

    def accept(self, total: int) -> Settled | None:
        """The first ``total`` packets of the current connection are accepted; None if it does not have that many.

        A total that is not larger than an earlier one changes nothing.
        """
        count = total - self._accepted
        if count > self._handed:
            return None
        settled = Settled()
        for _ in range(count):
            packet, delivery = self._packets.popleft()
            settled.packets += 1
            settled.size_bytes += len(packet)
            if delivery is not None:
                delivery.outputs -= 1
                if delivery.finished and not delivery.outputs:
                    settled.done.append(delivery)
        if count > 0:
            self._handed -= count
            self._accepted = total
            self.accepted += count
        return settled
