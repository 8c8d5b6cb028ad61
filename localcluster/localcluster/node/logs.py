"""Container output on disk, one line per record, in the format of container runtimes.

``2026-01-02T03:04:05.000006Z stdout F text``: time, stream, ``F`` for a full line or ``P`` for a part of one, text.
A file larger than ``ROTATE_BYTES`` is renamed to ``<name>.1`` and replaces the previous one of that name.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

import trio

from localcluster.clock import Now, to_micro_time
from localcluster.log import get_logger

_log = get_logger("localcluster.node")

ROTATE_BYTES = 16 << 20
WAITING_BYTES = 4 << 20
"""So much output of one container is kept in memory while the disk is full."""
_SEPARATORS = 3  # between the four parts of a record
_PART_BYTES = 16 << 10
_READ_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The options of a reader, as for ``kubectl logs``."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None
    timestamps: bool = False


class LogWriter:
    """Appends to one container's log. Writes go to the page cache and do not wait for the disk.

    While the disk is full, output waits in memory, and the program goes on: the result of a step may be in its output.
    Each later write tries again; of more than ``WAITING_BYTES`` the beginning is lost.
    """

    def __init__(self, path: Path, now: Now) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._now = path, now
        self._pending = {"stdout": b"", "stderr": b""}
        self._file = _open(path)
        self._waiting = b""
        self._grown = trio.lowlevel.ParkingLot()
        self.closed = False

    def write(self, stream: str, chunk: bytes) -> None:
        """Write output; complete lines are written at once, and an incomplete one when its end arrives."""
        *lines, rest = (self._pending[stream] + chunk).split(b"\n")
        records = [(b"F", line) for line in lines]
        while len(rest) >= _PART_BYTES:
            records.append((b"P", rest[:_PART_BYTES]))
            rest = rest[_PART_BYTES:]
        self._pending[stream] = rest
        self._append(stream, records)

    def finish(self) -> bool:
        """Write the incomplete lines, and what waits; returns whether the log is complete."""
        for stream, rest in self._pending.items():
            self._pending[stream] = b""
            self._append(stream, [(b"F", rest)] if rest else [])
        if self._waiting:
            self._write_waiting()
        return not self._waiting

    def close(self) -> None:
        """Write the incomplete lines, and let followers end."""
        if not self.closed:
            if not self.finish():
                self._count_lost(self._waiting)
            os.close(self._file)
            self.closed = True
            self._grown.unpark_all()

    async def wait_grown(self) -> None:
        """Return at the next write, or when the log is closed."""
        if not self.closed:
            await self._grown.park()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, stream: str, records: list[tuple[bytes, bytes]]) -> None:
        if not records:
            return
        head = f"{to_micro_time(self._now())} {stream} ".encode()
        was_waiting = bool(self._waiting)
        self._waiting += b"".join(head + tag + b" " + line + b"\n" for tag, line in records)
        self._write_waiting()
        if self._waiting and not was_waiting:
            _log.warning("container_output_waits", path=str(self._path))
        if len(self._waiting) > WAITING_BYTES:
            kept_from = self._waiting.find(b"\n", len(self._waiting) - WAITING_BYTES - 1) + 1
            self._count_lost(self._waiting[:kept_from])
            self._waiting = self._waiting[kept_from:]

    def _write_waiting(self) -> None:
        with suppress(OSError):  # the next write tries again
            self._write_whole_lines()
            if os.fstat(self._file).st_size > ROTATE_BYTES:
                self._rotate()
        self._grown.unpark_all()

    def _write_whole_lines(self) -> None:
        """Write what waits, but never half a record: the next record would follow on the same line."""
        content = self._waiting
        written = os.write(self._file, content)
        if written < len(content):
            half = written - (content.rfind(b"\n", 0, written) + 1)
            os.ftruncate(self._file, os.fstat(self._file).st_size - half)
            written -= half
        self._waiting = content[written:]

    def _count_lost(self, records: bytes) -> None:
        _log.warning("container_output_lost", path=str(self._path), lines=records.count(b"\n"))

    def _rotate(self) -> None:
        """Begin a new file; if the disk has no room for one, keep the old file."""
        successor = self._path.with_name(self._path.name + ".new")
        fresh = _open(successor)
        os.close(self._file)
        self._file = fresh
        self._path.replace(_set_aside(self._path))
        successor.replace(self._path)


async def read_log(path: Path, options: LogOptions, writer: LogWriter | None) -> AsyncGenerator[bytes, None]:
    """The text of a log in pieces. With ``follow``, goes on until ``writer`` is closed; None: it is already closed."""
    left = options.limit_bytes if options.limit_bytes is not None else -1
    async with aclosing(_records(path, options, writer)) as records:
        async for record in records:
            text = _render(record, options)
            if left >= 0:
                text, left = text[:left], left - len(text[:left])
            if text:
                yield text
            if left == 0:
                return


def last_output(path: Path, limit_bytes: int, limit_lines: int) -> str:
    """The end of a log without times: FallbackToLogsOnError uses it as the termination message."""
    records = list(_read(path))[-limit_lines:]
    text = b"".join(_render(record, LogOptions()) for record in records)
    return text[-limit_bytes:].decode(errors="replace")


async def _records(path: Path, options: LogOptions, writer: LogWriter | None) -> AsyncGenerator[bytes, None]:
    since = to_micro_time(options.since).encode() if options.since else b""
    earlier = [record for record in _read(_set_aside(path)) if record >= since]
    file = path.open("rb")
    try:
        records = earlier + [record for record in _lines(file.read()) if record >= since]
        position = file.tell()
        if options.tail_lines is not None:
            records = _tail(records, options.tail_lines)
        for record in records:
            yield record
        while options.follow and writer is not None:
            finished = writer.closed
            file.seek(position)
            fresh = file.read(_READ_BYTES)
            fresh = fresh[: fresh.rfind(b"\n") + 1]  # the next read begins at a record that this one has cut
            position += len(fresh)
            for record in _lines(fresh):
                yield record
            if fresh:
                continue
            if os.fstat(file.fileno()).st_ino != _identity(path):
                file.close()
                file, position = path.open("rb"), 0
            elif finished:
                return
            else:
                await writer.wait_grown()
    finally:
        file.close()


def _tail(records: list[bytes], count: int) -> list[bytes]:
    """The last ``count`` lines, each with all its parts."""
    ends = [index for index, record in enumerate(records) if record.split(b" ", 3)[2] == b"F"]
    if count >= len(ends):
        return records
    return records[ends[len(ends) - count - 1] + 1 :]


def _read(path: Path) -> Iterator[bytes]:
    return _lines(path.read_bytes() if path.exists() else b"")


def _lines(content: bytes) -> Iterator[bytes]:
    # A power failure may leave a part of a record; such a part is skipped.
    return (line for line in content.split(b"\n") if line.count(b" ") >= _SEPARATORS)


def _render(record: bytes, options: LogOptions) -> bytes:
    instant, _, tag, text = record.split(b" ", 3)
    end = b"\n" if tag == b"F" else b""
    return (instant + b" " if options.timestamps else b"") + text + end


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _identity(path: Path) -> int:
    return path.stat().st_ino


def _set_aside(path: Path) -> Path:
    return path.with_name(path.name + ".1")
