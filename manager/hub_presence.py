"""Follows the Lease of the hub: a hub that was killed writes nothing, so its bindings say that all is well.

Renewals arrive by a watch and wake no task; one task sleeps until the hub is due. Before a hub counts as lost, the API
server is asked once more, because a watch may be late. Nothing is written here. Source: streaming contract 5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import trio

from bubu_contract.instants import format_instant
from core.api.resource import LEASE
from core.engine.wakeup import WakeUp
from core.kube.client import KubeClient
from core.kube.errors import KubeError, NotFoundError
from core.kube.informer import Change, Informer
from core.policy.settings import OperatorSettings
from core.telemetry.logs import get_logger
from core.workloads.hub_lease import HUB_LEASE, HubHeartbeat, HubSilence

ASK_AGAIN_SECONDS: Final = 5.0
"""When the API server did not answer the question whether the hub has renewed its Lease."""

_LOG: Final = get_logger("transport")


class HubPresence:
    """``silence()`` says whether the hub that had the Lease is lost."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        settings: Callable[[], OperatorSettings],
        now: Callable[[], datetime],
    ) -> None:
        """
        Args:
            namespace: the operator's, and that of the Lease.
            now: the wall clock.
        """
        self._client = client.for_itself()
        self._namespace = namespace
        self._settings = settings
        self._now = now
        by_name = f"metadata.name={HUB_LEASE}"
        self._informer = Informer(self._client, LEASE, namespace=namespace, field_selector=by_name)
        self._heartbeat = HubHeartbeat()
        self._not_before = 0.0
        self._earlier = WakeUp()
        self.listeners: list[Callable[[], None]] = []
        """Called when the hub is lost, and when it is back."""

    def silence(self) -> HubSilence | None:
        return self._heartbeat.silence

    def settings_changed(self) -> None:
        """Another time limit counts at once."""
        self._earlier.wake()

    async def run(self) -> None:
        """Follow the Lease until cancelled."""
        self._informer.add_handler(self._changed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._informer.run, name=f"informer {LEASE.title}")
            while True:
                self._earlier.clear()
                due = max(self._not_before, self._due)
                with trio.move_on_at(due):
                    await self._earlier.wait()
                if trio.current_time() >= due:
                    await self._ask()

    @property
    def _due(self) -> float:
        return self._heartbeat.due(self._settings().transport.heartbeat_timeout)

    def _changed(self, change: Change) -> None:
        before, due = self.silence(), self._due
        timeout = self._settings().transport.heartbeat_timeout
        self._heartbeat.see(change.new, trio.current_time(), self._now(), timeout)
        if self._due < due:
            self._earlier.wake()
        self._tell_since(before)

    async def _ask(self) -> None:
        """The hub is due: the Lease itself says whether it was renewed."""
        try:
            stored = await self._client.get(LEASE, HUB_LEASE, self._namespace)
        except NotFoundError:
            stored = None  # the watch will say so
        except KubeError:
            self._not_before = trio.current_time() + ASK_AGAIN_SECONDS
            return
        if stored is not None:
            self._informer.remember(stored)
        if trio.current_time() >= self._due:
            before = self.silence()
            self._heartbeat.lose(self._now())
            self._tell_since(before)

    def _tell_since(self, before: HubSilence | None) -> None:
        """Call the listeners if a hub has been lost, or is back, since ``before`` was known. What a successor corrects
        before it is back is news of each binding.
        """
        now = self.silence()
        if (now and now.since) == (before and before.since):
            return
        if now is not None:
            text = "the hub is silent; what it has reported about streams counts no more"
            _LOG.warning(text, lease=HUB_LEASE, renewedAt=format_instant(now.since))
        else:
            _LOG.info("the hub is there again", lease=HUB_LEASE)
        for listener in self.listeners:
            listener()
