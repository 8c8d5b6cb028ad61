"""How a container finds the object store. Source: StepRun contract 15.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.store_credentials import keys_of

STORAGE_VOLUME: Final = "bubu-storage"
DEFAULT_STORAGE_PATH: Final = "/var/run/bubu/storage"

Storage = Mapping[str, Any] | None

_CLOUDS: Final = ("s3", "gcs", "azure")
_VARIABLES: Final = {
    "s3": {
        "BUBU_STORAGE_S3_BUCKET": "bucket",
        "BUBU_STORAGE_S3_REGION": "region",
        "BUBU_STORAGE_S3_ENDPOINT": "endpoint",
    },
    "gcs": {"BUBU_STORAGE_GCS_BUCKET": "bucket", "BUBU_STORAGE_GCS_ENDPOINT": "endpoint"},
    "azure": {
        "BUBU_STORAGE_AZURE_ACCOUNT": "account",
        "BUBU_STORAGE_AZURE_CONTAINER": "container",
        "BUBU_STORAGE_AZURE_ENDPOINT": "endpoint",
    },
}
_REQUIRED_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY")
"""Keys without which the container does not start; the other providers' keys are alternatives to each other."""
_AZURE_IDENTITY_LABEL: Final = {"azure.workload.identity/use": "true"}


def cloud_provider(storage: Storage) -> str:
    """``s3``, ``gcs`` or ``azure``; empty for a volume, and without a store."""
    return next((name for name in _CLOUDS if storage and storage.get(name)), "")


def storage_environment(storage: Storage) -> list[dict[str, Any]]:
    if not storage:
        return []
    provider = cloud_provider(storage)
    env = _cloud(provider, storage[provider]) if provider else _file(storage.get("file") or {})
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
    """Name of the Secret with the credentials; empty when there is none."""
    provider = cloud_provider(storage)
    if not storage or not provider:
        return ""
    reference = (storage[provider].get("authentication") or {}).get("secretRef") or {}
    name: str = reference.get("name") or ""
    return name


def with_storage_secret(storage: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The policy of a cloud store, with the Secret ``name`` instead of its own."""
    provider = cloud_provider(storage)
    block = storage[provider]
    authentication = {**(block.get("authentication") or {}), "secretRef": {"name": name}}
    return {**storage, provider: {**block, "authentication": authentication}}


def identity_labels(storage: Storage) -> dict[str, str]:
    """Labels with which a Pod gets the token of its workload identity: Azure's admission webhook needs one."""
    without_secret = cloud_provider(storage) == "azure" and not storage_secret(storage)
    return dict(_AZURE_IDENTITY_LABEL) if without_secret else {}


def _cloud(provider: str, block: Mapping[str, Any]) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [{"name": "BUBU_STORAGE_PROVIDER", "value": provider}]
    env += [{"name": name, "value": block[key]} for name, key in _VARIABLES[provider].items() if block.get(key)]
    if secret := storage_secret({provider: block}):
        env += [_from_secret(key, secret, optional=key not in _REQUIRED_KEYS) for key in keys_of(provider)]
    if provider == "s3" and block.get("usePathStyle"):
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
