"""StoryRuns that packets start, in a cluster: each is created once, and its end is watched.

A hub without ``executeStory`` watches no StoryRuns: the watch begins with the first order that waits. Source: streaming
contract 12.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import trio

from core.api.objects import Object, has_ended
from core.api.resource import STORY_RUN
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, KubeError, NotFoundError, is_retryable
from core.kube.informer import Change, Informer
from core.kube.retry import Backoff
from hub.child_runs import ChildOrder, ChildRunError
from hub.packet_run import SELECTOR, packet_run_manifest, packet_run_name, result_of, trimmed, why_not_the_run

USUAL_SECONDS: Final = 1800.0
"""How long a StoryRun may take, unless the step has a timeout."""
_PAUSES: Final = (0.25, 10.0)
_RECHECK_SECONDS: Final = 60.0
"""A safety net: the end of a run is an event."""

T = TypeVar("T")


class ClusterChildRuns:
    """The ``StreamChildRuns`` of a cluster. ``follow`` is its task.

    Args:
        client: its writes are fenced: only the hub that holds the Lease creates runs.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._informer = Informer(client, STORY_RUN, label_selector=SELECTOR, trim=trimmed)
        self._informer.add_handler(self._changed)
        self._is_needed = trio.Event()
        self._news: dict[tuple[str, str], trio.Event] = {}

    async def follow(self) -> None:
        """Watch the runs that packets have started until cancelled, as soon as a packet waits for one."""
        await self._is_needed.wait()
        await self._informer.run()

    async def run(self, order: ChildOrder) -> Mapping[str, Any]:
        seconds = order.timeout or USUAL_SECONDS
        result: Mapping[str, Any] = {}
        with trio.move_on_after(seconds) as scope:
            result = await self._run(order)
        if scope.cancelled_caught:
            raise ChildRunError(self._why_late(order, seconds))
        return result

    async def _run(self, order: ChildOrder) -> Mapping[str, Any]:
        parent = await self._read(order.parent.namespace, order.parent.name)
        if parent is None:
            raise ChildRunError(f"StoryRun {order.parent} of the packet does not exist any more")
        manifest = packet_run_manifest(order, parent)
        stored = await self._created(manifest)
        if why := why_not_the_run(manifest, stored):
            raise ChildRunError(why)
        return result_of(await self._ended(stored)) if order.waits else {}

    async def _created(self, manifest: Object) -> Object:
        """The run of that name: a new one, or one that was created before, perhaps by an attempt without an answer."""
        metadata = manifest["metadata"]

        async def create() -> Object | None:
            try:
                return await self._client.create(STORY_RUN, manifest)
            except AlreadyExistsError:
                return await self._read(metadata["namespace"], metadata["name"])

        while True:
            stored = await _patiently(create)
            if stored is not None:
                return stored
            await trio.sleep(_PAUSES[0])  # it was deleted in between

    async def _ended(self, run: Object) -> Object:
        """The run once it has ended.

        Raises:
            ChildRunError: it was deleted before.
        """
        if has_ended(run):
            return run
        namespace, name, uid = (run["metadata"][key] for key in ("namespace", "name", "uid"))
        self._is_needed.set()
        await self._informer.wait_until_synced()
        self._informer.remember(run)
        is_late = False
        while True:
            news = self._news.setdefault((namespace, name), trio.Event())
            known = self._informer.get(namespace, name)
            if is_late or known is None or known["metadata"]["uid"] != uid or has_ended(known):
                current = await self._read(namespace, name)
                if current is None or current["metadata"]["uid"] != uid:
                    raise ChildRunError(f"StoryRun {name} was deleted before it had ended")
                if has_ended(current):
                    return current
            try:
                with trio.move_on_after(_RECHECK_SECONDS) as waiting:
                    await news.wait()
                is_late = waiting.cancelled_caught
            finally:
                self._notify(namespace, name)

    async def _read(self, namespace: str, name: str) -> Object | None:
        async def read() -> Object | None:
            try:
                return await self._client.get(STORY_RUN, name, namespace)
            except NotFoundError:
                return None

        return await _patiently(read)

    def _changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        self._notify(metadata["namespace"], metadata["name"])

    def _notify(self, namespace: str, name: str) -> None:
        """Let all who wait for the run look again."""
        if (news := self._news.pop((namespace, name), None)) is not None:
            news.set()

    def _why_late(self, order: ChildOrder, seconds: float) -> str:
        name = packet_run_name(order)
        if self._is_needed.is_set() and (error := self._informer.last_error) is not None:
            return f"StoryRun {name}: the hub could not watch StoryRuns within {seconds:g} s: {error}"
        return f"StoryRun {name} has not ended within {seconds:g} s; it continues, but its output is lost"


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The result of an idempotent call; the caller has a deadline.

    Raises:
        ChildRunError: another attempt does not help.
    """
    backoff = Backoff(*_PAUSES)
    while True:
        try:
            return await call()
        except KubeError as error:
            if not is_retryable(error):
                raise ChildRunError(str(error)) from error
            await trio.sleep(backoff.next_seconds(error))
