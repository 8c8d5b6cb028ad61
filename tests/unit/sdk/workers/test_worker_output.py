"""The lines of steps in the output of the worker, and the messages between its processes."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_sdk.status import StatusUpdate
from bubu_sdk.workers import channel, records
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.order import StepOrder, order_of_wire, order_to_wire, outcome_of_wire, outcome_to_wire
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.relay import OutputLines, OutputRelay
from tests.unit.sdk.workers.worker_stand import eventually

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
FIELDS = {"storyRun": "run", "step": "a", "stepRun": "run-a", "attempt": 2}


MARK = "\x1e0123456789abcdef"
PIECES = st.sampled_from(
    [b"\n", b"\x1e", b"text", b"\0", b"\xff", *(MARK[:n].encode() for n in (5, 17)), b"1.", b"2+", b"{}"]
)


def output(mark: str = MARK) -> OutputLines:
    return OutputLines(FIELDS, lambda: NOW, mark)


def parsed(written: bytes) -> list[dict[str, object]]:
    """The lines; each must be an object with the names of the step."""
    lines = [json.loads(line) for line in written.split(b"\n")[:-1]]
    assert all(FIELDS.items() <= line.items() for line in lines)
    return lines


def frames(record: object) -> bytes:
    return b"".join(records.frames(MARK, json.dumps(record).encode()))


@given(st.lists(PIECES | st.binary(max_size=40)), st.sampled_from([MARK, ""]))
def test_lines_do_not_depend_on_how_they_arrive(parts: list[bytes], mark: str) -> None:
    in_parts, at_once = output(mark), output(mark)

    written = b"".join(map(in_parts.feed, parts)) + in_parts.end()

    assert written == at_once.feed(b"".join(parts)) + at_once.end()
    parsed(written)


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 20_000)), max_size=5), st.integers(1, 5000))
def test_no_record_is_lost_among_whatever_is_printed(given: list[tuple[bytes, int]], size: int) -> None:
    sent = b"".join(printed + frames({"number": n, "msg": "x" * length}) for n, (printed, length) in enumerate(given))
    lines = output()

    written = b"".join(lines.feed(sent[at : at + size]) for at in range(0, len(sent), size)) + lines.end()

    found = [line for line in parsed(written) if line.get("logger") != "output"]
    assert [(line["number"], len(str(line["msg"]))) for line in found] == [(n, each[1]) for n, each in enumerate(given)]


def test_what_a_step_prints_becomes_a_record_and_records_have_the_names_of_the_step() -> None:
    lines = output()
    record = {"msg": "m", "storyRun": "other", "stepRun": "other-b", "attempt": 1, "more": 5}

    written = lines.feed(b"hello\n" + frames(record) + b"\xff") + lines.end()

    printed = {"time": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "output", **FIELDS}
    assert parsed(written) == [{**printed, "msg": "hello"}, {**record, **FIELDS}, {**printed, "msg": "\ufffd"}]


@pytest.mark.parametrize("mark", [MARK, ""])
def test_what_looks_like_a_record_is_printed(mark: str) -> None:
    lines = output(mark)

    written = lines.feed(b'\x1e{"storyRun": "other"}\n{"storyRun": "other"}\na\xe2\x80\xa8b\0\n')

    assert [line["msg"] for line in parsed(written)] == [
        '\x1e{"storyRun": "other"}',
        '{"storyRun": "other"}',
        "a\u2028b\0",
    ]
    assert len(written.decode().splitlines()) == 3


@pytest.mark.parametrize("text", ["no json", "[]", "5", '"a"', "[" * 100_000, "9" * 5000, '{"a": ' * 100_000, "\0", ""])
def test_a_record_that_is_none_is_printed_and_the_next_line_arrives(text: str) -> None:
    lines = output()

    written = lines.feed(b"".join(records.frames(MARK, text.encode())) + MARK.encode() + b"odd\nnext\n")

    said = [str(line["msg"]) for line in parsed(written)]
    assert ("".join(said[:-2]), said[-2:]) == (text, [MARK + "odd", "next"])


def test_records_of_two_processes_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    for pid in (7, 8):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        sent.append(list(records.frames(MARK, json.dumps({"pid": pid, "msg": "x" * 9000}).encode())))
    lines = output()

    written = b"".join(lines.feed(one + b"between\n" + other) for one, other in zip(*sent, strict=True))

    assert [line["pid"] for line in parsed(written) if "pid" in line] == [7, 8]


def test_a_record_that_is_too_large_is_divided() -> None:
    lines = output()

    written = b"".join(map(lines.feed, records.frames(MARK, b'{"msg": "' + b"x" * (5 << 20) + b'"}')))
    written += lines.feed(b"next\n")

    said = [str(line["msg"]) for line in parsed(written)]
    assert said[-1] == "next"
    assert len("".join(said)) == (5 << 20) + len('{"msg": ""}next')
    assert max(map(len, said)) <= 64 << 10


def test_records_of_ever_new_processes_are_not_kept() -> None:
    lines = output()
    sent = 50_000

    written = lines.feed(b"".join(f"{MARK}{pid}+\n".encode() for pid in range(sent)))

    assert len(parsed(written)) > sent - 5_000
    written = lines.feed(frames({"msg": "m"}))
    assert [line["msg"] for line in parsed(written)] == ["m"]


@pytest.mark.parametrize("mark", [MARK, ""])
def test_an_endless_line_is_divided_between_characters(mark: str) -> None:
    lines = output(mark)
    text = "x" + "€" * 100_000

    parts = [text.encode()[at : at + 1000] for at in range(0, len(text.encode()), 1000)]
    written = b"".join(map(lines.feed, parts)) + lines.end()

    said = [str(line["msg"]) for line in parsed(written)]
    assert "".join(said) == text
    assert len(said) == 5


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


def of_new_processes() -> Iterator[bytes]:
    for number in itertools.count(1_000_000, 2_000):
        yield b"".join(f"{MARK}{pid}+\n".encode() for pid in range(number, number + 2_000))


def of_one_process() -> Iterator[bytes]:
    return itertools.repeat(f"{MARK}1+x\n".encode() * 2_000)


def of_empty_lines() -> Iterator[bytes]:
    return itertools.repeat(b"\n" * 60_000)


@pytest.mark.parametrize("flood", [of_new_processes, of_one_process, of_empty_lines])
@pytest.mark.parametrize("is_over", [False, True])
def test_a_flood_of_one_step_does_not_hold_up_the_lines_of_another(
    tmp_path: Path, flood: Callable[[], Iterator[bytes]], is_over: bool
) -> None:
    """``is_over``: the step has ended, and a process that is not its own has its output, and writes on."""
    relay = OutputRelay(os.open(os.devnull, os.O_WRONLY), now=lambda: NOW)
    log: list[bytes] = []
    relay.put = lambda lines: log.append(lines) if b"beside" in lines else None  # type: ignore[method-assign]
    relay.begin()
    (flooded, flooding), (quiet, printing) = os.pipe(), os.pipe()
    relay.follow(flooded, FIELDS, MARK)
    relay.follow(quiet, FIELDS, MARK)

    def write() -> None:
        with suppress(OSError):
            for part in flood():
                os.write(flooding, part)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        if is_over:
            relay.finish(flooded)
        for number in range(40):
            os.write(printing, f"beside {number}\n".encode())
            eventually(lambda number=number: len(log) == number + 1)  # type: ignore[misc]
    finally:
        if not is_over:
            relay.finish(flooded)
        writer.join(60)
        relay.close()
    assert not writer.is_alive()


def test_of_output_that_is_dear_to_copy_less_is_read_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the relay is that of a writer of 50 MB/s, so that no machine is too fast or too slow."""
    written: list[int] = []
    relay = OutputRelay(-1, now=lambda: NOW)
    relay.put = lambda lines: written.append(len(lines))  # type: ignore[method-assign]
    monkeypatch.setattr(time, "thread_time", lambda: sum(written) / 50e6)
    relay.begin()
    flooded, flooding = os.pipe()
    relay.follow(flooded, FIELDS, MARK)

    for part in itertools.islice(of_empty_lines(), 4):
        os.write(flooding, part)
    eventually(lambda: sum(written) > 4 * 60_000 * 100)
    os.close(flooding)
    relay.finish(flooded)
    relay.close()

    assert max(written) <= 2 * 0.005 * 50e6


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
        ours.close()
        assert channel.receive(theirs) is None


def test_a_message_without_end_fills_no_memory() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        received: list[object] = []
        reader = threading.Thread(target=lambda: received.append(channel.receive(theirs)))
        reader.start()
        while reader.is_alive():
            with suppress(TimeoutError):
                channel.send_packet(ours, b"+" + b"x" * channel.PACKET_BYTES, 0.1)
        reader.join(60)

        assert received == [None]


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"x0", b"{}", b"[]", b'{"exitCode": {}, "update": null}', b'{"exitCode": 1e999, "update": null}'),
        *(b'{"exitCode": 0, "update": 5}', b'{"exitCode": 0, "update": [5, 6]}', b"[" * 200_000, b"\xff"),
    ],
)
def test_what_is_no_outcome_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError, match="no outcome"):
        outcome_of_wire(said)


def test_orders_and_outcomes_survive_the_way() -> None:
    attempt = AssignedAttempt(
        "run-a", "uid", 1, "pod-uid", {"A": "ä", "B": "\udc80"}, datetime(2026, 1, 1, 0, 0, 0, 12, UTC)
    )
    step_run = {"metadata": {"name": "run-a", "uid": "uid"}, "status": {"retries": 1}}
    order = StepOrder(attempt, step_run, "/tmp/x", ends_at=1234.5, mark=MARK)
    outcome = AttemptOutcome(3, StatusUpdate({"phase": "Failed", "output": {"n": None}}, ("error",)))

    assert order_of_wire(order_to_wire(order)) == order
    assert outcome_of_wire(outcome_to_wire(outcome)) == outcome
    assert outcome_of_wire(outcome_to_wire(AttemptOutcome(0))) == AttemptOutcome(0)
    assert order.log_fields["attempt"] == 2
