"""The topology of a cluster: TransportBindings by a watch, and one read of StoryRun and pinned Story for each run.

What counts is decided in ``run_book``; here are the requests. A Story that cannot be read is tried again, with growing
pauses, as long as its run needs it. What was read stays: while the API server is away, the runs that are served are
served on. Source: streaming contract 5 and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from core.api.objects import NamespacedName, Object
from core.api.pinned_story import holds_what_its_name_says
from core.api.resource import CONTROLLER_REVISION, STORY_RUN, TRANSPORT_BINDING
from core.api.unreadable import why_unreadable
from core.kube.client import KubeClient
from core.kube.errors import KubeError
from core.kube.informer import Change, Informer
from core.kube.retry import Backoff
from core.telemetry.logs import get_logger
from hub.bindings import read_binding, trimmed
from hub.run_book import PinnedRun, RunBook, RunLife
from hub.topology import Topology

MOST_READS: Final = 8
"""Stories that are read at the same time."""

_log = get_logger("hub")


@dataclass(frozen=True, slots=True)
class ReadPace:
    """Seconds."""

    first_pause: float = 0.25
    longest_pause: float = 30.0
    deadline: float = 90.0
    """For one attempt, the retries of the client included."""


class _UnreadableStoryError(Exception):
    """The run cannot be served, and another attempt does not change that. The message says why."""


class ClusterTopology:
    """The ``TopologyPort`` of a cluster. ``run`` keeps it current.

    Args:
        on_change: called with each binding that has changed, has come or has gone.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        on_change: Callable[[NamespacedName], None] = lambda name: None,
        pace: ReadPace = ReadPace(),
    ) -> None:
        self.book = RunBook()
        self.informer = Informer(client, TRANSPORT_BINDING, trim=trimmed)
        self.informer.add_handler(self._changed)
        self._client = client
        self._on_change = on_change
        self._pace = pace
        self._topology = Topology()
        self._is_stale = True
        self._news = trio.Event()
        self._unread = trio.Event()
        self._reading: set[RunLife] = set()
        self._turns = trio.CapacityLimiter(MOST_READS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the cluster until cancelled; started when all bindings are known."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.informer.run)
            task_status.started()
            while True:
                self._unread = trio.Event()
                for life in self.book.unread():
                    if life not in self._reading:
                        self._reading.add(life)
                        nursery.start_soon(self._read_until_done, life, name=f"Story of {life.identity.run}")
                await self._unread.wait()

    async def changed(self, seen: Topology | None) -> Topology:
        while True:
            if self._is_stale:
                self._topology, self._is_stale = self.book.topology(), False
            if self._topology is not seen:
                return self._topology
            await self._news.wait()

    # Bindings.

    def _changed(self, change: Change) -> None:
        binding = read_binding(change.object)
        beside = self.book.beside(binding.name)
        is_news = self.book.remove(binding.name) if change.new is None else self.book.put(binding)
        if is_news:
            self._notify(binding.name, *beside, *self.book.beside(binding.name))

    def _notify(self, *names: NamespacedName) -> None:
        self._is_stale = True
        self._news.set()
        self._news = trio.Event()
        self._unread.set()
        for name in dict.fromkeys(names):
            self._on_change(name)

    # Stories.

    async def _read_until_done(self, life: RunLife) -> None:
        """Read the Story of a run; the deadline is the end of its need."""
        backoff = Backoff(self._pace.first_pause, self._pace.longest_pause)
        try:
            while self.book.wants(life):
                error: KubeError | None = None
                try:
                    with trio.fail_after(self._pace.deadline):
                        async with self._turns:
                            pinned = await self._read(life)
                    self.book.pinned(life, pinned)
                    self._notify(*self.book.bindings_of(life))
                    return
                except _UnreadableStoryError as broken:
                    self._fail(life, str(broken), is_final=True)
                    return
                except KubeError as failed:
                    error = failed
                    self._fail(life, f"the Story of the run cannot be read yet: {failed}")
                except trio.TooSlowError:
                    self._fail(life, "the Story of the run cannot be read yet: the API server does not answer in time")
                await trio.sleep(backoff.next_seconds(error))
        finally:
            self._reading.discard(life)
            self._unread.set()

    async def _read(self, life: RunLife) -> PinnedRun:
        run, uid = life.identity
        story_run = await self._client.get(STORY_RUN, run.name, run.namespace)
        if story_run["metadata"]["uid"] != uid:
            raise _UnreadableStoryError(f"StoryRun {run} has another UID than the binding refers to")
        if why := why_unreadable(story_run):
            raise _UnreadableStoryError(f"StoryRun {run} cannot be read: {why}")
        revision = self.book.revision_of(life) or _text((story_run.get("status") or {}).get("storyRevision"))
        if not revision:
            raise _UnreadableStoryError(f"no binding of run {run} names the stored Story (story-revision)")
        namespace = _story_namespace(story_run)
        stored = await self._client.get(CONTROLLER_REVISION, revision, namespace)
        if not holds_what_its_name_says(stored):
            text = f"ControllerRevision {namespace}/{revision} does not contain the Story that its name identifies"
            raise _UnreadableStoryError(text)
        inputs = (story_run.get("spec") or {}).get("inputs")
        return PinnedRun(stored["data"], _with_defaults(stored["data"], inputs if isinstance(inputs, Mapping) else {}))

    def _fail(self, life: RunLife, why: str, *, is_final: bool = False) -> None:
        if self.book.failed(life, why, is_final=is_final):
            level = _log.error if is_final else _log.warning
            level("a run is not served", run=str(life.identity.run), cause=why)
            self._notify(*self.book.bindings_of(life))


def _story_namespace(story_run: Object) -> str:
    """Where the Story of the run is, and its stored copies."""
    reference: Mapping[str, Any] = (story_run.get("spec") or {}).get("storyRef") or {}
    return _text(reference.get("namespace")) or str(story_run["metadata"]["namespace"])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _with_defaults(story: Object, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of a run with the defaults of its Story, as the operator sees them."""
    schema = (story.get("spec") or {}).get("inputsSchema")
    if not isinstance(schema, Mapping):
        return inputs
    from core.evaluation.schema import apply_schema_defaults  # most runs have none, and it is not small

    found: Mapping[str, Any] = apply_schema_defaults(schema, inputs)
    return found
