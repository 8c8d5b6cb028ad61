"""The namespace controller: creates the default objects of a namespace, and empties one that is being deleted.

Each namespace has a service account ``default`` and a ConfigMap ``kube-root-ca.crt`` with the authority of the API
server. Service accounts get no token Secrets: tokens come from the TokenRequest API only.
"""

from __future__ import annotations

from localcluster.controllers.context import MANAGER, ControllerContext
from localcluster.controllers.feed import Feed, Key, key_of
from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.errors import StatusError
from localcluster.server.options import DeleteOptions, ListOptions, Propagation, WriteOptions
from localcluster.server.types import Object

ROOT_CA = "kube-root-ca.crt"
_FINALIZER = "kubernetes"
_RECHECK_SECONDS = 0.2


class NamespaceController:
    """Creates the default objects of namespaces, and empties those that are being deleted."""

    def __init__(self, context: ControllerContext, root_ca_pem: str) -> None:
        self._context = context
        self._root_ca_pem = root_ca_pem
        self._namespaces = context.feeds.of("", "namespaces")
        self._accounts = context.feeds.of("", "serviceaccounts")
        self._config_maps = context.feeds.of("", "configmaps")
        self._queue: WorkQueue[Key] = WorkQueue("namespace", self._reconcile)
        self._namespaces.listen(self._namespace_changed)
        self._accounts.listen(self._furniture_changed)
        self._config_maps.listen(self._furniture_changed)

    async def run(self) -> None:
        await self._queue.run()

    def _namespace_changed(self, _: Feed, namespace: Object, gone: bool) -> None:
        if not gone:
            self._queue.add(key_of(namespace))

    def _furniture_changed(self, _: Feed, obj: Object, gone: bool) -> None:
        metadata = obj["metadata"]
        if metadata["name"] == ROOT_CA or (gone and metadata["name"] == "default"):
            self._queue.add(("", metadata["namespace"]))

    async def _reconcile(self, key: Key) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None:
            return
        if namespace["metadata"].get("deletionTimestamp"):
            await self._empty(key, namespace)
        else:
            await self._furnish(key[1])

    async def _furnish(self, name: str) -> None:
        if self._accounts.get((name, "default")) is None:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            }
            await self._ensure(self._accounts, account)
        data = {"ca.crt": self._root_ca_pem}
        known = self._config_maps.get((name, ROOT_CA))
        if known is None:
            metadata = {"name": ROOT_CA, "namespace": name}
            await self._ensure(
                self._config_maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            )
        elif known.get("data") != data:
            await self._context.patch(self._config_maps, known, {"data": data})

    async def _ensure(self, feed: Feed, obj: Object) -> None:
        try:
            await self._context.create(feed, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _empty(self, key: Key, namespace: Object) -> None:
        """Delete everything in the namespace; when nothing is left, remove the finalizer."""
        registry, name = self._context.registry, key[1]
        left = 0
        for resource in registry.types():
            if not resource.namespaced or "deletecollection" not in resource.verbs:
                continue
            if resource.version != resource.storage_version:
                continue
            options = DeleteOptions(user=MANAGER, propagation=Propagation.BACKGROUND)
            await registry.delete_collection(resource, name, options)
            left += len((await registry.page(resource, name, ListOptions(limit=1))).objects)
        if left:
            self._queue.add_after(key, _RECHECK_SECONDS)
            return
        kept = [entry for entry in namespace["spec"].get("finalizers") or () if entry != _FINALIZER]
        body = {**namespace, "metadata": {**namespace["metadata"]}, "spec": {**namespace["spec"], "finalizers": kept}}
        await registry.update(self._namespaces.resource, None, name, body, WriteOptions(user=MANAGER), "finalize")
