"""Peers that misuse HTTP/2: each limit ends the connection, or the call, with its code. (screen.py, connection.py)"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from bubu_wire.events import CallEnded, ConnectionEnded
from bubu_wire.limits import Limits, Rate
from bubu_wire.screen import Budget
from bubu_wire.server import ServerConnection
from tests.unit.wire.pair import REQUEST, Pair, data, frame, frames_in, greeted, messages, request, violation

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6
COMPRESSION_ERROR, CALM = 9, 11
MIB = 1024 * 1024


def until_the_end(server: ServerConnection, send: Callable[[int], bytes], most: int, *, seconds: float = 0.0) -> int:
    """Send until the server ends the connection; returns after how many. The answers are taken at once."""
    for number in range(most):
        events = server.receive(send(number), number * seconds)
        server.data_to_send()
        if server.ended:
            assert violation(events).error_code == CALM
            return number + 1
    return most


@pytest.mark.parametrize(
    ("send", "burst"),
    [
        (lambda _n: frame(6, bytes(8)), 100),
        (lambda _n: frame(4), 20),
        (lambda _n: data(1, b""), 100),
        (lambda _n: frame(0, b"\x05" + bytes(5), flags=8, stream=1), 100),
        (lambda _n: frame(2, bytes(5), stream=1), 2000),
        (lambda _n: frame(8, b"\x00\x00\x00\x01", stream=1), 2000),
        (lambda _n: frame(0xEE, b"what"), 2000),
        (lambda n: request(3 + 2 * n) + frame(3, bytes(4), stream=3 + 2 * n), 200),
    ],
    ids=["ping", "settings", "empty data", "only padding", "priority", "window update", "unknown frame", "rapid reset"],
)
def test_floods_end_the_connection_and_the_same_at_leisure_does_not(send: Callable[[int], bytes], burst: int) -> None:
    server = greeted()
    server.receive(request(1), 0.0)
    spent_by_greeting = 1 if send(0)[3] == 4 else 0
    assert until_the_end(server, send, 3 * burst) == burst + 1 - spent_by_greeting

    patient = greeted()
    patient.receive(request(1), 0.0)
    assert until_the_end(patient, send, 3 * burst, seconds=2.0) == 3 * burst


def test_a_peer_may_measure_and_open_windows_as_often_as_it_gets_messages() -> None:
    pair = Pair()
    call = pair.open_call()
    for _ in range(1000):
        pair.server.send_messages(call, [b"x"])
        pair.client.ping(bytes(8))
        pair.move()

    assert not pair.server.ended


def test_window_updates_are_free_as_far_as_they_answer_messages() -> None:
    server = greeted()
    server.receive(request(1), 0.0)
    for _ in range(600):
        server.send_messages(1, [b"x"])
        server.data_to_send()
        server.receive(frame(8, b"\x00\x00\x00\x01", stream=1) * 4, 0.0)

    assert not server.ended


def test_answers_to_pings_that_nobody_sent_are_pings() -> None:
    server = greeted()
    server.ping(bytes(8))
    server.data_to_send()

    assert until_the_end(server, lambda _n: frame(6, bytes(8), flags=1), 300) == 102


def test_calls_beyond_the_limit_again_and_again_end_the_connection() -> None:
    server = greeted(Limits(max_calls=1))
    server.receive(request(1), 0.0)

    assert until_the_end(server, lambda n: request(3 + 2 * n), 1000) == 201


def test_a_peer_that_makes_us_reset_calls_is_counted_too() -> None:
    server = greeted()

    def overflow(number: int) -> bytes:
        stream = 1 + 2 * number
        return request(stream) + frame(8, b"\x7f\xff\xff\xff", stream=stream)

    assert until_the_end(server, overflow, 1000) == 201


def test_a_peer_that_never_reads_the_answers_is_left() -> None:
    server = greeted(Limits(pings=Rate(10**9, 1)))
    sent = 0
    while not server.ended:
        sent += 1
        server.receive(frame(6, bytes(8)) * 100, 0.0)

    assert sent * 100 * 17 < 2 * server.limits.max_reply_bytes
    assert len(server.data_to_send()) < 2 * server.limits.max_reply_bytes


def test_a_header_block_has_a_size_and_few_continuations() -> None:
    begun = frame(1, bytes(100), stream=1)
    for more, count in ((bytes(16_000), 2), (b"", 5)):
        server = greeted()
        server.receive(begun, 0.0)
        events = [server.receive(frame(9, more, stream=1), 0.0) for _ in range(count)]
        assert violation(events[-1]).error_code == CALM

    server = greeted()
    unpacked = (*REQUEST, *((f"x-{number}", "y" * 1000) for number in range(16)))  # 16 KiB, with 32 for each
    assert violation(server.receive(request(1, unpacked), 0.0)).error_code in (COMPRESSION_ERROR, CALM)


def test_headers_that_unpack_to_much_more_are_refused() -> None:
    server = greeted()
    inserted = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000  # one entry of 4,000 bytes in the table
    bomb = inserted + b"\xbe" * 100  # and a hundred references to it

    assert violation(server.receive(frame(1, bomb, flags=5, stream=1), 0.0)).error_code in (COMPRESSION_ERROR, CALM)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (bytes.fromhex("ffffff") + b"\x00\x00\x00\x00\x00\x01", FRAME_SIZE_ERROR),
        (frame(0, b"x", stream=0), PROTOCOL_ERROR),
        (frame(9, b"x", flags=4, stream=1), PROTOCOL_ERROR),
        (frame(1, b"\xff\xff\xff\xff\xff", flags=4, stream=1), PROTOCOL_ERROR),
        (frame(8, bytes(4)), PROTOCOL_ERROR),
        (frame(8, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
        (frame(6, b"short"), FRAME_SIZE_ERROR),
        (frame(5, bytes(4), flags=4, stream=1), PROTOCOL_ERROR),
        (request(2), PROTOCOL_ERROR),
        (request(1, (*REQUEST, ("Upper", "x"))), PROTOCOL_ERROR),
        (frame(7, bytes(4)), FRAME_SIZE_ERROR),
    ],
)
def test_malformed_frames_end_the_connection_with_their_code(bad: bytes, code: int) -> None:
    server = greeted()
    events = server.receive(bad + bytes(20_000 if bad[:3] == b"\xff\xff\xff" else 0), 0.0)

    assert violation(events).error_code == code
    assert frames_in(server.data_to_send())[-1][0] == 7


def test_a_peer_that_ignores_the_window_is_left() -> None:
    server = greeted()
    server.receive(request(1), 0.0)
    server.receive(data(1, b"\x00\x00\x00\x00\x01g"), 0.0)  # not consumed
    server.receive(data(1, b"\x00\x00\x9f\xff\xff" + bytes(16_379)), 0.0)
    events = [server.receive(data(1, bytes(16_384)), 0.0) for _ in range(3)]

    assert violation(events[-1]).error_code == FLOW_CONTROL_ERROR
    assert [type(event) for event in events[-1]] == [CallEnded, ConnectionEnded]


def test_a_peer_that_ignores_the_window_in_one_read_is_left_after_its_messages() -> None:
    server = greeted()
    server.receive(request(1), 0.0)
    message = b"\x00\x00\x00\x3f\xfb" + bytes(16_379)
    events = server.receive(data(1, message) * 4 + data(1, b"\x00\x00\x00\x00\x01g"), 0.0)

    assert len(messages(events)) == 3  # the window has 65,535 bytes, the fourth message would need 65,536
    assert violation(events).error_code == FLOW_CONTROL_ERROR


def test_data_between_the_parts_of_a_header_block_ends_the_connection() -> None:
    server = greeted()
    server.receive(request(1), 0.0)
    events = server.receive(frame(1, b"\x88", stream=3) + data(1, b"\x00\x00\x00\x00\x01g"), 0.0)

    assert violation(events).error_code == PROTOCOL_ERROR
    assert messages(events) == []


@pytest.mark.parametrize("announced", ["6", "5"])
def test_a_request_must_have_as_many_bytes_as_it_has_announced(announced: str) -> None:
    server = greeted()
    server.receive(request(1, (*REQUEST, ("content-length", announced))), 0.0)
    events = server.receive(data(1, b"\x00\x00\x00\x00\x01g"), 0.0)

    if announced == "6":
        assert messages(events) == [b"g"]
    else:
        assert violation(events).error_code == PROTOCOL_ERROR


def test_events_before_a_violation_are_not_lost() -> None:
    server = greeted()
    events = server.receive(request(1) + data(1, b"\x00\x00\x00\x00\x01g") + frame(8, bytes(4)), 0.0)

    assert [type(event).__name__ for event in events] == [
        *("CallStarted", "MessagesReceived", "CallEnded", "ConnectionEnded"),
    ]


def test_memory_for_a_hostile_peer_is_bounded() -> None:
    """All calls open, each with its window full of incomplete or unread messages, beside a begun frame and headers."""
    limits = Limits(max_calls=16)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    server = greeted(limits)
    unread = []
    for stream in range(1, 33, 2):
        server.receive(request(stream), 0.0)
        unread += server.receive(data(stream, b"\x00\x00\x00\x00\x01x"), 0.0)
        for payload in (b"\x00\x00\x9f\xff\xff" + bytes(16_379), bytes(16_384), bytes(16_384), bytes(16_377)):
            server.receive(data(stream, payload), 0.0)
    server.receive(frame(0, bytes(16_384), stream=1)[:-1], 0.0)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert not server.ended
    assert len(unread) == 16
    assert used < 16 * limits.window_bytes * 1.3 + 256 * 1024


def test_memory_stays_flat_over_many_calls() -> None:
    server = greeted()

    def rounds(first: int, count: int) -> None:
        for number in range(first, first + count):
            stream = 1 + 2 * number
            server.receive(request(stream) + data(stream, b"\x00\x00\x00\x00\x01g", end=True), number * 1.0)
            server.finish(stream)
            server.data_to_send()

    tracemalloc.start()
    rounds(0, 1400)  # h2 remembers 1,024 streams that have ended
    before = tracemalloc.get_traced_memory()[0]
    rounds(1400, 400)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert server.calls == 0
    assert grown < 8 * 1024


def test_a_budget_regains_with_time_up_to_its_burst() -> None:
    budget = Budget(Rate(2, 1.0))
    assert [budget.spend(0.0) for _ in range(3)] == [True, True, False]
    assert [budget.spend(now) for now in (2.0, 2.0, 1.0)] == [True, False, False], "a clock may stand still"
    budget.regain(100)
    assert [budget.spend(2.0) for _ in range(3)] == [True, True, False]
