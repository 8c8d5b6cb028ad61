"""What the steps of a worker write, as lines of the worker's output that say which step they are from.

One thread reads the outputs of all steps, in turns, and a turn has a share of its time, whatever a step writes. If
nobody reads the output of the worker, those of the steps fill up, and the steps that print wait: nothing grows. Source:
SDK contract 24.6.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bubu_sdk import logs
from bubu_sdk.workers import records

PRINTED_LOGGER: Final = "output"
"""The logger of lines that the step printed."""
_READ_BYTES: Final = 64 * 1024
_LEAST_READ_BYTES: Final = 512
_TURN_SECONDS: Final = 0.005
"""A step whose turn takes more of this thread's CPU reads less in the next one."""
_LINE_BYTES: Final = 64 * 1024
"""A longer line is divided: it must not fill the memory."""
_RECORD_BYTES: Final = 1024 * 1024
"""Records that are being sent, of all processes of a step together; one that does not fit is divided into lines, like
what the step prints.
"""
_PART_BYTES: Final = 256
"""What a record that is being sent takes at least."""
_CLOSE_SECONDS: Final = 5.0
"""The time to copy what is left when the worker ends. Perhaps nobody reads its output any more."""


class OutputLines:
    """The output of one step, or of the worker, divided into lines. Pure.

    Whatever it gets, each line of its result is a JSON object that names who wrote it.
    """

    def __init__(self, fields: Mapping[str, object], now: Callable[[], datetime], mark: str = "") -> None:
        """``mark``: that of ``records``; without one, all is printed."""
        self._fields = fields
        self._now = now
        self._mark = mark.encode()
        self._rest = b""
        """The beginning of a mark, or of a frame."""
        self._line = b""
        """The line that is being printed."""
        self._parts: dict[bytes, bytearray] = {}
        """The records that are being sent, by process."""
        self._held = 0
        """How much that is."""

    def feed(self, content: bytes) -> bytes:
        """The lines that are complete now, as JSON."""
        if not self._mark:
            return b"".join(self._printed(content))
        found: list[bytes] = []
        text, at = self._rest + content, 0
        while (begin := text.find(self._mark, at)) >= 0:
            found += self._printed(text[at:begin])
            after = begin + len(self._mark)
            end = text.find(b"\n", after, begin + records.FRAME_BYTES)
            if end >= 0:
                found += self._frame(text[after:end])
                at = end + 1
            elif len(text) - begin < records.FRAME_BYTES:
                self._rest = text[begin:]
                return b"".join(found)
            else:
                found += self._printed(self._mark)
                at = after
        text = text[at:]
        begin = records.start_of_mark(text, self._mark)
        self._rest = text[begin:]
        return b"".join([*found, *self._printed(text[:begin])])

    def end(self) -> bytes:
        """What was begun, if there is anything."""
        found = [*self._printed(self._rest), *self._printed(b"\n" if self._line else b"")]
        for record in self._parts.values():
            found += self._divided(bytes(record))
        self._rest, self._parts, self._held = b"", {}, 0
        return b"".join(found)

    def _printed(self, text: bytes) -> Iterator[bytes]:
        *lines, self._line = (self._line + text).split(b"\n")
        for line in lines:
            yield from self._divided(line)
        while len(self._line) > _LINE_BYTES:
            piece, self._line = _cut(self._line)
            yield self._entry(piece)

    def _divided(self, line: bytes) -> Iterator[bytes]:
        while len(line) > _LINE_BYTES:
            piece, line = _cut(line)
            yield self._entry(piece)
        yield self._entry(line)

    def _frame(self, frame: bytes) -> Iterable[bytes]:
        parsed = records.parsed(frame)
        if parsed is None:
            return self._divided(self._mark + frame)
        pid, kind, text = parsed
        record = self._parts.get(pid)
        if record is None:
            if kind == records.LAST:
                return self._record(text)
            record = self._parts[pid] = bytearray()
            self._held += len(pid) + _PART_BYTES
        record += text
        self._held += len(text)
        if kind == records.PART and self._held <= _RECORD_BYTES:
            return ()
        del self._parts[pid]
        self._held -= len(pid) + _PART_BYTES + len(record)
        return self._record(bytes(record)) if kind == records.LAST else self._divided(bytes(record))

    def _record(self, text: bytes) -> Iterable[bytes]:
        """A record of the step; the names are ours, for a program can write what it likes to its descriptors."""
        try:
            record = json.loads(text)
            if isinstance(record, dict):
                return (logs.to_line({**record, **self._fields}).encode(errors="replace"),)
        except (ValueError, RecursionError):
            pass
        return self._divided(text)

    def _entry(self, line: bytes) -> bytes:
        entry = {
            "time": self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "info",
            "logger": PRINTED_LOGGER,
            "msg": line.decode(errors="replace"),
            **self._fields,
        }
        return logs.to_line(entry).encode(errors="replace")


def _cut(line: bytes) -> tuple[bytes, bytes]:
    """The first piece of a long line, and the rest; no character of UTF-8 is divided."""
    at = _LINE_BYTES
    while at > _LINE_BYTES - 4 and line[at] & 0b1100_0000 == 0b1000_0000:
        at -= 1
    return line[:at], line[at:]


class WorkerRecords(logs.JsonLines):
    """The worker's own records, between the lines of its steps."""

    def __init__(self, fields: Mapping[str, object], put: Callable[[bytes], None]) -> None:
        super().__init__(fields)
        self._put = put

    def _write(self, line: str) -> None:
        self._put(line.encode(errors="replace"))


@dataclass
class _Stream:
    """The output of one step."""

    lines: OutputLines
    read_bytes: int = _LEAST_READ_BYTES
    """How much it reads in a turn."""
    left: int | None = None
    """What is still to be copied of a step that is over; another process may have its output, and write on."""


class OutputRelay:
    """Copies the outputs of steps to the worker's output. ``close`` ends its thread."""

    def __init__(self, output: int, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._output = output
        self._now = now
        self._selector: selectors.BaseSelector = selectors.SelectSelector()
        self._wakeup = self._wakeup_end = -1
        self._lock = threading.Lock()
        self._output_lock = threading.Lock()
        self._finished: set[int] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def begin(self) -> None:
        """Start to copy. Not before the zygote is forked: steps must have no descriptors that this thread relies on."""
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="bubu-output", daemon=True)
        self._thread.start()

    def put(self, lines: bytes) -> None:
        """Write whole lines between those of steps. Any thread may call it."""
        with self._output_lock, suppress(OSError):  # nobody reads the log any more, which is no reason to end steps
            records.write_all(self._output, lines)

    def follow(self, descriptor: int, fields: Mapping[str, object], mark: str = "") -> None:
        """Copy what is written to the other end of ``descriptor``, until ``finish``; each line gets ``fields``."""
        os.set_blocking(descriptor, False)
        with self._lock:
            self._selector.register(descriptor, selectors.EVENT_READ, _Stream(OutputLines(fields, self._now, mark)))
        self._wake()

    def finish(self, descriptor: int) -> None:
        """The step that writes to ``descriptor`` is over: copy what it has written, and close it."""
        with self._lock:
            self._finished.add(descriptor)
        self._wake()

    def close(self) -> None:
        """Copy what is left, in limited time, and end."""
        self._is_closed = True
        self._wake()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wakeup_end, b".")

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._wakeup:
                    with suppress(BlockingIOError):
                        os.read(self._wakeup, _READ_BYTES)
                else:
                    self._copy(key.fd, key.data)
            with self._lock:
                finished, self._finished = self._finished, set()
            for descriptor in finished:
                self._finish(descriptor)
            if self._is_closed and not self._finished:
                self._copy_rest()
                return

    def _copy(self, descriptor: int, stream: _Stream) -> bool:
        """One turn: copy a part; False if there is nothing more at the moment."""
        began = time.thread_time()
        limit = stream.read_bytes if stream.left is None else min(stream.read_bytes, stream.left)
        try:
            content = os.read(descriptor, limit)
        except BlockingIOError:
            return False
        self.put(stream.lines.feed(content))
        if stream.left is not None:
            stream.left -= len(content)
        if not content or stream.left == 0:
            self._end(descriptor, stream)
            return False
        took = time.thread_time() - began
        if took > _TURN_SECONDS:
            stream.read_bytes = max(stream.read_bytes // 2, _LEAST_READ_BYTES)
        elif took < _TURN_SECONDS / 4:
            stream.read_bytes = min(stream.read_bytes * 2, _READ_BYTES)
        return True

    def _finish(self, descriptor: int) -> None:
        """Of a step that is over, copy what is in the pipe now, and no more."""
        with self._lock:
            key = self._selector.get_map().get(descriptor)
        if key is None:
            os.close(descriptor)  # all of it was copied before
            return
        stream: _Stream = key.data
        stream.left = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]
        if stream.left == 0:
            self._end(descriptor, stream)

    def _end(self, descriptor: int, stream: _Stream) -> None:
        self.put(stream.lines.end())
        with self._lock:
            self._selector.unregister(descriptor)
        if stream.left is not None:
            os.close(descriptor)

    def _copy_rest(self) -> None:
        """Copy what steps have written that nobody has finished."""
        with self._lock:
            followed = [key for key in self._selector.get_map().values() if key.fd != self._wakeup]
        while followed:
            followed = [key for key in followed if self._copy(key.fd, key.data)]
        with self._lock:
            begun = [key.data for key in self._selector.get_map().values() if key.fd != self._wakeup]
        for stream in begun:
            self.put(stream.lines.end())
