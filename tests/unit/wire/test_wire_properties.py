"""Properties for any bytes: splits change nothing, nothing raises, nothing grows. (connection.py)"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import hpack
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bubu_wire.client import ClientConnection
from bubu_wire.errors import UnknownCallError
from bubu_wire.events import CallStarted, ConnectionEnded, Event, MessagesReceived
from bubu_wire.limits import Limits
from bubu_wire.screen import PREFACE
from bubu_wire.server import ServerConnection
from bubu_wire.status import Status, StatusCode
from tests.unit.wire.pair import METHOD, REQUEST, frame, frames_in, request

LIMITS = Limits(max_calls=4, max_message_bytes=100_000)


def _block(headers: list[tuple[str, str]]) -> bytes:
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in headers])


numbers = st.integers(0, 2**31 - 1)
streams = st.sampled_from([0, 1, 1, 1, 3, 3, 5, 2, 7, 9, 11, 2**31 - 1])
grpc_data = st.lists(
    st.builds(
        lambda flag, body, lie: bytes((flag,)) + (len(body) + lie).to_bytes(4, "big") + body,
        st.sampled_from([0, 0, 0, 0, 0, 0, 1, 7]),
        st.binary(max_size=60),
        st.sampled_from([0, 0, 0, 1, 50, 200_000]),
    ),
    max_size=4,
).map(b"".join)
header_lists = st.lists(
    st.tuples(
        st.sampled_from([":method", ":path", "grpc-timeout", "te", "x", "X", "a-bin", "content-length", "connection"]),
        st.text(max_size=8),
    ),
    max_size=5,
)
frames = st.one_of(
    st.builds(lambda stream, end: request(stream, end=end), streams, st.booleans()),
    st.builds(
        lambda stream, headers: frame(1, _block([*REQUEST, *headers]), flags=4, stream=stream), streams, header_lists
    ),
    st.builds(
        lambda stream, body, end: frame(0, body, flags=int(end), stream=stream), streams, grpc_data, st.booleans()
    ),
    st.builds(lambda stream, size: frame(0, bytes(size), stream=stream), streams, st.integers(0, 16_384)),
    st.builds(lambda stream, body: frame(3, body, stream=stream), streams, st.just(b"\x00\x00\x00\x08")),
    st.builds(lambda body, flags: frame(6, body, flags=flags), st.just(bytes(8)), st.sampled_from([0, 1])),
    st.builds(
        lambda pairs, ack: frame(4, b"".join(a.to_bytes(2, "big") + b.to_bytes(4, "big") for a, b in pairs), flags=ack),
        st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2**32 - 1)), max_size=3),
        st.sampled_from([0, 0, 1]),
    ),
    st.builds(
        lambda stream, size: frame(8, size.to_bytes(4, "big"), stream=stream), streams, st.integers(0, 2**31 - 1)
    ),
    st.builds(lambda last, text: frame(7, last.to_bytes(4, "big") + bytes(4) + text), streams, st.binary(max_size=9)),
    st.builds(
        lambda kind, body, flags, stream: frame(kind, body, flags=flags, stream=stream),
        st.integers(0, 12),
        st.binary(max_size=40),
        st.integers(0, 255),
        streams,
    ),
    st.binary(max_size=30),
)
conversations = st.lists(frames, max_size=25).map(lambda parts: PREFACE + frame(4) + b"".join(parts))


def serve(server: ServerConnection, events: list[Event]) -> None:
    """An application that reads, answers, and ends every third call at once."""
    for event in events:
        if isinstance(event, CallStarted) and event.call % 3 == 0:
            with suppress(UnknownCallError):
                server.finish(event.call, Status(StatusCode.ABORTED, "no"))
        elif isinstance(event, MessagesReceived):
            server.consumed(event.call, len(event.messages))


def joined(events: list[Event]) -> list[Event]:
    """Messages that come in one read are told together."""
    found: list[Event] = []
    for event in events:
        before = found[-1] if found else None
        if isinstance(event, MessagesReceived) and isinstance(before, MessagesReceived) and event.call == before.call:
            found[-1] = MessagesReceived(event.call, before.messages + event.messages)
        else:
            found.append(event)
    return found


def answers(server: ServerConnection) -> list[tuple[int, int, bytes]]:
    """Without window updates, which may come at once or in parts."""
    return [answer for answer in frames_in(server.data_to_send()) if answer[0] != 8]


@given(conversations, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_any_split_of_the_bytes_gives_the_same_events(sent: bytes, chance: random.Random) -> None:
    whole = ServerConnection([METHOD], LIMITS)
    expected = whole.receive(sent, 0.0)
    split = ServerConnection([METHOD], LIMITS)
    found: list[Event] = []
    position = 0
    while position < len(sent):
        size = chance.choice([1, 2, 3, 8, 9, 10, 100, 5000])
        found += split.receive(sent[position : position + size], 0.0)
        position += size

    assert joined(found) == joined(expected)
    assert answers(split) == answers(whole)


@given(conversations)
@settings(max_examples=200)
@example(PREFACE + frame(4) + request(1) + frame(5, bytes(30), flags=0xFF, stream=1))
@example(PREFACE + frame(4) + request(3) + frame(0, b"\0\0\x01\x86\xa1", stream=3))  # a message beyond the limit
def test_no_bytes_raise_or_grow_memory_in_a_server(sent: bytes) -> None:
    server = ServerConnection([METHOD], LIMITS)
    for begin in range(0, len(sent), 1000):
        events = server.receive(sent[begin : begin + 1000], 0.0)
        serve(server, events)
        server.data_to_send()
        bound(server)
        if server.ended:
            assert isinstance(events[-1], ConnectionEnded)
            break
    server.receive_eof()
    assert server.calls == 0


@given(st.lists(frames, max_size=25).map(b"".join), st.integers(0, 3))
@settings(max_examples=200)
def test_no_bytes_raise_or_grow_memory_in_a_client(sent: bytes, calls: int) -> None:
    client = ClientConnection("x", limits=LIMITS)
    for _ in range(calls):
        client.send_messages(client.open_call(METHOD), [b"hello"])
    client.data_to_send()
    for begin in range(0, len(sent), 1000):
        client.receive(frame(4) + sent[:1000] if begin == 0 else sent[begin : begin + 1000], 0.0)
        client.data_to_send()
        bound(client)
    client.receive_eof()
    assert client.calls == 0


def bound(end: ServerConnection | ClientConnection) -> None:
    """What may be held, wherever it is."""
    assert end._screen.held_bytes < 16_384 + 9
    assert len(end._calls) <= LIMITS.max_calls
    assert len(end._replies) <= LIMITS.max_reply_bytes
    for call in end._calls.values():
        assert len(call.deframer.held) <= LIMITS.max_message_bytes + LIMITS.window_bytes
        assert call.inflow.withheld() <= LIMITS.window_bytes + LIMITS.max_message_bytes


@given(
    st.lists(st.lists(st.binary(max_size=70_000), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(1, 9)
)
@settings(max_examples=40)
def test_messages_arrive_whole_and_in_order_whatever_the_application_consumes_when(
    batches: list[list[bytes]], pace: int
) -> None:
    server, client = ServerConnection([METHOD], LIMITS), ClientConnection("x", limits=replace(LIMITS, max_calls=2))
    call = client.open_call(METHOD)
    received: list[bytes] = []
    unread = 0
    expected = [message for batch in batches for message in batch]
    for turn in range(10_000):
        if turn < len(batches):
            client.send_messages(call, batches[turn])
        for event in server.receive(client.data_to_send(50_000), 0.0):
            if isinstance(event, MessagesReceived):
                received += event.messages
                unread += len(event.messages)
        if turn % pace == 0 and unread:
            server.consumed(call)
            unread -= 1
        client.receive(server.data_to_send(), 0.0)
        if received == expected:
            return
    raise AssertionError(f"{len(received)} of {len(expected)} messages arrived")
