"""The lines of steps in the output of the worker, and the messages between its processes."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_sdk.status import StatusUpdate
from bubu_sdk.workers import channel
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.channel import Exited
from bubu_sdk.workers.order import StepOrder, order_of_wire, order_to_wire, outcome_of_wire, outcome_to_wire
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.relay import OutputLines, OutputRelay
from tests.unit.sdk.workers.worker_stand import eventually

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
FIELDS = {"storyRun": "run", "step": "a", "stepRun": "run-a", "attempt": 2}


@given(st.lists(st.binary(max_size=40)))
def test_lines_do_not_depend_on_how_they_arrive(parts: list[bytes]) -> None:
    in_parts, at_once = OutputLines(FIELDS, lambda: NOW), OutputLines(FIELDS, lambda: NOW)

    assert b"".join(map(in_parts.feed, parts)) + in_parts.end() == at_once.feed(b"".join(parts)) + at_once.end()


def test_what_a_step_prints_becomes_a_record_and_records_stay_as_they_are() -> None:
    lines = OutputLines(FIELDS, lambda: NOW)

    written = [*lines.feed(b'hello\n\x1e{"msg": "m"}\n\xff').decode().splitlines(), lines.end().decode()]

    printed = {"time": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "output", **FIELDS}
    assert [json.loads(line) for line in written] == [
        {**printed, "msg": "hello"},
        {"msg": "m"},
        {**printed, "msg": "\ufffd"},
    ]


def test_an_endless_line_is_divided() -> None:
    lines = OutputLines(FIELDS, lambda: NOW)

    written = b"".join(lines.feed(b"x" * 1000) for _ in range(200))

    assert len(written.splitlines()) >= 2


def test_the_relay_copies_what_is_left_when_a_step_has_ended(tmp_path: Path) -> None:
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    relay = OutputRelay(file, now=lambda: NOW)
    relay.begin()
    reading, writing = os.pipe()
    relay.follow(reading, FIELDS)
    os.write(writing, b"first\nsec")
    eventually(lambda: b"first" in (tmp_path / "log").read_bytes())
    os.write(writing, b"ond")
    relay.finish(reading)
    relay.close()
    os.close(writing)
    os.close(file)

    written = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["msg"] for line in written] == ["first", "second"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


@pytest.mark.parametrize("size", [0, 1, channel.PACKET_BYTES, channel.PACKET_BYTES + 1, 5 * channel.PACKET_BYTES])
def test_messages_of_all_sizes_arrive_whole(size: int) -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        sent = os.urandom(size)
        received: list[object] = []
        reader = threading.Thread(target=lambda: received.append(channel.receive(theirs)))
        reader.start()
        channel.send(ours, sent)
        reader.join(60)

        assert received == [sent]


def test_half_a_message_of_a_killed_process_is_dropped() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        ours.send(b"+half")
        channel.send_exit(ours, 137)

        assert channel.receive(theirs) == Exited(137)
        ours.close()
        assert channel.receive(theirs) is None


def test_orders_and_outcomes_survive_the_way() -> None:
    attempt = AssignedAttempt(
        "run-a", "uid", 1, "pod-uid", {"A": "ä", "B": "\udc80"}, datetime(2026, 1, 1, 0, 0, 0, 12, UTC)
    )
    step_run = {"metadata": {"name": "run-a", "uid": "uid"}, "status": {"retries": 1}}
    order = StepOrder(attempt, step_run, "/tmp/x", ends_at=1234.5)
    outcome = AttemptOutcome(3, StatusUpdate({"phase": "Failed", "output": {"n": None}}, ("error",)))

    assert order_of_wire(order_to_wire(order)) == order
    assert outcome_of_wire(outcome_to_wire(outcome)) == outcome
    assert outcome_of_wire(outcome_to_wire(AttemptOutcome(0))) == AttemptOutcome(0)
    assert order.log_fields["attempt"] == 2
