"""A server and a client in memory, and frames written by hand for peers that misbehave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import hpack

from bubu_wire.client import ClientConnection
from bubu_wire.events import CallEnded, ConnectionEnded, Event, MessagesReceived
from bubu_wire.limits import DEFAULT_LIMITS, Limits
from bubu_wire.screen import PREFACE
from bubu_wire.server import ServerConnection

METHOD: Final = "/test.Service/Talk"


@dataclass
class Pair:
    """Both ends, and the events that they have had."""

    limits: Limits = DEFAULT_LIMITS
    client_limits: Limits = DEFAULT_LIMITS
    at_server: list[Event] = field(default_factory=list)
    at_client: list[Event] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.server = ServerConnection([METHOD], self.limits)
        self.client = ClientConnection("test:1", limits=self.client_limits)
        self.move()

    def move(self) -> None:
        """Until neither has anything to say."""
        moved = True
        while moved:
            to_server, to_client = self.client.data_to_send(), self.server.data_to_send()
            self.at_server += self.server.receive(to_server, self.now)
            self.at_client += self.client.receive(to_client, self.now)
            moved = bool(to_server or to_client)

    def open_call(self) -> int:
        call = self.client.open_call(METHOD)
        self.move()
        return call


def messages(events: list[Event], call: int | None = None) -> list[bytes]:
    received = [event for event in events if isinstance(event, MessagesReceived)]
    return [message for event in received if call in (None, event.call) for message in event.messages]


def end_of(events: list[Event]) -> CallEnded:
    (ended,) = [event for event in events if isinstance(event, CallEnded)]
    return ended


def violation(events: list[Event]) -> ConnectionEnded:
    assert isinstance(events[-1], ConnectionEnded), events
    return events[-1]


# Frames by hand.

REQUEST: Final = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", METHOD),
    (":authority", "test"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def request(stream: int, headers: tuple[tuple[str, str], ...] = REQUEST, *, end: bool = False) -> bytes:
    """A HEADERS frame. Nothing is indexed, so requests may be left out or repeated."""
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers])
    return frame(1, block, flags=0x4 | int(end), stream=stream)


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    return frame(0, payload, flags=int(end), stream=stream)


def greeted(limits: Limits = DEFAULT_LIMITS) -> ServerConnection:
    """A server whose peer has said what HTTP/2 wants to hear first."""
    server = ServerConnection([METHOD], limits)
    server.data_to_send()
    assert server.receive(PREFACE + frame(4), 0.0) == []
    server.data_to_send()
    return server


def frames_in(sent: bytes) -> list[tuple[int, int, bytes]]:
    """Type, stream and payload of frames that were sent."""
    found, position = [], 0
    while position < len(sent):
        size = int.from_bytes(sent[position : position + 3], "big")
        stream = int.from_bytes(sent[position + 5 : position + 9], "big")
        found.append((sent[position + 3], stream, sent[position + 9 : position + 9 + size]))
        position += 9 + size
    return found
