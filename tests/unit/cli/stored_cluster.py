"""An embedded cluster whose operator stores on a claim: the objects are files that a test can look at."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from cli.embedded.folder import EmbeddedCluster, claims_folder
from cli.embedded.operator_process import OPERATOR_NAMESPACE
from cli.options import CommonOptions
from cli.session import Session
from core.api.resource import CONFIG_MAP, NAMESPACE
from core.engine.clock import system_now
from deployment.permissions.table import CONFIG_NAME
from tests.unit.cli.conftest import session_of

HOUR = 3600.0
_CONFIG = {
    "controller.storage.provider": "file",
    "controller.storage.file.path": "/nowhere",
    "controller.storage.file.volume-claim-name": "payloads",
}


@dataclass(frozen=True)
class StoredCluster:
    """``session``: on the cluster; ``folder``: the volumes of the namespaces."""

    session: Session
    folder: Path

    def put(self, key: str, content: bytes | Any = b"{}", *, hours: float = 2, namespace: str = "default") -> None:
        """Store an object that was written ``hours`` ago; data is wrapped."""
        path = self.folder / namespace / "payloads" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        wrapped = content if isinstance(content, bytes) else orjson.dumps({"contentType": "json", "data": content})
        path.write_bytes(wrapped)
        at = system_now().timestamp() - hours * HOUR
        os.utime(path, (at, at))

    def keys(self, namespace: str = "default") -> list[str]:
        root = self.folder / namespace / "payloads"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def with_options(self, **options: Any) -> Session:
        return replace(session_of(self.session.client, CommonOptions(**options)), embedded=self.session.embedded)


async def stored_cluster(session: Session, folder: Path) -> StoredCluster:
    """A cluster with its configuration, and no objects."""
    await session.client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
    config = {"metadata": {"name": CONFIG_NAME}, "data": _CONFIG}
    await session.client.create(CONFIG_MAP, config, namespace=OPERATOR_NAMESPACE)
    embedded = EmbeddedCluster(folder, "http://cluster", folder / "kubeconfig", 1, "http://metrics")
    return StoredCluster(replace(session, embedded=embedded), claims_folder(folder))
