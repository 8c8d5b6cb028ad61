"""Watches over HTTP: one JSON line per event, in the form that the client asked for, until the client leaves.

Events are serialized once per version for all watchers; only Tables and partial metadata are rendered per watcher.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson
import trio

from kubewire import WatchEventType
from localcluster.clock import Now
from localcluster.server import errors, response, tables
from localcluster.server.options import list_options
from localcluster.server.registry import Registry, WatchEvent
from localcluster.server.request import Request, Send
from localcluster.server.response import Form
from localcluster.server.tables import Include
from localcluster.server.types import ResourceType
from localcluster.server.watch import Watch, watch_line

LONGEST_SECONDS: Final = 3600.0
"""Watches without ``timeoutSeconds`` end after a time between half of this and this, so that clients rebalance."""


class WatchStreams:
    """Answers watch requests."""

    def __init__(self, registry: Registry, now: Now) -> None:
        self._registry = registry
        self._now = now

    async def answer(self, request: Request, resource: ResourceType, send: Send) -> None:
        """Stream events until the watch times out, falls behind, or the client leaves.

        Raises:
            StatusError: the watch cannot be opened; nothing was sent.
        """
        form = response.negotiate(request.headers.get("accept", ""))
        options = list_options(request.query)
        seconds = options.timeout_seconds or random.uniform(LONGEST_SECONDS / 2, LONGEST_SECONDS)  # noqa: S311 - jitter
        watch = self._registry.watch(resource, request.route.namespace, replace(options, timeout_seconds=seconds))
        headers = [(b"content-type", b"application/json"), *response.warning_headers(request.warnings)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, request, nursery.cancel_scope)
            await self._pump(watch, resource, form, request, send)
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, watch: Watch, resource: ResourceType, form: Form, request: Request, send: Send) -> None:
        include = response.wanted_rows(request.query)
        columns_sent = False
        try:
            while True:
                events = [await watch.receive(), *watch.receive_ready()]
                lines = self._lines(events, resource, form, include, columns_sent=columns_sent)
                columns_sent = True
                await send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})
        except trio.EndOfChannel:
            return
        except errors.StatusError as error:
            line = watch_line(WatchEventType.ERROR, orjson.dumps(error.status))
            await send({"type": "http.response.body", "body": line, "more_body": True})

    def _lines(
        self,
        events: Sequence[WatchEvent],
        resource: ResourceType,
        form: Form,
        include: Include,
        *,
        columns_sent: bool,
    ) -> list[bytes]:
        if form.is_table:
            return [
                self._table_line(event, resource, include, with_columns=not columns_sent and index == 0)
                for index, event in enumerate(events)
            ]
        if form.is_metadata:
            return [_metadata_line(event) for event in events]
        return [event.line for event in events]

    def _table_line(self, event: WatchEvent, resource: ResourceType, include: Include, *, with_columns: bool) -> bytes:
        is_bookmark = event.type is WatchEventType.BOOKMARK
        table = tables.render_table(
            resource,
            [] if is_bookmark else [event.object],
            now=self._now(),
            resource_version=event.object["metadata"].get("resourceVersion", ""),
            include=include,
        )
        if not with_columns:
            table["columnDefinitions"] = None
        return watch_line(event.type, orjson.dumps(table))


def _metadata_line(event: WatchEvent) -> bytes:
    obj = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": event.object["metadata"]}
    return watch_line(event.type, orjson.dumps(obj))


async def _cancel_when_gone(request: Request, scope: trio.CancelScope) -> None:
    await request.wait_until_gone()
    scope.cancel()
