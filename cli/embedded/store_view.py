"""The objects that admission looks up on the embedded cluster: those of the API server's own store, always current."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from core.api.objects import ReadOnlyObject
from core.api.resource import CONFIG_MAP, REFERENCE_GRANT, SECRET, Resource
from core.policy.config import parse_config
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from deployment.permissions.names import CONFIG_NAME, OPERATOR_NAMESPACE
from localcluster.server.store import Store, collection_name, object_key
from localcluster.server.watchcache import Change
from webhooks.cluster_view import Unseen

_CONFIG_MAPS: Final = collection_name(CONFIG_MAP.group, CONFIG_MAP.plural)
_CONFIG_KEY: Final = object_key(OPERATOR_NAMESPACE, CONFIG_NAME)


class StoreView:
    """Implements ``webhooks.cluster_view.ClusterView``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._settings = OperatorSettings()
        self._configured: ReadOnlyObject | None = None
        self._changed = trio.Event()
        store.listen(self._note)

    async def changed(self) -> None:
        """Return when any object has changed after the call."""
        await self._changed.wait()

    # The methods of ``ClusterView``.

    @property
    def settings(self) -> OperatorSettings:
        """Like the operator, keeps the last valid settings while the ConfigMap has an error."""
        stored = self._store.collection(_CONFIG_MAPS).get(_CONFIG_KEY)
        config_map = {} if stored is None else stored.object
        if config_map is not self._configured:
            self._configured = config_map if stored is not None else None
            self._settings = parse_config(config_map.get("data") or {}).settings or self._settings
        return self._settings

    @property
    def policy(self) -> CrossNamespacePolicy:
        return self.settings.cross_namespace_policy

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        collection = self._store.collection(collection_name(resource.group, resource.plural))
        stored = collection.get(object_key(namespace or None, name))
        if stored is None:
            return Unseen.MISSING
        return {"metadata": stored.object["metadata"]} if resource is SECRET else stored.object

    def grants(self, namespace: str) -> Sequence[ReadOnlyObject]:
        collection = self._store.collection(collection_name(REFERENCE_GRANT.group, REFERENCE_GRANT.plural))
        return [stored.object for stored in collection.select(namespace)]

    def _note(self, _: str, __: Change) -> None:
        if self._changed.statistics().tasks_waiting:
            self._changed.set()
            self._changed = trio.Event()
