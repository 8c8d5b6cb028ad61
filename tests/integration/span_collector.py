"""A collector for tests: HTTP on a socket; requests are read by the classes that OpenTelemetry publishes."""

from __future__ import annotations

import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

_READ_BYTES = 65_536


@dataclass(frozen=True)
class ReceivedSpan:
    """Ids as hexadecimal digits, times as nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started: int
    ended: int
    attributes: dict[str, Any]
    error: str


@dataclass
class SpanCollector:
    """What has arrived, in order. ``status`` is the answer to every request; 0: there is none."""

    port: int = 0
    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    """The paths of the requests."""
    resources: list[dict[str, Any]] = field(default_factory=list)
    broken: int = 0
    """Connections that ended without a request, for example because of TLS."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReceivedSpan:
        [span] = self.named(name)
        return span

    async def serve(self, stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                try:
                    await self._answer(stream)
                except trio.BrokenResourceError:
                    self.broken += 1
                    raise

    async def _answer(self, stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
            elif isinstance(event, h11.Request):
                self.headers.append({name.decode(): value.decode() for name, value in event.headers})
                self.targets.append(event.target.decode())
                body = b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                if self.status == 0:
                    await trio.sleep_forever()
                if self.status == 200:
                    self._take(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
                await stream.send_all(
                    (connection.send(h11.Response(status_code=self.status, headers=[("content-length", "0")])) or b"")
                    + (connection.send(h11.EndOfMessage()) or b"")
                )
                connection.start_next_cycle()
            else:
                return

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.spans += _spans(request)
        self.resources += [
            {each.key: _value(each.value) for each in resource.resource.attributes}
            for resource in request.resource_spans
        ]


def _spans(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            {each.key: _value(each.value) for each in span.attributes},
            span.status.message,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


@asynccontextmanager
async def collecting(tls: ssl.SSLContext | None = None) -> AsyncIterator[SpanCollector]:
    """On a free port of 127.0.0.1; ``tls``: of the server."""
    collector = SpanCollector()
    async with trio.open_nursery() as nursery:
        started: list[trio.SocketListener] = await nursery.start(_serve, collector, tls)
        collector.port = started[0].socket.getsockname()[1]
        yield collector
        nursery.cancel_scope.cancel()


async def _serve(
    collector: SpanCollector,
    tls: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await collector.serve(stream if tls is None else trio.SSLStream(stream, tls, server_side=True))

    await trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
