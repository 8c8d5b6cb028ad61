"""One piece of work in a thread next to the supervisor, and the notifications that the supervisor waits for.

A stage runs in its own thread, because the supervisor must be able to stop waiting: for a function that ignores its
cancellation, a store that does not answer, an event loop that is blocked. Notifications arrive through a
``SimpleQueue``, which a signal handler may write to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

from bubu_sdk.hosting import Host, PlainHost

_LOOK_SECONDS: Final = 0.5
"""Python runs a signal's handler in the main thread, between two of its own steps. One that arrives just before that
thread begins to wait, or in another thread, does not wake it."""


@dataclass(frozen=True)
class Terminated:
    """The process was asked to end, by signal ``number``."""

    number: int


@dataclass(frozen=True)
class Ended:
    """A stage has ended."""

    stage: Stage


News = Terminated | Ended


class Stage:
    """Work that is under way; ``error`` and ``result`` are valid once ``ended``."""

    def __init__(self, name: str, work: Callable[[], Any], desk: NewsDesk, host: Host | None = None) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.ended_at = 0.0
        """``time.monotonic()`` of the end."""
        self.host = host or PlainHost()
        self._work = work
        self._desk = desk
        # a daemon: a hung function must not keep the process from ending
        threading.Thread(target=self._run, name=f"bubu-{name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self.host.run(self._work)
        except BaseException as error:  # noqa: BLE001 - the supervisor judges every end, SystemExit included
            self.error = error
        self.ended_at = time.monotonic()
        self.ended = True
        self._desk.post(Ended(self))


class NewsDesk:
    """Where the supervisor waits."""

    def __init__(self) -> None:
        self._news: SimpleQueue[News] = SimpleQueue()
        self.terminated: Terminated | None = None

    def post(self, news: News) -> None:
        """Tell the supervisor; from any thread and from a signal handler."""
        self._news.put(news)

    def wait_for(self, stage: Stage, until: float, *, heed_termination: bool = True) -> bool:
        """Whether ``stage`` ended by ``until`` (monotonic); also returns early when termination is asked for."""
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
