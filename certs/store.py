"""The Secret at the API server: always read without a cache; every write carries the version that was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from certs.material import Material
from certs.policy import Stored
from certs.secret import read_secret, write_secret
from core.api.resource import SECRET
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kubewire import Object


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The result of a read: its meaning, and the object that a write is bound to."""

    stored: Stored
    secret: Object | None = field(repr=False)


class SecretStore:
    def __init__(self, client: KubeClient, name: str, namespace: str, names: tuple[str, ...]) -> None:
        self.name = name
        self.namespace = namespace
        self._client = client
        self._names = names

    async def read(self, now: datetime) -> Snapshot:
        """The newest state; nothing is cached.

        Raises:
            KubeError: the server could not be reached.
        """
        try:
            secret = await self._client.get(SECRET, self.name, self.namespace)
        except NotFoundError:
            secret = None
        return Snapshot(read_secret(secret, self._names, now), secret)

    async def write(self, material: Material, over: Snapshot, now: datetime) -> Snapshot | None:
        """The stored state; None when another client has written since ``over`` was read.

        Raises:
            KubeError: the server could not be reached, or refuses the write.
        """
        secret = write_secret(material, over.secret, self.name, self.namespace)
        try:
            if over.secret is None:
                written = await self._client.create(SECRET, secret)
            else:
                written = await self._client.replace(SECRET, secret)
        except (AlreadyExistsError, ConflictError, NotFoundError):
            return None
        return Snapshot(read_secret(written, self._names, now), written)

    def reference(self) -> Object:
        """The Secret as the object of Events."""
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name, "namespace": self.namespace}}
