"""One piece of work in a thread beside the supervisor, and the notifications that the supervisor waits for.

A stage runs in its own thread, because the supervisor must be able to stop waiting: for a function that ignores its
cancellation, for a store that does not answer, for a blocked event loop. Notifications arrive through a
``SimpleQueue``, because a signal handler may write to it.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

from bubu_sdk.hosting import Host, PlainHost

_LOOK_SECONDS: Final = 0.5
"""The longest time that the supervisor waits without a check. Python runs a signal handler in the main thread, between
two bytecode instructions. A signal does not wake the main thread if it arrives just before this thread begins to wait,
or in another thread.
"""


@dataclass(frozen=True)
class Terminated:
    """Signal ``number`` asked the process to end."""

    number: int


@dataclass(frozen=True)
class Ended:
    """A stage has ended."""

    stage: Stage


News = Terminated | Ended


@dataclass(frozen=True)
class Ending:
    """How the run of a container ended."""

    exit_code: int
    hung: bool = False
    """User code is still running in its thread: the caller must end the process by force."""


class Stage:
    """Work in progress; ``error`` and ``result`` are valid after ``ended`` is set."""

    def __init__(
        self, name: str, work: Callable[[], Any], desk: NewsDesk, host: Host | None = None, *, inline: bool = False
    ) -> None:
        """Start the work: in a thread of its own, or ``inline``, so that it has ended when this returns."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.ended_at = 0.0
        """The value of ``time.monotonic()`` at the end."""
        self.host = host or PlainHost()
        self._work = work
        self._desk = desk
        if inline:
            self._run()
            return
        # a daemon thread, so that a hung function does not keep the process alive
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=f"bubu-{name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self.host.run(self._work)
        except BaseException as error:  # noqa: BLE001 - the supervisor judges every end, SystemExit included
            self.error = error
        self.ended_at = time.monotonic()
        self.ended = True
        self._desk.post(Ended(self))


class NewsDesk:
    """The queue of notifications that the supervisor waits for."""

    def __init__(self) -> None:
        self._news: SimpleQueue[News] = SimpleQueue()
        self.terminated: Terminated | None = None

    def post(self, news: News) -> None:
        """Notify the supervisor. Any thread may call it, also a signal handler."""
        self._news.put(news)

    def wait_for(self, stage: Stage, until: float, *, heed_termination: bool = True) -> bool:
        """Whether ``stage`` ended before ``until`` (monotonic). It also returns early on a signal to end."""
        while True:
            if stage.ended:
                return True
            if heed_termination and self.terminated is not None:
                return False
            left = until - time.monotonic()
            try:
                news = self._news.get(timeout=max(0.0, min(left, _LOOK_SECONDS)))
            except Empty:
                if left > _LOOK_SECONDS:
                    continue
                return stage.ended
            if isinstance(news, Terminated):
                self.terminated = self.terminated or news
