"""One watch as a channel of events: resumes after each break, notices silence, and ends only when a new list is needed.

When the connection ends, breaks, delivers damaged data or is silent, the watch connects again from the last version
seen; the consumer does not notice. The consumer must handle one special event, ``ERROR``, which is always the last: the
server no longer has the versions after the last one seen (410), or refuses the watch. Then the consumer must list
again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from core.api.resource import Resource
from core.api.sizes import bounds_of
from core.kube import request
from core.kube.client import KubeClient
from core.kube.errors import (
    ApiError,
    KubeError,
    ServerTimeoutError,
    is_retryable,
)
from core.kube.paging import ListSelection, newest_version
from core.kube.retry import Backoff
from core.kube.transport import open_body
from core.kube.watch_line import DamagedLineError, LeftOut, WatchEvent, event_in, stored_version
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import StatusReason, WatchEventType, status_failure

BUFFERED_EVENTS: Final = 128
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A single object is far smaller; a longer line is damaged."""

_LOG: Final = get_logger("kube-watch")


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """When a watch is closed and opened again; in seconds."""

    silence_seconds: float = 75.0
    """The longest wait for any byte. Servers send a bookmark every minute, so silence means that the connection is
    dead. In a cluster without bookmarks it may also mean that nothing has changed; then opening the watch again costs
    little.
    """
    server_timeout_seconds: tuple[int, int] = (300, 600)
    """The time after which the server ends the watch itself; chosen at random, so that watches do not end together."""
    backoff_seconds: tuple[float, float] = (0.2, 30.0)
    """The first and the longest wait before the next connection."""
    healthy_seconds: float = 1.0
    """A connection that lived this long is not a failure, even without events: the waits start from the first again."""
    damaged_lines: int = 3
    """How many times in a row damaged data may arrive at the same position before the watch asks for a new list."""


DEFAULT_TIMING: Final = WatchTiming()


class _Ending(StrEnum):
    """Why a connection ended; the label of ``bobrapet_watch_restarts_total``."""

    CLOSED = "closed"
    SILENT = "silent"
    DAMAGED = "damaged"
    FAILED = "failed"
    RELIST = "relist"


@asynccontextmanager
async def open_watch(
    client: KubeClient,
    resource: Resource,
    *,
    namespace: str | None = None,
    label_selector: str | None = None,
    field_selector: str | None = None,
    resource_version: str,
    timing: WatchTiming = DEFAULT_TIMING,
    on_contact: Callable[[], None] | None = None,
    on_loss: Callable[[], None] | None = None,
    is_known: Callable[[bytes], bool] | None = None,
) -> AsyncIterator[trio.MemoryReceiveChannel[WatchEvent]]:
    """Events after ``resource_version``, in the server's order, while the block runs.

    The channel holds ``BUFFERED_EVENTS``; with a slow consumer the watch reads more slowly, and drops nothing. It ends
    after an ``ERROR`` event, and only then.

    Args:
        resource_version: of the list that this watch continues; must not be empty.
        on_contact: called whenever the server has answered or sent something.
        on_loss: called when a connection has ended, or could not be opened.
        is_known: called with a line; of a change that is known, only the version is delivered, as a ``BOOKMARK``.
    Raises:
        ValueError: ``resource_version`` is empty.
    """
    if not resource_version:
        raise ValueError("a watch continues a list; give its resourceVersion")
    send, receive = trio.open_memory_channel[WatchEvent](BUFFERED_EVENTS)
    target = _Target(client, resource, namespace, label_selector, field_selector)
    callbacks = _Callbacks(on_contact or _nothing, on_loss or _nothing, is_known or _never)
    watcher = _Watcher(target, resource_version, timing, callbacks, send)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            async with receive:
                yield receive
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The watcher raises no errors of its own, so an error here comes from the block and is raised unchanged.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from group.exceptions[0].__cause__
        raise


@dataclass(frozen=True, slots=True)
class _Target:
    """What to watch, and with which client."""

    client: KubeClient
    resource: Resource
    namespace: str | None
    label_selector: str | None
    field_selector: str | None


@dataclass(frozen=True, slots=True)
class _Callbacks:
    on_contact: Callable[[], None]
    on_loss: Callable[[], None]
    is_known: Callable[[bytes], bool]


class _Watcher:
    """The reading side: one connection after another, one position."""

    def __init__(
        self,
        target: _Target,
        resource_version: str,
        timing: WatchTiming,
        callbacks: _Callbacks,
        send: trio.MemorySendChannel[WatchEvent],
    ) -> None:
        self._target = target
        self._position = resource_version
        self._timing = timing
        self._on_contact = callbacks.on_contact
        self._on_loss = callbacks.on_loss
        self._is_known = callbacks.is_known
        self._send = send
        self._backoff = Backoff(*timing.backoff_seconds)
        self._damaged = 0
        self._connected_at: float | None = None
        self._bounds = bounds_of(target.resource.plural)

    async def run(self) -> None:
        async with self._send:
            while True:
                position, self._connected_at = self._position, None
                error: BaseException | None = None
                try:
                    ending = await self._read_one_connection()
                except trio.BrokenResourceError:  # the consumer has left
                    return
                except KubeError as caught:
                    ending, error = self._judge(caught), caught
                self._damaged = self._damaged + 1 if ending is _Ending.DAMAGED and position == self._position else 0
                if self._damaged >= self._timing.damaged_lines:
                    ending, error = _Ending.RELIST, None
                self._report(ending, error)
                is_over = ending is _Ending.RELIST or (ending is _Ending.SILENT and await self._history_went_back())
                self._on_loss()
                if is_over:
                    await self._send_end(error)
                    return
                if self._position != position or self._was_healthy(ending):
                    self._backoff.reset()
                await trio.sleep(self._backoff.next_seconds(error))

    async def _read_one_connection(self) -> _Ending:
        """Deliver the events of one connection; returns how it ended.

        Raises:
            KubeError: the connection could not be opened, broke, or delivered an ERROR event.
        """
        target = self._target
        call = request.watch_call(
            target.resource,
            target.namespace,
            label_selector=target.label_selector,
            field_selector=target.field_selector,
            resource_version=self._position,
            timeout_seconds=random.randint(*self._timing.server_timeout_seconds),  # noqa: S311 - jitter, not a secret
        )
        async with target.client.open_call(call) as response, open_body(response) as chunks:
            self._connected_at = trio.current_time()
            self._on_contact()
            buffer = bytearray()
            while True:
                with trio.move_on_after(self._timing.silence_seconds) as silence:
                    chunk = await anext(chunks, None)
                if silence.cancelled_caught:
                    return _Ending.SILENT
                if chunk is None:
                    return _Ending.DAMAGED if buffer.strip() else _Ending.CLOSED
                self._on_contact()
                buffer += chunk
                if b"\n" in chunk:
                    *lines, rest = bytes(buffer).split(b"\n")
                    buffer = bytearray(rest)
                    for line in lines:
                        if line.strip() and not await self._deliver(line):
                            return _Ending.DAMAGED
                if len(buffer) > MAX_LINE_BYTES:
                    return _Ending.DAMAGED

    async def _deliver(self, line: bytes) -> bool:
        """Deliver one line; False when it is not a watch event.

        Raises:
            ApiError: the line is an ERROR event.
        """
        if self._is_known(line):
            event: WatchEvent | LeftOut = _bookmark(stored_version(line))
        else:
            try:
                event = event_in(line, self._bounds, managed_fields=self._target.client.managed_fields)
            except DamagedLineError:
                return False
        if isinstance(event, LeftOut):
            self._count_left_out(event)
            if not event.version:
                return True
            event = _bookmark(event.version)
        try:
            self._send.send_nowait(event)  # saves a turn of the scheduler when the channel has room, the usual case
        except trio.WouldBlock:
            await self._send.send(event)
        self._position = event.object["metadata"]["resourceVersion"]
        return True

    def _count_left_out(self, event: LeftOut) -> None:
        plural = self._target.resource.plural
        metrics.count(catalogue.OBJECTS_LEFT_OUT, resource=plural)
        _LOG.error("a change of an unknown object cannot be read and was skipped", resource=plural, cause=event.why)

    def _was_healthy(self, ending: _Ending) -> bool:
        if ending is _Ending.DAMAGED or self._connected_at is None:
            return False
        return trio.current_time() - self._connected_at >= self._timing.healthy_seconds

    def _judge(self, error: KubeError) -> _Ending:
        """Whether the watch can continue from its position when the server works again."""
        if isinstance(error, ServerTimeoutError) and any(
            cause.reason == "ResourceVersionTooLarge" for cause in error.causes
        ):
            return _Ending.RELIST  # the server's history ends before ours: it was restored from a backup
        if is_retryable(error):
            return _Ending.FAILED
        return _Ending.RELIST

    async def _history_went_back(self) -> bool:
        """After silence: whether the server's newest version is older than ours; then the watch would wait for ever.

        A server that was restored from a backup accepts our version and stays silent until its own count has passed it.
        It is asked with the selectors of the watch: a right to objects by name is a right to no other list.
        """
        target = self._target
        same = ListSelection(target.resource, target.namespace, target.label_selector, target.field_selector)
        try:
            newest = await newest_version(target.client.body_of, same)
        except KubeError:
            return False  # the next connection will show it
        self._on_contact()
        ours = self._position
        return newest.isdigit() and ours.isdigit() and int(newest) < int(ours)

    async def _send_end(self, error: BaseException | None) -> None:
        status = error.status if isinstance(error, ApiError) else None
        if status is None:
            text = f"the watch cannot continue from resourceVersion {self._position}: {error or 'list again'}"
            status = status_failure(StatusReason.EXPIRED, text)
        try:
            await self._send.send(WatchEvent(WatchEventType.ERROR, status))
        except trio.BrokenResourceError:  # the consumer has left
            return

    def _report(self, ending: _Ending, error: BaseException | None) -> None:
        metrics.count(catalogue.WATCH_RESTARTS, resource=self._target.resource.plural, reason=ending)
        fields = {"resource": self._target.resource.plural, "reason": ending, "resourceVersion": self._position}
        if error is not None and self._backoff.failures == 0:
            _LOG.info("watch interrupted", **fields, error=str(error))
        else:
            _LOG.debug("watch ended", **fields, error=str(error or ""))


def _bookmark(version: str) -> WatchEvent:
    return WatchEvent(WatchEventType.BOOKMARK, {"metadata": {"resourceVersion": version}})


def _nothing() -> None:
    return None


def _never(line: bytes) -> bool:
    del line
    return False
