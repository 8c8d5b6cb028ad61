"""The operator's permissions in a cluster that many tests share: applied only where they are missing or different.

Applying all of them takes a real API server about as long as the rest of a small test.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from core.api.keys import LABEL_APP_NAME
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, SERVICE_ACCOUNT
from core.kube.client import KubeClient
from deployment.permissions.install import install_objects
from deployment.permissions.names import DEFAULT_INSTALLATION as OPERATOR

_KINDS: Final = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING)


async def ensure_rights(client: KubeClient, wanted: Iterable[Object]) -> bool:
    """Apply those of the operator's objects that the cluster lacks, or has with other content.

    Returns whether there were any. A real API server heeds a change of rights a moment later.
    """
    stored = {
        (kind.kind, obj["metadata"]["name"]): obj
        for kind in _KINDS
        for obj in (
            await client.list(kind, OPERATOR.namespace if kind.namespaced else None, label_selector=LABEL_APP_NAME)
        ).items
    }
    different = [obj for obj in wanted if not _agrees(stored.get((obj["kind"], obj["metadata"]["name"]), {}), obj)]
    await install_objects(client, different)
    return bool(different)


def _agrees(stored: Object, wanted: Object) -> bool:
    labels = stored.get("metadata", {}).get("labels") or {}
    content = wanted.keys() - {"metadata"}
    return wanted["metadata"]["labels"].items() <= labels.items() and all(
        stored.get(key) == wanted[key] for key in content
    )
