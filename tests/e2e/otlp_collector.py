"""OpenTelemetry's own receiver as a process, built from ``control_plane/toolchain/otlp-collector``, and its spans."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from core.api.objects import Object
from tools.control_plane.binaries import ensure_tool
from tools.control_plane.ports import unshared_port

START_SECONDS: Final = 20.0


@dataclass
class OtlpCollector:
    """``spans``: as the receiver writes them, OTLP JSON, with the name of the service that sent each."""

    port: int
    spans: list[Object] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """The value of ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[Object]:
        return [span for span in self.spans if span["name"] == name]

    def has(self, *names: str) -> bool:
        """Whether each of these spans has come."""
        return all(self.named(name) for name in names)

    def edges(self) -> set[tuple[str, str]]:
        """Name of the parent, which is empty for a span whose parent has not come, and name of the span."""
        names = {span["spanId"]: span["name"] for span in self.spans}
        return {(names.get(span.get("parentSpanId", ""), ""), span["name"]) for span in self.spans}

    def roots(self) -> list[str]:
        """Names of the spans that have no parent."""
        return [span["name"] for span in self.spans if not span.get("parentSpanId")]

    def take(self, line: bytes) -> None:
        for resource in json.loads(line)["resourceSpans"]:
            service = attributes_of(resource["resource"])["service.name"]
            for scope in resource["scopeSpans"]:
                self.spans += [{**span, "service": service} for span in scope["spans"]]


def attributes_of(carrier: Object) -> dict[str, Any]:
    """The attributes of a span or a resource; numbers as the strings that OTLP JSON makes of them."""
    return {each["key"]: next(iter(each["value"].values())) for each in carrier.get("attributes") or ()}


@asynccontextmanager
async def open_collector() -> AsyncIterator[OtlpCollector]:
    """A collector on a free port; killed at the end."""
    program = await trio.to_thread.run_sync(ensure_tool, "otlp-collector")
    collector = OtlpCollector(unshared_port())

    async def read(process: trio.Process, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        text = b""
        assert process.stdout is not None
        async for part in process.stdout:
            *lines, text = (text + part).split(b"\n")
            for line in lines:
                if line == b"ready":
                    task_status.started()
                else:
                    collector.take(line)

    async with trio.open_nursery() as nursery:
        command = [str(program), f"127.0.0.1:{collector.port}"]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            with trio.fail_after(START_SECONDS):
                await nursery.start(read, process)
            yield collector
        finally:
            process.kill()
            await process.wait()
        nursery.cancel_scope.cancel()
