"""The authority of the hub in each namespace with realtime steps: one ConfigMap, which their containers mount.

Level-based: it is compared before a workload is created, and for every live step when the authority changes and when
the operator starts. The kubelet brings a change to running containers, whose programs read it when they start or
connect again.
"""

from __future__ import annotations

from typing import Final

from core.api.resource import CONFIG_MAP
from core.engine.errors import NameConflictError
from core.kube.client import KubeClient
from core.kube.patch import bound_to
from core.workloads.stream_credentials import authority_config_map, is_authority_config_map
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.writes import create_or_read

_REMEMBERED: Final = 8192
"""Number of namespaces; a forgotten one costs a request."""


class StreamAuthority:
    """Remembers what it has stored, so that only a change costs requests."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._stored: dict[str, bytes] = {}

    async def ensure(self, namespace: str, bundle: bytes) -> None:
        """
        Raises:
            NameConflictError: another client has created a ConfigMap of that name.
            StaleError, UnavailableError, RejectedError.
        """
        if self._stored.get(namespace) == bundle:
            return
        wanted = authority_config_map(namespace, bundle)
        stored, _ = await create_or_read(self._client, CONFIG_MAP, wanted)
        if stored.get("data") != wanted["data"]:
            name = wanted["metadata"]["name"]
            if not is_authority_config_map(stored):
                whose = f"ConfigMap {namespace}/{name} was not created by the operator"
                raise NameConflictError(f"{whose}; realtime steps need this name: delete it")
            patch = bound_to(stored, {"data": wanted["data"]})
            with port_errors():
                await self._client.patch(CONFIG_MAP, name, patch, namespace=namespace)
        if len(self._stored) >= _REMEMBERED:
            del self._stored[next(iter(self._stored))]
        self._stored[namespace] = bundle
