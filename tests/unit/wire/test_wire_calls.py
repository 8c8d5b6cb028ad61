"""Calls from beginning to end: metadata, messages, status, cancellation, refusals, leaving. (server.py, client.py)"""

from __future__ import annotations

import math

import pytest

from bubu_wire.client import ClientConnection
from bubu_wire.errors import BacklogError, CallsExhaustedError, UnknownCallError, UsageError
from bubu_wire.events import (
    CallAccepted,
    CallEnded,
    CallStarted,
    ConnectionEnded,
    MessagesReceived,
    PeerFinished,
    PeerLeaving,
    PingAnswered,
)
from bubu_wire.limits import Limits
from bubu_wire.metadata import decode_metadata, format_timeout, parse_timeout
from bubu_wire.server import ServerConnection
from bubu_wire.status import Status, StatusCode, decode_status_message, encode_status_message
from tests.unit.wire.pair import METHOD, REQUEST, Pair, data, end_of, frames_in, greeted, messages, request


def test_a_call_carries_metadata_messages_and_a_status_both_ways() -> None:
    pair = Pair()
    sent = (("team", "a"), ("team", "b"), ("trace-bin", b"\x00\xff"))
    call = pair.client.open_call(METHOD, sent, timeout=2.5)
    pair.client.send_messages(call, [b"one", b"", b"three"])
    pair.client.finish(call)
    pair.move()

    assert pair.at_server == [
        CallStarted(call, METHOD, sent, 2.5),
        MessagesReceived(call, (b"one", b"", b"three")),
        PeerFinished(call),
    ]
    pair.server.accept(call, [("begun", "yes")])
    pair.server.send_messages(call, [b"answer"])
    pair.server.finish(call, Status(StatusCode.ABORTED, "50 % – näh"), [("why-bin", b"\x01")])
    pair.move()
    assert pair.at_client == [
        CallAccepted(call, (("begun", "yes"),)),
        MessagesReceived(call, (b"answer",)),
        CallEnded(call, Status(StatusCode.ABORTED, "50 % – näh"), (("why-bin", b"\x01"),)),
    ]
    assert (pair.server.calls, pair.client.calls) == (0, 0)


def test_many_messages_leave_in_one_frame_of_one_write() -> None:
    pair = Pair()
    call = pair.open_call()
    for number in range(30):
        pair.client.send_messages(call, [bytes((number,)) * 400])

    written = pair.client.data_to_send()

    assert [kind for kind, *_ in frames_in(written)] == [0]
    assert len(messages(pair.server.receive(written, 0.0))) == 30


def test_a_server_may_end_a_call_that_goes_on() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.finish(call, Status(StatusCode.FAILED_PRECONDITION, "stale generation"))
    pair.move()

    assert end_of(pair.at_client).status == Status(StatusCode.FAILED_PRECONDITION, "stale generation")
    with pytest.raises(UnknownCallError):
        pair.client.send_messages(call, [b"late"])
    assert (pair.server.calls, pair.client.calls) == (0, 0)


def test_a_status_waits_for_the_messages_before_it() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.send_messages(call, [bytes(100_000)])
    pair.server.finish(call)
    pair.move()
    assert pair.server.calls == 0, "the client has room for one message that is larger than its window"
    assert [len(message) for message in messages(pair.at_client)] == [100_000]

    assert end_of(pair.at_client).status.code is StatusCode.OK


def test_a_client_cancels() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.client.cancel(call)
    pair.move()

    assert end_of(pair.at_server).status.code is StatusCode.CANCELLED
    assert pair.at_client == []
    with pytest.raises(UnknownCallError):
        pair.server.send_messages(call, [b"late"])
    with pytest.raises(UnknownCallError):
        pair.server.finish(call)


def test_a_server_aborts_a_call_whose_peer_does_not_read() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.send_messages(call, [bytes(60_000), bytes(60_000)])
    pair.move()
    pair.server.finish(call)
    pair.move()
    assert pair.server.calls == 1, "the second message waits for the window"

    pair.server.abort(call)
    pair.move()
    assert pair.server.calls == 0
    assert end_of(pair.at_client).status.code is StatusCode.CANCELLED


@pytest.mark.parametrize(
    ("changed", "code", "text"),
    [
        ({":path": "/test.Service/Other"}, "12", "there is no method"),
        ({":path": "/other.Service/Talk"}, "12", "there is no method"),
        ({"grpc-encoding": "gzip"}, "12", "identity"),
        ({"grpc-timeout": "5 S"}, "13", "grpc-timeout"),
    ],
)
def test_a_call_that_cannot_be_served_is_refused_without_an_event(
    changed: dict[str, str], code: str, text: str
) -> None:
    client = Pair().client  # decodes the answer
    server = greeted()
    call = client.open_call(METHOD)
    client.data_to_send()
    headers = tuple({**dict(REQUEST), **changed}.items())
    assert server.receive(request(call, headers), 0.0) == []

    ended = end_of(client.receive(server.data_to_send(), 0.0))
    assert (str(int(ended.status.code)), text in ended.status.message) == (code, True)
    assert server.calls == 0


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({":method": "GET"}, StatusCode.UNKNOWN),
        ({"content-type": "application/grpc-web"}, StatusCode.UNKNOWN),
        ({"content-type": "text/html"}, StatusCode.UNKNOWN),
    ],
)
def test_what_is_not_grpc_gets_an_answer_of_http(changed: dict[str, str], status: StatusCode) -> None:
    client, server = Pair().client, greeted()
    call = client.open_call(METHOD)
    client.data_to_send()
    headers = tuple({**dict(REQUEST), **changed}.items())
    assert server.receive(request(call, headers), 0.0) == []
    assert server.data_to_send() == b"", "the rest of the request may break the rules of HTTP"
    assert server.receive(data(call, b"", end=True), 0.0) == []

    ended = end_of(client.receive(server.data_to_send(), 0.0))
    assert ended.status.code is status
    assert "HTTP status 4" in ended.status.message
    assert server.calls == 0


def test_a_large_request_that_is_not_grpc_is_answered_before_its_end() -> None:
    server = greeted()
    headers = tuple({**dict(REQUEST), ":method": "PUT"}.items())
    assert server.receive(request(1, headers) + data(1, bytes(16_384)) * 3, 0.0) == []

    assert [kind for kind, *_ in frames_in(server.data_to_send())] == [1, 0, 0, 3]
    assert server.calls == 0


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x01\x00\x00\x00\x01x", StatusCode.UNIMPLEMENTED),
        (b"\x02\x00\x00\x00\x01x", StatusCode.INTERNAL),
        (b"\x00\x00\x00\x04\x01", StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_a_message_that_breaks_the_rules_ends_its_call_and_no_other(payload: bytes, code: StatusCode) -> None:
    server = greeted(Limits(max_message_bytes=1024))
    server.receive(request(1) + request(3), 0.0)
    good = b"\x00\x00\x00\x00\x01g"

    events = server.receive(data(1, good + payload) + data(3, good), 0.0)

    assert end_of(events).call == 1
    assert end_of(events).status.code is code
    assert (messages(events, 1), messages(events, 3)) == ([b"g"], [b"g"])
    assert server.data_to_send()
    assert server.calls == 1


def test_the_last_message_must_be_complete() -> None:
    server = greeted()
    server.receive(request(1), 0.0)

    events = server.receive(data(1, b"\x00\x00\x00\x00\x05abc", end=True), 0.0)
    assert end_of(events).status.code is StatusCode.INTERNAL


def test_a_compressed_answer_ends_the_call() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.send_messages(call, [b"x"])
    head, *_ = frames_in(pair.server.data_to_send())
    pair.client.receive(len(head[2]).to_bytes(3, "big") + b"\x01\x04" + head[1].to_bytes(4, "big") + head[2], 0.0)

    events = pair.client.receive(data(call, b"\x01\x00\x00\x00\x01x"), 0.0)
    assert end_of(events).status.code is StatusCode.UNIMPLEMENTED


def test_calls_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    server = greeted(Limits(max_calls=2))
    server.receive(request(1) + request(3), 0.0)
    assert server.receive(request(5), 0.0) == []
    assert (3, 5, b"\x00\x00\x00\x07") in frames_in(server.data_to_send())
    assert messages(server.receive(data(3, b"\x00\x00\x00\x00\x01g"), 0.0)) == [b"g"]

    pair = Pair(Limits(max_calls=1))
    pair.open_call()
    with pytest.raises(CallsExhaustedError):
        pair.client.open_call(METHOD)


def test_a_client_keeps_its_own_limit_of_calls() -> None:
    pair = Pair(client_limits=Limits(max_calls=2))
    first = pair.open_call()
    pair.open_call()
    with pytest.raises(CallsExhaustedError, match=r"Limits\.max_calls"):
        pair.client.open_call(METHOD)
    pair.client.cancel(first)
    assert pair.open_call()


def test_a_leaving_server_lets_accepted_calls_end_and_refuses_others() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.drain()
    on_its_way = pair.client.open_call(METHOD)  # the client has not heard yet
    pair.move()

    assert [event.error_code for event in pair.at_client if isinstance(event, PeerLeaving)] == [0, 0]
    with pytest.raises(CallsExhaustedError, match="new connection"):
        pair.client.open_call(METHOD)
    pair.client.send_messages(call, [b"still"])
    pair.client.send_messages(on_its_way, [b"accepted"])
    pair.move()
    assert messages(pair.at_server) == [b"still", b"accepted"]
    assert pair.server.receive(request(99), 0.0) == []
    assert (3, 99, b"\x00\x00\x00\x07") in frames_in(pair.server.data_to_send())
    pair.server.finish(call)
    pair.server.finish(on_its_way)
    pair.move()
    assert pair.server.calls == 0
    assert [event.status.code for event in pair.at_client if isinstance(event, CallEnded)] == [StatusCode.OK] * 2


def test_calls_that_a_leaving_server_has_not_accepted_end_at_once() -> None:
    pair = Pair()
    first, second = pair.open_call(), pair.open_call()
    leaving = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + first.to_bytes(4, "big") + bytes(4)

    events = pair.client.receive(leaving, 0.0)

    assert end_of(events).call == second
    assert end_of(events).status.code is StatusCode.UNAVAILABLE
    assert pair.client.calls == 1


def test_the_end_of_the_connection_ends_all_calls() -> None:
    pair = Pair()
    call = pair.open_call()
    assert [type(event) for event in pair.server.receive_eof()] == [CallEnded, ConnectionEnded]
    assert pair.server.receive_eof() == []

    assert pair.client.close(11, "enough")[-1] == ConnectionEnded(11, "enough")
    assert b"enough" in pair.client.data_to_send()
    assert pair.client.receive(b"anything", 0.0) == []
    with pytest.raises(UnknownCallError):
        pair.client.send_messages(call, [b"late"])
    with pytest.raises(UnknownCallError):
        pair.client.ping(bytes(8))


def test_pings_are_answered() -> None:
    pair = Pair()
    pair.client.ping(b"12345678")
    pair.server.ping(b"abcdefgh")
    pair.move()

    assert (pair.at_client, pair.at_server) == ([PingAnswered(b"12345678")], [PingAnswered(b"abcdefgh")])
    with pytest.raises(UsageError):
        pair.client.ping(b"short")


def test_misuse_is_an_error_and_sends_nothing() -> None:
    pair = Pair(client_limits=Limits(max_backlog_bytes=200_000))
    call = pair.open_call()
    for bad in [(":path", "x"), ("grpc-status", "0"), ("Upper", "x"), ("a", "ümlaut"), ("a", "x\r\ny"), ("a-bin", "x")]:
        with pytest.raises(UsageError):
            pair.client.open_call(METHOD, [bad])
    pair.client.send_messages(call, [bytes(150_000)])
    with pytest.raises(BacklogError):
        pair.client.send_messages(call, [bytes(150_000)])
    assert pair.client.backlog(call) == 150_005
    pair.client.finish(call)
    with pytest.raises(UsageError, match="finished"):
        pair.client.send_messages(call, [b"late"])
    pair.server.accept(call)
    with pytest.raises(UsageError, match="already"):
        pair.server.accept(call)
    pair.server.consumed(999)
    for window, calls in ((1000, 1), (65_535, 0), (2**30, 1)):
        with pytest.raises(UsageError):
            Limits(window_bytes=window, max_calls=calls)


@pytest.mark.parametrize(
    ("text", "encoded"), [("50%", "50%25"), ("ä\n", "%C3%A4%0A"), ("plain text", "plain text"), ("\t", "%09")]
)
def test_status_messages_are_percent_encoded(text: str, encoded: str) -> None:
    assert (encode_status_message(text), decode_status_message(encoded)) == (encoded, text)


def test_malformed_status_messages_are_read_as_far_as_possible() -> None:
    assert decode_status_message("100% of %4") == "100% of %4"
    assert decode_status_message("%FF") == "�"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.5, "1500000u"),
        (0, "0n"),
        (-3, "0n"),
        (3600 * 10**6, "60000000M"),
        (0.1, "100000u"),
        (1e-9, "1n"),
        (1e-10, "1n"),
    ],
)
def test_deadlines_are_sent_in_eight_digits(seconds: float, text: str) -> None:
    assert format_timeout(seconds) == text
    assert parse_timeout(text) == pytest.approx(max(0.0, seconds), abs=1e-9)


def test_deadlines_that_are_none_are_refused() -> None:
    for seconds in (math.inf, math.nan):
        with pytest.raises(UsageError):
            format_timeout(seconds)
    assert [parse_timeout(text) for text in ("", "5", "S", "5s", "123456789S", "-1S", "٥S")] == [None] * 7


def test_binary_metadata_comes_with_and_without_padding_and_joined() -> None:
    headers = [("a-bin", "AA=="), ("a-bin", "AQ, Ag=="), ("a-bin", "*"), ("te", "trailers"), (":path", "/")]

    assert decode_metadata(headers) == (("a-bin", b"\x00"), ("a-bin", b"\x01"), ("a-bin", b"\x02"))


@pytest.mark.parametrize("end", [ServerConnection([METHOD]), ClientConnection("x")])
def test_a_peer_that_speaks_something_else_is_told_so(end: ServerConnection | ClientConnection) -> None:
    events = end.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10, 0.0)

    assert isinstance(events[-1], ConnectionEnded)
    assert events[-1].error_code != 0
    assert end.ended
