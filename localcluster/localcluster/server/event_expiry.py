"""Deletes Events after an hour, as a real cluster does; so a local cluster that runs for weeks stays small."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

import trio

from localcluster.clock import Now
from localcluster.server import deletion, errors
from localcluster.server.options import DeleteOptions, ListOptions, Preconditions
from localcluster.server.registry import Registry
from localcluster.server.storage import StorageError
from localcluster.server.types import Object, ResourceType

LIFETIME: Final = timedelta(hours=1)
INTERVAL_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


async def expire_events(
    registry: Registry, now: Now, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run until cancelled; an Event that is updated in time stays."""
    events = registry.find("", "v1", "events")
    if events is None:
        raise LookupError("events are not served")
    task_status.started()
    while True:
        await trio.sleep(INTERVAL_SECONDS)
        try:
            await _expire_before(registry, events, now() - LIFETIME)
        except StorageError as error:
            _log.warning("cannot expire events: %s", error)  # the next round tries them again


async def _expire_before(registry: Registry, events: ResourceType, oldest: datetime) -> None:
    for event in (await registry.page(events, None, ListOptions())).objects:
        if last_seen_at(event) >= oldest:
            continue
        metadata = event["metadata"]
        seen = Preconditions(metadata["uid"], metadata["resourceVersion"])
        try:
            await registry.delete(events, metadata["namespace"], metadata["name"], DeleteOptions(preconditions=seen))
        except errors.StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                _log.warning("cannot expire the event %s: %s", metadata["name"], error)


def last_seen_at(event: Object) -> datetime:
    """When the Event (in its ``v1`` form) last happened; its times were checked when it was written."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event["metadata"]["creationTimestamp"])
    return max(deletion.parse_time(text) for text in times if text)
