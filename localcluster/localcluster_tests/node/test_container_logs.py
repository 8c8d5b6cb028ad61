from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from localcluster.node import logs
from localcluster.node.logbook import LogBook
from localcluster.node.logs import LogOptions, LogWriter, last_output, read_log
from localcluster_tests.file_limit import largest_file

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ticking() -> Callable[[], datetime]:
    ticks = iter(range(100_000))
    return lambda: START + timedelta(seconds=next(ticks))


async def text(path: Path, writer: LogWriter | None = None, **options: Any) -> bytes:
    return b"".join([piece async for piece in read_log(path, LogOptions(**options), writer)])


async def test_lines_are_kept_with_instant_and_stream(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        log.write("stdout", b"a\nb")
        log.write("stderr", b"e\n")
        log.write("stdout", b"c\n")

    assert (tmp_path / "0.log").read_text() == (
        "2026-01-02T03:04:05.000000Z stdout F a\n"
        "2026-01-02T03:04:06.000000Z stderr F e\n"
        "2026-01-02T03:04:07.000000Z stdout F bc\n"
    )
    assert await text(tmp_path / "0.log") == b"a\ne\nbc\n"


async def test_a_last_line_without_end_is_not_lost(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        log.write("stdout", b"no end")

    assert await text(tmp_path / "0.log") == b"no end\n"


async def test_a_long_line_comes_back_in_one_piece(tmp_path: Path) -> None:
    line = b"x" * 100_000
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        log.write("stdout", line + b"\nshort\n")

    assert await text(tmp_path / "0.log") == line + b"\nshort\n"
    assert await text(tmp_path / "0.log", tail_lines=2) == line + b"\nshort\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tail_lines": 2}, b"line 3\nline 4\n"),
        ({"tail_lines": 0}, b""),
        ({"tail_lines": 99}, b"line 0\nline 1\nline 2\nline 3\nline 4\n"),
        ({"since": START + timedelta(seconds=3)}, b"line 3\nline 4\n"),
        ({"limit_bytes": 9}, b"line 0\nli"),
        ({"tail_lines": 1, "timestamps": True}, b"2026-01-02T03:04:09.000000Z line 4\n"),
    ],
)
async def test_readers_choose_what_they_see(tmp_path: Path, options: dict[str, Any], expected: bytes) -> None:
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        for number in range(5):
            log.write("stdout", f"line {number}\n".encode())

    assert await text(tmp_path / "0.log", **options) == expected


async def test_a_follower_sees_lines_as_they_come_until_the_end(tmp_path: Path, nursery: trio.Nursery) -> None:
    log = LogWriter(tmp_path / "0.log", ticking())
    log.write("stdout", b"early\n")
    seen: list[bytes] = []
    ended = trio.Event()

    async def follow() -> None:
        async for piece in read_log(tmp_path / "0.log", LogOptions(follow=True), log):
            seen.append(piece)
        ended.set()

    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [b"early\n"]
    log.write("stderr", b"late\n")
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [b"early\n", b"late\n"]
    log.write("stdout", b"last words")
    log.close()
    with trio.fail_after(1):
        await ended.wait()

    assert seen[-1] == b"last words\n"


async def test_a_grown_log_is_set_aside_and_followers_go_on(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 200)
    log = LogWriter(tmp_path / "0.log", ticking())
    seen: list[bytes] = []

    async def follow() -> None:
        async for piece in read_log(tmp_path / "0.log", LogOptions(follow=True), log):
            seen.append(piece)

    nursery.start_soon(follow)
    for number in range(12):
        log.write("stdout", f"line {number}\n".encode())
        await trio.testing.wait_all_tasks_blocked()
    log.close()
    await trio.testing.wait_all_tasks_blocked()

    assert seen == [f"line {number}\n".encode() for number in range(12)]
    assert (tmp_path / "0.log.1").exists()
    assert (tmp_path / "0.log").stat().st_size < 300


def test_the_last_output_is_bounded_in_lines_and_bytes(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        log.write("stdout", b"".join(b"line %d\n" % number for number in range(100)))

    assert last_output(tmp_path / "0.log", 2048, 2) == "line 98\nline 99\n"
    assert last_output(tmp_path / "0.log", 5, 80) == "e 99\n"


def test_the_book_finds_this_and_the_previous_run(tmp_path: Path) -> None:
    book = LogBook(tmp_path, ticking())
    for restarts in range(3):
        log = book.open("ns_pod_uid", "c", restarts)
        if restarts < 2:
            book.close(log, "ns_pod_uid", "c", restarts)

    current, previous = book.find("ns", "pod", "c", previous=False), book.find("ns", "pod", "c", previous=True)

    assert current == (tmp_path / "ns_pod_uid" / "c" / "2.log", log)
    assert previous == (tmp_path / "ns_pod_uid" / "c" / "1.log", None)
    assert not (tmp_path / "ns_pod_uid" / "c" / "0.log").exists()
    assert book.find("ns", "pod", "other", previous=False) is None
    log.close()


async def test_output_waits_in_its_order_while_the_disk_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        log.write("stdout", b"before\n")
        with largest_file((tmp_path / "0.log").stat().st_size + 60):
            log.write("stdout", b"a line that fits\na line that does not fit any more\n")
            assert await text(tmp_path / "0.log") == b"before\na line that fits\n"
            log.write("stderr", b"late\n")
            log.write("stdout", b"last words")
            assert not log.finish()
        assert log.finish()

    assert await text(tmp_path / "0.log") == (
        b"before\na line that fits\na line that does not fit any more\nlate\nlast words\n"
    )
    assert caplog.messages == ["container_output_waits"]


async def test_of_much_output_that_waits_the_end_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WAITING_BYTES", 120)
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        log.write("stdout", b"before\n")
        with largest_file((tmp_path / "0.log").stat().st_size + 1):
            for number in range(9):
                log.write("stdout", f"line {number}\n".encode())
        log.write("stdout", b"after\n")

    assert await text(tmp_path / "0.log") == b"before\nline 7\nline 8\nafter\n"
    assert caplog.messages == ["container_output_waits", *["container_output_lost"] * 7]


async def test_a_log_that_cannot_be_rotated_goes_on_in_its_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 100)
    with LogWriter(tmp_path / "0.log", ticking()) as log:
        (tmp_path / "0.log.new").mkdir()  # so that no file can be written there
        for number in range(5):
            log.write("stdout", f"line {number}\n".encode())
        assert await text(tmp_path / "0.log") == b"line 0\nline 1\nline 2\nline 3\nline 4\n"
        (tmp_path / "0.log.new").rmdir()
        log.write("stdout", b"line 5\n")
        log.write("stdout", b"line 6\n")

    assert (tmp_path / "0.log.1").exists()
    assert (await text(tmp_path / "0.log")).endswith(b"line 4\nline 5\nline 6\n")


async def test_what_a_power_failure_left_of_a_record_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_bytes(b"2026-01-02T03:04:05.000000Z stdout F whole\n2026-01-02T03:04")

    assert await text(tmp_path / "0.log") == b"whole\n"
    assert last_output(tmp_path / "0.log", 100, 10) == "whole\n"
