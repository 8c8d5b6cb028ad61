"""The store of the embedded cluster that is used unless the user configures another: a claim in each namespace.

Large inputs and outputs of steps are files on the volume of that claim. Steps mount it, and the operator finds it in
the data folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from core.api.objects import Object, ReadOnlyObject
from core.api.resource import CONFIG_MAP, NAMESPACE, Resource, Scope
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.errors import AlreadyExistsError, KubeError
from core.kube.informer import Change, Informer
from core.kube.retry import Backoff
from core.telemetry.logs import get_logger
from deployment.permissions.names import CONFIG_NAME, OPERATOR_NAMESPACE

CLAIM: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", Scope.NAMESPACED)
STORE_CLAIM: Final = "bobrapet-store"
_PROVIDER_KEY: Final = "controller.storage.provider"
_CLAIM_KEY: Final = "controller.storage.file.volume-claim-name"
STORE_SETTINGS: Final = {
    _PROVIDER_KEY: "file",
    "controller.storage.file.path": "/var/run/bubu/storage",
    _CLAIM_KEY: STORE_CLAIM,
}
"""Keys of the operator's ConfigMap."""

_NO_RUNS: Final = ("kube-system", "kube-public", "kube-node-lease", OPERATOR_NAMESPACE)
_RETRY_SECONDS: Final = (0.5, 30.0)

_log = get_logger("cluster")


async def keep_store_claims(administrator: Path) -> None:
    """Create the claim in every namespace, also in new ones, until cancelled; none while another store is configured.

    Args:
        administrator: kubeconfig of the cluster.
    """
    backoff = Backoff(*_RETRY_SECONDS)
    async with open_client(await load_config(administrator)) as client, trio.open_nursery() as nursery:
        kept = _Kept(client)
        for informer in kept.informers:
            nursery.start_soon(informer.run)
        for informer in kept.informers:
            await informer.wait_until_synced()
        while True:
            changed = kept.changed
            try:
                await kept.ensure()
            except KubeError as error:
                _log.warning("a claim for the store cannot be created", error=str(error))
                await trio.sleep(backoff.next_seconds(error))
                continue
            backoff = Backoff(*_RETRY_SECONDS)
            await changed.wait()


async def create_store_claim(client: KubeClient, namespace: str) -> None:
    """Create the claim, unless it exists.

    Raises:
        KubeError: the server refused.
    """
    try:
        await client.create(CLAIM, store_claim(namespace))
    except AlreadyExistsError:
        return


def store_claim(namespace: str) -> Object:
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {"name": STORE_CLAIM, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def uses_store(config_map: ReadOnlyObject | None) -> bool:
    """Whether the operator's ConfigMap names this store."""
    data = (config_map or {}).get("data") or {}
    return (data.get(_PROVIDER_KEY), data.get(_CLAIM_KEY)) == ("file", STORE_CLAIM)


class _Kept:
    """The namespaces, claims and settings that exist."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._namespaces = Informer(client, NAMESPACE)
        self._claims = Informer(client, CLAIM, field_selector=f"metadata.name={STORE_CLAIM}")
        one = f"metadata.name={CONFIG_NAME}"
        self._settings = Informer(client, CONFIG_MAP, namespace=OPERATOR_NAMESPACE, field_selector=one)
        self.informers = (self._namespaces, self._claims, self._settings)
        self.changed = trio.Event()
        for informer in self.informers:
            informer.add_handler(self._note)

    async def ensure(self) -> None:
        """Create the claims that are missing."""
        if not uses_store(self._settings.get(OPERATOR_NAMESPACE, CONFIG_NAME)):
            return
        for namespace in self._namespaces.list():
            name = namespace["metadata"]["name"]
            is_going = "deletionTimestamp" in namespace["metadata"]
            if name not in _NO_RUNS and not is_going and self._claims.get(name, STORE_CLAIM) is None:
                await create_store_claim(self._client, name)

    def _note(self, _: Change) -> None:
        self.changed.set()
        self.changed = trio.Event()
