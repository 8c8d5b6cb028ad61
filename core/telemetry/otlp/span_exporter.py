"""Sends spans to a collector: one task, a bounded queue, batches, repetitions with growing pauses.

Nothing waits for it: a span for which the queue has no room is dropped and counted. A batch that cannot be delivered in
its time is dropped and counted, too, so a collector that is down costs memory for one queue and no more.

A stop does not cancel the request that is under way: its collector may have taken the spans and would get them twice.
Source: OpenTelemetry, Tracing SDK (batching processor) and OTLP/HTTP (responses, retries, throttling).
"""

from __future__ import annotations

import gzip
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from math import inf
from typing import Final

import httpx
import trio

from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from core.telemetry.otlp.otlp_encoding import encoded_request, rejected_spans
from core.telemetry.otlp.otlp_settings import OtlpSettings
from core.telemetry.tracing.trace_span import TraceSpan

Send = Callable[[bytes], Awaitable[httpx.Response]]

_REPEATED: Final = frozenset({429, 502, 503, 504})
"""The answers after which OTLP/HTTP asks for a repetition."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LONGEST_WISH_SECONDS: Final = 3600.0
_LOG_EVERY_SECONDS: Final = 60.0
_MOST_ANSWER_BYTES: Final = 64 * 1024

_log = get_logger("telemetry")


class SpanFate(StrEnum):
    """The values of the label ``outcome`` of ``bobrapet_trace_spans_total``."""

    EXPORTED = "exported"
    DROPPED = "dropped"
    """The queue was full, or the collector did not answer in time."""
    REFUSED = "refused"
    """The collector has refused it."""


class SpanExporter:
    """``run`` sends what ``put`` has taken; once it is cancelled, it sends the rest within ``shutdown_seconds``."""

    def __init__(
        self,
        settings: OtlpSettings,
        shutdown_seconds: float = 5.0,
        send: Send | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        Raises:
            OSError: a file that the settings name cannot be used.
        """
        self._settings = settings
        self._context = _tls(settings)
        self._shutdown_seconds = shutdown_seconds
        self._send = send
        self._jitter = jitter
        self._queue: deque[TraceSpan] = deque()
        self._full_batch = trio.Event()
        self._room = trio.Event()
        self._stops = False
        self._logged_at = -inf
        self._not_before = -inf
        """Trio time before which the collector wants no request, also not one with another batch."""
        self._where = settings.endpoint.partition("?")[0]

    def put(self, span: TraceSpan) -> None:
        """Take a span, or drop it if the queue is full. Never blocks."""
        if len(self._queue) >= self._settings.limits.max_queued_spans:
            self._count(SpanFate.DROPPED, 1)
            self._complain("spans are dropped: more end than the collector takes", queued=len(self._queue))
            return
        self._queue.append(span)
        if len(self._queue) >= self._settings.limits.max_batch_spans:
            self._full_batch.set()

    async def put_all(self, spans: Iterable[TraceSpan]) -> None:
        """Take all of them; wait while the queue is half full, so that there is room for what ends meanwhile."""
        for span in spans:
            while len(self._queue) > self._settings.limits.max_queued_spans // 2:
                self._full_batch.set()
                self._room = trio.Event()
                await self._room.wait()
            self.put(span)
        await trio.lowlevel.checkpoint()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send batches until cancelled."""
        if self._send is not None:
            await self._work(self._send, task_status)
            return
        headers = {
            **self._settings.headers,
            "content-type": "application/x-protobuf",
            "user-agent": "bobrapet-otlp-exporter",
        }
        if self._settings.compresses:
            headers["content-encoding"] = "gzip"
        timeout = self._settings.timeout_seconds
        async with httpx.AsyncClient(headers=headers, timeout=timeout, verify=self._context) as client:

            async def send(body: bytes) -> httpx.Response:
                with trio.fail_after(timeout):
                    async with client.stream("POST", self._settings.endpoint, content=body) as response:
                        answer = b""
                        async for part in response.aiter_bytes():
                            answer += part
                            if len(answer) > _MOST_ANSWER_BYTES:
                                break
                        return httpx.Response(response.status_code, headers=_retry_after(response), content=answer)

            await self._work(send, task_status)

    async def _work(self, send: Send, task_status: trio.TaskStatus[None]) -> None:
        sending = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_until_stopped, send, sending)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._stops = True
                self._full_batch.set()
                sending.deadline = trio.current_time() + self._shutdown_seconds

    async def _send_until_stopped(self, send: Send, sending: trio.CancelScope) -> None:
        with sending:
            while not self._stops:
                with trio.move_on_after(self._settings.limits.delay_seconds):
                    await self._full_batch.wait()
                while self._queue:
                    await self._export(self._take(), send, self._settings.limits.batch_seconds)
        if self._queue:
            self._count(SpanFate.DROPPED, len(self._queue))
            self._complain("spans were not sent before the stop", spans=len(self._queue))

    def _take(self) -> list[TraceSpan]:
        most = self._settings.limits.max_batch_spans
        batch = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        if len(self._queue) < most:
            self._full_batch = trio.Event()
        self._room.set()
        return batch

    async def _export(self, batch: list[TraceSpan], send: Send, within_seconds: float) -> None:
        """One batch, with repetitions. If this is cancelled, the batch is in the queue again."""
        try:
            body = encoded_request(batch, self._settings.resource)
        except (TypeError, ValueError) as error:  # a name from a damaged object must not end the process
            self._count(SpanFate.DROPPED, len(batch))
            _log.error("spans cannot be encoded", spans=len(batch), error=error)
            return
        if self._settings.compresses:
            body = gzip.compress(body, 1)
        outcome, refused = SpanFate.DROPPED, 0
        try:
            with trio.move_on_after(within_seconds) as scope:
                outcome, refused = await self._delivered(body, send, len(batch))
        except trio.Cancelled:
            self._queue.extendleft(reversed(batch))
            raise
        if scope.cancelled_caught:
            self._complain("spans were dropped: the collector did not take them in time", spans=len(batch))
        self._count(SpanFate.REFUSED, refused)
        self._count(outcome, len(batch) - refused)

    async def _delivered(self, body: bytes, send: Send, spans: int) -> tuple[SpanFate, int]:
        """The outcome of the batch, and how many of its spans were refused; repeats until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await trio.sleep_until(self._not_before)
            wish = None
            try:
                response = await send(body)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, trio.TooSlowError) as error:
                cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            else:
                if response.is_success:
                    refused, why = rejected_spans(response.content)
                    if refused:
                        self._complain("the collector has refused spans", spans=refused, cause=why[:256])
                    return SpanFate.EXPORTED, min(max(refused, 0), spans)
                cause = f"HTTP status {response.status_code}"
                if response.status_code not in _REPEATED:
                    self._complain("the collector has refused a request", spans=spans, cause=cause)
                    return SpanFate.REFUSED, 0
                wish = wished_pause_seconds(response.headers.get("retry-after", ""))
            self._complain("the collector does not take spans; trying again", cause=cause)
            wait = pause * (0.5 + self._jitter() / 2) if wish is None else wish
            self._not_before = trio.current_time() + wait
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _complain(self, message: str, **fields: object) -> None:
        """A warning, at most once a minute: a collector that is down must not fill the log."""
        if trio.current_time() - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = trio.current_time()
            _log.warning(message, endpoint=self._where, **fields)

    @staticmethod
    def _count(outcome: SpanFate, spans: int) -> None:
        if spans:
            metrics.count(catalogue.TRACE_SPANS, spans, outcome=outcome.value)


def wished_pause_seconds(retry_after: str) -> float | None:
    """What ``Retry-After`` asks for, at most an hour; None: nothing, or a date, which only equal clocks understand."""
    text = retry_after.strip()
    return min(float(text[:9]), _LONGEST_WISH_SECONDS) if text.isdecimal() else None


def _retry_after(response: httpx.Response) -> dict[str, str]:
    wish = response.headers.get("retry-after")
    return {"retry-after": wish} if wish else {}


def _tls(settings: OtlpSettings) -> ssl.SSLContext:
    if settings.endpoint.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used, and quick to make
    context = ssl.create_default_context(cafile=settings.certificate or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.client_certificate:
        context.load_cert_chain(settings.client_certificate, settings.client_key)
    return context
