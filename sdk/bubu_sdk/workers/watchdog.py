"""Ends the worker from below Python if functions that run in it keep it from ending them.

A function in a thread of the worker may hold the interpreter's lock for ever. Then no other thread of the worker runs:
it neither renews its Lease nor notices that it does not. The timer of ``faulthandler`` needs no lock.
"""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from typing import Final

from bubu_sdk.workers import clock

_STDERR: Final = 2
"""The descriptor: ``sys.stderr`` may be replaced."""
_DUMP_SECONDS: Final = 1.0


def end_hung_process() -> None:
    """Show where the threads are and end the process with code 1, also if nobody reads what it writes."""
    dump = threading.Thread(target=faulthandler.dump_traceback, kwargs={"file": _STDERR}, daemon=True)
    dump.start()
    dump.join(_DUMP_SECONDS)
    os._exit(1)


class Watchdog:
    """A timer that ends the process with exit code 1 and shows where its threads are."""

    def __init__(self, seconds: float, now: Callable[[], float] = clock.now) -> None:
        self._seconds = seconds
        self._now = now
        self._armed_for: float | None = None

    def guard(self, renewed_at: float | None) -> None:
        """End the process when the given time after ``renewed_at`` has passed; ``None``: never."""
        if renewed_at == self._armed_for:
            return
        self._armed_for = renewed_at
        if renewed_at is None:
            faulthandler.cancel_dump_traceback_later()
        else:
            left = max(0.1, renewed_at + self._seconds - self._now())
            faulthandler.dump_traceback_later(left, exit=True, file=_STDERR)
