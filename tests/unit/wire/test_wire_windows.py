"""Back-pressure: a window opens when the application has consumed, for each call by itself. (call.py)"""

from __future__ import annotations

import pytest

from bubu_wire import connection
from bubu_wire.limits import Limits
from tests.unit.wire.pair import Pair, messages

MESSAGE = bytes(1000)


def test_a_peer_stops_at_the_window_until_messages_are_consumed() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.client.send_messages(call, [MESSAGE] * 200)
    pair.move()
    assert len(messages(pair.at_server)) == 65  # 65,535 bytes
    assert pair.client.backlog(call) == 200 * 1005 - 65_535

    pair.server.consumed(call, 65)
    pair.move()
    assert len(messages(pair.at_server)) == 130
    pair.server.consumed(call, 65)
    pair.move()
    pair.server.consumed(call, 65)
    pair.move()
    assert len(messages(pair.at_server)) == 200
    assert pair.client.backlog(call) == 0


def test_windows_are_the_same_with_an_h2_whose_counters_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for name in (connection._WINDOW, "_another_name"):
        monkeypatch.setattr(connection, "_WINDOW", name)
        pair = Pair()
        call = pair.open_call()
        for _ in range(9):
            pair.client.send_messages(call, [MESSAGE] * 40)
            pair.move()
            counts.append(len(messages(pair.at_server)))
            pair.server.consumed(call, 30)
        assert pair.client.backlog(call) > 0

    assert counts[:9] == counts[9:]


def test_calls_that_nobody_reads_do_not_stop_another() -> None:
    pair = Pair(Limits(max_calls=8))
    stalled = [pair.open_call() for _ in range(7)]
    for call in stalled:
        pair.client.send_messages(call, [MESSAGE] * 100)
    pair.move()
    flowing = pair.open_call()

    for _ in range(50):
        pair.client.send_messages(flowing, [MESSAGE] * 20)
        pair.move()
        pair.server.consumed(flowing, 20)
    pair.move()

    assert len(messages(pair.at_server, flowing)) == 1000
    assert [len(messages(pair.at_server, call)) for call in stalled] == [65] * 7


def test_a_message_may_be_larger_than_the_window() -> None:
    pair = Pair()
    call = pair.open_call()
    large = bytes(range(256)) * 8000
    pair.client.send_messages(call, [large, b"next"])
    pair.move()
    assert messages(pair.at_server) == [large, b"next"]


def test_a_large_message_waits_behind_one_that_is_not_consumed() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.client.send_messages(call, [b"first", bytes(1_000_000)])
    pair.move()
    assert messages(pair.at_server) == [b"first"]
    assert pair.client.backlog(call) == 10 + 5 + 1_000_000 - 65_535, "no more than the window is held"

    pair.server.consumed(call)
    pair.move()
    assert len(messages(pair.at_server)) == 2


def test_what_was_held_of_ended_calls_is_given_back_to_the_connection() -> None:
    pair = Pair(Limits(max_calls=2))
    for number in range(50):  # nothing is ever consumed
        call = pair.open_call()
        pair.client.send_messages(call, [MESSAGE] * 60)
        pair.move()
        if number % 2:
            pair.client.cancel(call)
        else:
            pair.server.finish(call)
        pair.move()

    call = pair.open_call()
    pair.client.send_messages(call, [MESSAGE] * 60)
    pair.move()
    assert len(messages(pair.at_server, call)) == 60


def test_a_call_that_is_finished_here_takes_at_most_its_window_more() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.send_messages(call, [bytes(60_000), bytes(60_000)])
    pair.server.finish(call)
    pair.move()  # the end waits behind a message that the client does not consume
    pair.client.send_messages(call, [MESSAGE] * 1000)
    pair.move()

    assert messages(pair.at_server) == []
    assert pair.client.backlog(call) == 1000 * 1005 - 65_535


def test_many_small_messages_need_few_window_updates() -> None:
    pair = Pair()
    call = pair.open_call()
    updates = 0
    for _ in range(100):
        pair.client.send_messages(call, [bytes(95)] * 100)
        pair.server.receive(pair.client.data_to_send(), 0.0)
        for _ in range(100):
            pair.server.consumed(call)
        answer = pair.server.data_to_send()
        updates += answer.count(b"\x00\x00\x04\x08")
        pair.client.receive(answer, 0.0)

    assert pair.client.backlog(call) == 0
    assert 0 < updates < 60, "for 10,000 messages and a million bytes"


def test_a_paused_call_takes_one_window_and_no_message() -> None:
    pair = Pair()
    call = pair.open_call()
    pair.server.pause(call)
    pair.client.send_messages(call, [bytes(1_000_000), b"next"])
    pair.move()
    assert messages(pair.at_server) == []
    assert pair.client.backlog(call) == 1_000_000 + 5 + 4 + 5 - pair.limits.window_bytes

    pair.server.resume(call)
    pair.move()
    assert messages(pair.at_server) == [bytes(1_000_000), b"next"]


def test_a_paused_call_that_ends_leaves_room_for_others() -> None:
    pair = Pair()
    for _ in range(100):
        call = pair.open_call()
        pair.server.pause(call)
        pair.client.send_messages(call, [bytes(100_000)])
        pair.move()
        pair.client.cancel(call)
        pair.move()
        pair.server.resume(call)
    call = pair.open_call()
    pair.client.send_messages(call, [b"a"])
    pair.move()

    assert messages(pair.at_server) == [b"a"]
