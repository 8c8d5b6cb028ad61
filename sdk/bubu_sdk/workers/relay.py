"""What the steps of a worker write, as lines of the worker's output that say which step they are from.

One thread reads the outputs of all steps. If nobody reads that of the worker, those of the steps fill up, and the steps
that print wait: nothing grows. Source: SDK contract 24.6.
"""

from __future__ import annotations

import json
import os
import selectors
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from bubu_sdk.workers.order import RECORD_MARK

PRINTED_LOGGER: Final = "output"
"""The logger of lines that the step printed."""
_READ_BYTES: Final = 64 * 1024
_LINE_BYTES: Final = 64 * 1024
"""A longer line is divided: it must not fill the memory."""
_RECORD_BYTES: Final = 4 * 1024 * 1024
"""The same for a record of the SDK, which cannot be divided."""
_MARK: Final = RECORD_MARK.encode()


class OutputLines:
    """The output of one step, divided into lines. Pure."""

    def __init__(self, fields: Mapping[str, object], now: Callable[[], datetime]) -> None:
        self._fields = fields
        self._now = now
        self._rest = b""

    def feed(self, content: bytes) -> bytes:
        """The lines that are complete now, as JSON."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > (_RECORD_BYTES if self._rest.startswith(_MARK) else _LINE_BYTES):
            lines.append(self._rest)
            self._rest = b""
        return b"".join(map(self._line, lines))

    def end(self) -> bytes:
        """The line that was begun, if there is one."""
        rest, self._rest = self._rest, b""
        return self._line(rest) if rest else b""

    def _line(self, line: bytes) -> bytes:
        if line.startswith(_MARK):
            return line[len(_MARK) :] + b"\n"
        entry = {
            "time": self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "info",
            "logger": PRINTED_LOGGER,
            "msg": line.decode(errors="replace"),
            **self._fields,
        }
        return json.dumps(entry, ensure_ascii=False).encode(errors="replace") + b"\n"


class OutputRelay:
    """Copies the outputs of steps to the worker's output. ``close`` ends its thread."""

    def __init__(self, output: int, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._output = output
        self._now = now
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._finished: set[int] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def begin(self) -> None:
        """Start to copy."""
        self._thread = threading.Thread(target=self._run, name="bubu-output", daemon=True)
        self._thread.start()

    def follow(self, descriptor: int, fields: Mapping[str, object]) -> None:
        """Copy what is written to the other end of ``descriptor``, until ``finish``; each line gets ``fields``."""
        os.set_blocking(descriptor, False)
        with self._lock:
            self._selector.register(descriptor, selectors.EVENT_READ, OutputLines(fields, self._now))
        self._wake()

    def finish(self, descriptor: int) -> None:
        """Nobody writes to ``descriptor`` any more: copy what is left, and close it."""
        with self._lock:
            self._finished.add(descriptor)
        self._wake()

    def close(self) -> None:
        """Copy what is left, and end."""
        self._is_closed = True
        self._wake()
        if self._thread is not None:
            self._thread.join()

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

    def _copy(self, descriptor: int, lines: OutputLines) -> bool:
        """Copy a part; False if there is none at the moment."""
        try:
            content = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not content:
            self._write(lines.end())
            with self._lock, suppress(KeyError):
                self._selector.unregister(descriptor)
            return False
        self._write(lines.feed(content))
        return True

    def _finish(self, descriptor: int) -> None:
        with self._lock:
            key = self._selector.get_map().get(descriptor)
        if key is not None:
            while self._copy(descriptor, key.data):
                pass
            self._write(key.data.end())
            with self._lock, suppress(KeyError):
                self._selector.unregister(descriptor)
        os.close(descriptor)

    def _copy_rest(self) -> None:
        """Copy what steps have written that nobody has finished."""
        with self._lock:
            followed = [key for key in self._selector.get_map().values() if key.fd != self._wakeup]
        for key in followed:
            while self._copy(key.fd, key.data):
                pass
            self._write(key.data.end())

    def _write(self, lines: bytes) -> None:
        left = memoryview(lines)
        with suppress(OSError):  # nobody reads the log any more, which is no reason to end steps
            while left:
                left = left[os.write(self._output, left) :]
