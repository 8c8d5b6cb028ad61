"""The objects that admission knows: the engine's informers, and informers of kinds that only validators look up.

Secrets are not watched; whether one exists is a matter of ``secret_names``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from core.api.resource import IMPULSE_TEMPLATE, REFERENCE_GRANT, TRANSPORT, Resource
from core.api.unreadable import unreadable
from core.kube.client import KubeClient
from core.kube.informer import Informer
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from kubewire import Object
from reconcilers.adapters.watched_kind import slim
from reconcilers.adapters.world import World, stuck_kinds
from webhooks.cluster_view import Unseen

LOOKED_UP: Final = (TRANSPORT, IMPULSE_TEMPLATE)
"""Kinds that validators look up, whether or not a controller watches them."""


class InformerView:
    """Implements ``webhooks.cluster_view.ClusterView`` from caches alone; ``run`` updates the view's own caches."""

    def __init__(self, client: KubeClient, world: World, settings: Callable[[], OperatorSettings]) -> None:
        self._settings = settings
        self._own = tuple(
            Informer(client, resource, trim=slim) for resource in LOOKED_UP if not world.watches(resource)
        )
        self._informers: dict[Resource, Informer] = {informer.resource: informer for informer in [*world, *self._own]}
        self._changed = trio.Event()
        for informer in self._informers.values():
            informer.add_handler(lambda _: self._note_change())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; started once every cache has been filled."""
        async with trio.open_nursery() as nursery:
            for informer in self._own:
                nursery.start_soon(informer.run, name=f"informer {informer.resource.plural}")
            for informer in self._informers.values():
                await informer.wait_until_synced()
            task_status.started()

    @property
    def trouble(self) -> str:
        """Names the kinds that have not been listed yet; empty once all have been."""
        missing = [informer.resource.plural for informer in self._informers.values() if not informer.has_synced]
        return f"waiting for the first list of {', '.join(missing)}" if missing else ""

    @property
    def stuck(self) -> str:
        """Kinds that only admission looks up and cannot watch at the moment; empty while it can watch all of them."""
        return stuck_kinds(self._own)

    async def changed(self) -> None:
        """Return when any cache has seen a change after the call."""
        await self._changed.wait()

    # The methods of ``ClusterView``.

    @property
    def settings(self) -> OperatorSettings:
        return self._settings()

    @property
    def policy(self) -> CrossNamespacePolicy:
        return self._settings().cross_namespace_policy

    def find(self, resource: Resource, namespace: str, name: str) -> Object | Unseen:
        informer = self._informers.get(resource)
        if informer is None:
            return Unseen.UNKNOWN
        found = informer.get(namespace or None, name)
        if found is None:
            return Unseen.MISSING
        return Unseen.UNKNOWN if unreadable(found) is not None else found

    def grants(self, namespace: str) -> Sequence[Object]:
        return self._informers[REFERENCE_GRANT].list(namespace)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
