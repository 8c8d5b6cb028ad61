"""How a container finds the object store. Source: StepRun contract 15.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

STORAGE_VOLUME: Final = "bubu-storage"
DEFAULT_STORAGE_PATH: Final = "/var/run/bubu/storage"

Storage = Mapping[str, Any] | None


def storage_environment(storage: Storage) -> list[dict[str, Any]]:
    if not storage:
        return []
    env = _s3(storage["s3"]) if storage.get("s3") else _file(storage.get("file") or {})
    if (seconds := storage.get("timeoutSeconds") or 0) > 0:
        env.append({"name": "BUBU_STORAGE_TIMEOUT", "value": f"{seconds}s"})
    return env


def storage_volumes(storage: Storage) -> list[dict[str, Any]]:
    """The volume of a file store: a claim, otherwise the policy's own volume or a plain emptyDir."""
    if not storage or not (file := storage.get("file")):
        return []
    if claim := file.get("volumeClaimName"):
        return [{"name": STORAGE_VOLUME, "persistentVolumeClaim": {"claimName": claim}}]
    return [{"name": STORAGE_VOLUME, "emptyDir": dict(file.get("emptyDir") or {})}]


def storage_volume_mounts(storage: Storage) -> list[dict[str, Any]]:
    if not storage or not (file := storage.get("file")):
        return []
    return [{"name": STORAGE_VOLUME, "mountPath": file.get("path") or DEFAULT_STORAGE_PATH}]


def storage_secret(storage: Storage) -> str:
    """Name of the Secret with the S3 credentials; empty when there is none."""
    if not storage or not storage.get("s3"):
        return ""
    reference = (storage["s3"].get("authentication") or {}).get("secretRef") or {}
    name: str = reference.get("name") or ""
    return name


def with_storage_secret(storage: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An S3 policy with the Secret ``name`` instead of its own."""
    s3 = storage["s3"]
    authentication = {**(s3.get("authentication") or {}), "secretRef": {"name": name}}
    return {**storage, "s3": {**s3, "authentication": authentication}}


def _s3(s3: Mapping[str, Any]) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [{"name": "BUBU_STORAGE_PROVIDER", "value": "s3"}]
    for name, key in (
        ("BUBU_STORAGE_S3_BUCKET", "bucket"),
        ("BUBU_STORAGE_S3_REGION", "region"),
        ("BUBU_STORAGE_S3_ENDPOINT", "endpoint"),
    ):
        if s3.get(key):
            env.append({"name": name, "value": s3[key]})
    if secret := storage_secret({"s3": s3}):
        env += [
            _from_secret("AWS_ACCESS_KEY_ID", secret),
            _from_secret("AWS_SECRET_ACCESS_KEY", secret),
            _from_secret("AWS_SESSION_TOKEN", secret, optional=True),
        ]
    if s3.get("usePathStyle"):
        env.append({"name": "BUBU_S3_FORCE_PATH_STYLE", "value": "true"})
    return env


def _file(file: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": "BUBU_STORAGE_PROVIDER", "value": "file"},
        {"name": "BUBU_STORAGE_PATH", "value": file.get("path") or DEFAULT_STORAGE_PATH},
    ]


def _from_secret(name: str, secret: str, *, optional: bool = False) -> dict[str, Any]:
    reference: dict[str, Any] = {"name": secret, "key": name}
    if optional:
        reference["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}
