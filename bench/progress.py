"""Watches StoryRuns: how often their status is written, how large it becomes, and when a sleep ends."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
import trio

from bench.stand import NAMESPACE
from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.engine.step.timers import timers_from
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer


@dataclass
class Progress:
    """The observed values per run, by name. Each version of a run counts, because a watch delivers each of them."""

    status_writes: dict[str, int] = field(default_factory=dict)
    largest_status: dict[str, int] = field(default_factory=dict)
    """The size in bytes as JSON."""
    began: dict[str, float] = field(default_factory=dict)
    """When the run was first seen Running; ``trio.current_time()``."""
    ended: dict[str, float] = field(default_factory=dict)
    phase: dict[str, str] = field(default_factory=dict)
    """The phases of the runs that have ended."""
    late: dict[str, float] = field(default_factory=dict)
    """Seconds from the deadline of a sleep until the watch saw the end of its step."""
    recorded_late: dict[str, float] = field(default_factory=dict)
    """Seconds from the deadline until the end in the status. Both are rounded down to whole seconds."""
    asleep: set[str] = field(default_factory=set)
    """Runs whose sleep is recorded and has not ended."""
    changed: trio.Event = field(default_factory=trio.Event)

    async def wait_for_ends(self, names: set[str]) -> None:
        while not names <= self.ended.keys():
            await self.changed.wait()

    async def wait_for_sleepers(self, count: int) -> None:
        while len(self.asleep) < count:
            await self.changed.wait()

    def note(self, change: Change) -> None:
        run = change.new
        if run is None:
            return
        name, status = run["metadata"]["name"], run.get("status") or {}
        if status != ((change.old or {}).get("status") or {}):
            self.status_writes[name] = self.status_writes.get(name, 0) + 1
            self.largest_status[name] = max(self.largest_status.get(name, 0), len(orjson.dumps(status)))
            self._note_status(run, name, status)
            self.changed.set()
            self.changed = trio.Event()

    def _note_status(self, run: Object, name: str, status: Object) -> None:
        if status.get("phase") == "Running":
            self.began.setdefault(name, trio.current_time())
        states = status.get("stepStates") or {}
        if any(state.get("phase") == "Paused" for state in states.values()):
            self.asleep.add(name)
        elif name in self.asleep:
            self.asleep.discard(name)
            timers = timers_from((run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STEP_TIMERS))
            until = max((timer.at for timer in timers.values()), default=None)
            ends = [parse_instant_or_none(state.get("finishedAt")) for state in states.values()]
            end = max((end for end in ends if end is not None), default=None)
            if until is not None and end is not None:
                self.late[name] = (datetime.now(UTC) - until).total_seconds()
                self.recorded_late[name] = (end - until.replace(microsecond=0)).total_seconds()
        if parse_instant_or_none(status.get("finishedAt")) is not None and name not in self.ended:
            self.ended[name] = trio.current_time()
            self.phase[name] = str(status.get("phase"))


@asynccontextmanager
async def open_progress(client: KubeClient) -> AsyncIterator[Progress]:
    progress = Progress()
    informer = Informer(client, STORY_RUN, namespace=NAMESPACE)
    informer.add_handler(progress.note)
    gc.disable()  # a pause of the watcher would make events look late
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(informer.run)
            yield progress
            nursery.cancel_scope.cancel()
    finally:
        gc.enable()
