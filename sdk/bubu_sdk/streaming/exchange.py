"""What passes between the thread that owns the stream and the function, which runs in other threads.

The owner delivers messages and does what the function asks for. The function takes messages and puts outputs, and may
have to wait for either. Waiting is left to the caller, because it differs between plain functions, asyncio and Trio:
``watch_input`` and ``watch_room`` call back once. Thread-safe.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from bubu_sdk.errors import EngramError
from bubu_sdk.streaming.inbox import Delivery

MAX_PACKETS: Final = 1024
MAX_BYTES: Final = 16 * 1024 * 1024
"""Outputs that are not accepted: with so many, the function waits."""
MAX_OPEN: Final = 4096
"""Messages that the function has taken and not finished."""

Callback = Callable[[], None]


class Ask(StrEnum):
    """What the function asks the owner to do. Each comes with the arguments of the method of ``StreamClient``."""

    TAKEN = "taken"
    FINISH = "finish"
    REFUSE = "refuse"
    PUT = "put"


Asked = tuple[Ask, tuple[Any, ...]]


class Exchange:
    """``wake`` ends the owner's wait; any thread may call it."""

    def __init__(self, wake: Callback) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._incoming: deque[Delivery] = deque()
        self._ended = False
        self._failure: str | None = None
        self._asked: list[Asked] = []
        self._woken = False
        self._packets = self._bytes = 0
        self._open: set[int] = set()
        """Numbers of the messages that the function works on."""
        self._readers: list[Callback] = []
        self._writers: list[Callback] = []

    # The owner.

    def deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Messages for the function."""
        with self._lock:
            self._incoming.extend(deliveries)
            readers, self._readers = self._readers, []
        for callback in readers:
            callback()

    def end_input(self) -> None:
        """There are no messages after those that were delivered."""
        self._change(ended=True)

    def fail(self, reason: str) -> None:
        """The stream is over: every waiting task gets an error."""
        self._change(ended=True, failure=reason)

    def asked(self) -> list[Asked]:
        """What the function has asked for since the last call, in order."""
        with self._lock:
            self._woken = False
            asked, self._asked = self._asked, []
        return asked

    def freed(self, packets: int, size_bytes: int) -> None:
        """Outputs were accepted."""
        if not packets:
            return
        with self._lock:
            self._packets -= packets
            self._bytes -= size_bytes
            writers: list[Callback] = []
            if self._has_room():
                writers, self._writers = self._writers, []
        for callback in writers:
            callback()

    # The function.

    @property
    def ended(self) -> bool:
        """Whether there will be no further messages."""
        return self._ended

    def take(self) -> Delivery | None:
        """The next message; None if there is none now, or none any more.

        Raises:
            EngramError: the stream is over, or too many messages are held.
        """
        if len(self._open) >= MAX_OPEN:
            raise EngramError(f"{MAX_OPEN} messages are held; call done() for some before taking more")
        try:
            delivery = self._incoming.popleft()
        except IndexError:
            self._check()
            return None
        with self._lock:
            self._open.add(delivery.number)
        self._ask(Ask.TAKEN, delivery)
        return delivery

    def finish(self, delivery: Delivery) -> None:
        """The function is done with a message that it has taken. A second time means nothing."""
        if self._close(delivery):
            self._ask(Ask.FINISH, delivery)

    def refuse(self, delivery: Delivery, reason: str) -> None:
        """The function cannot use a message that it has taken. Instead of ``finish``."""
        if self._close(delivery):
            self._ask(Ask.REFUSE, delivery, reason)

    def put(self, packets: Sequence[bytes], delivery: Delivery | None) -> bool:
        """Send one output. False if there is no room: wait, then try again.

        Raises:
            EngramError: the stream is over.
        """
        self._check()
        with self._lock:
            if not self._has_room():
                return False
            self._packets += len(packets)
            self._bytes += sum(map(len, packets))
        self._ask(Ask.PUT, packets, delivery)
        return True

    def watch_input(self, callback: Callback) -> None:
        """Call back once, from any thread, when ``take`` may have another answer; at once if it has."""
        with self._lock:
            if not (self._incoming or self._ended):
                self._readers.append(callback)
                return
        callback()

    def watch_room(self, callback: Callback) -> None:
        """Call back once, from any thread, when ``put`` may have another answer; at once if it has."""
        with self._lock:
            if not self._has_room() and self._failure is None:
                self._writers.append(callback)
                return
        callback()

    def forget(self, callback: Callback) -> None:
        """Do not call this one back."""
        with self._lock:
            for watchers in (self._readers, self._writers):
                if callback in watchers:
                    watchers.remove(callback)

    # Inside.

    def _ask(self, ask: Ask, *arguments: Any) -> None:
        with self._lock:
            self._asked.append((ask, arguments))
            wake, self._woken = not self._woken, True
        if wake:
            self._wake()

    def _close(self, delivery: Delivery) -> bool:
        with self._lock:
            known = delivery.number in self._open
            self._open.discard(delivery.number)
        return known

    def _change(self, *, ended: bool, failure: str | None = None) -> None:
        with self._lock:
            self._ended = ended
            self._failure = self._failure or failure
            callbacks, self._readers = self._readers, []
            if failure is not None:
                callbacks, self._writers = callbacks + self._writers, []
        for callback in callbacks:
            callback()

    def _has_room(self) -> bool:
        return self._packets < MAX_PACKETS and (self._bytes < MAX_BYTES)

    def _check(self) -> None:
        if self._failure is not None:
            raise EngramError(f"the stream is over: {self._failure}", retryable=True)
