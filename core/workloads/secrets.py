"""How the secrets of an Engram or Impulse reach its container: variables, files, and the descriptors for its SDK.

Source: StepRun contract 14, Trigger contract 6.6. Entries are ordered by logical name, so equal input results in an
equal Pod. A secret that is mounted in both ways is described once, as ``env:``, as in the reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bubu_contract.identity import MAX_NAME_LENGTH, label_value
from core.policy.layers import ExecutionPolicy

SECRET_MOUNT_ROOT: Final = "/etc/bubu/secrets"  # noqa: S105 - a path
DESCRIPTOR: Final = "BUBU_SECRET_"
"""Variables with this prefix describe to an SDK where a secret is."""
_DIGEST_LENGTH: Final = 10


class SecretUser(Protocol):
    """A workload whose container gets secrets: that of a step, or a listener."""

    @property
    def namespace(self) -> str: ...

    @property
    def policy(self) -> ExecutionPolicy: ...

    @property
    def secret_schema(self) -> Mapping[str, Mapping[str, Any]]:
        """``spec.secretSchema`` of the template: logical name → definition."""


@dataclass(frozen=True, slots=True)
class MountedSecret:
    """One logical secret, resolved: the template's definition, and the name that Engram, step or Impulse chose."""

    logical_name: str
    secret_name: str
    as_env: bool
    as_file: bool
    keys: tuple[str, ...]
    prefix: str
    mount_path: str

    @property
    def volume_name(self) -> str:
        """``secret-<logical name>``; if that is not a DNS label, a name that no other logical name results in."""
        plain = f"secret-{self.logical_name}"
        safe = label_value(plain)
        if safe == plain:
            return plain
        digest = hashlib.sha256(plain.encode()).hexdigest()[:_DIGEST_LENGTH]
        return f"{safe[: MAX_NAME_LENGTH - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


def mounted_secrets(workload: SecretUser) -> list[MountedSecret]:
    """The mapped secrets that the template declares; the container does not get others."""
    return [
        _resolve(logical, secret_name, workload.secret_schema[logical])
        for logical, secret_name in sorted(workload.policy.secrets.items())
        if logical in workload.secret_schema
    ]


def secret_environment(workload: SecretUser) -> list[dict[str, Any]]:
    return [variable for secret in mounted_secrets(workload) for variable in _variables(secret)]


def secret_env_from(workload: SecretUser) -> list[dict[str, Any]]:
    """``container.envFrom``: every key of a Secret for which the template lists no keys."""
    return [
        {"prefix": secret.prefix, "secretRef": {"name": secret.secret_name}}
        for secret in mounted_secrets(workload)
        if secret.as_env and not secret.keys
    ]


def secret_volumes(workload: SecretUser) -> list[dict[str, Any]]:
    return [
        {"name": secret.volume_name, "secret": {"secretName": secret.secret_name}}
        for secret in mounted_secrets(workload)
        if secret.as_file
    ]


def secret_volume_mounts(workload: SecretUser) -> list[dict[str, Any]]:
    return [
        {"name": secret.volume_name, "mountPath": secret.mount_path, "readOnly": True}
        for secret in mounted_secrets(workload)
        if secret.as_file
    ]


def _resolve(logical: str, secret_name: str, definition: Mapping[str, Any]) -> MountedSecret:
    how = definition.get("mountType") or "env"
    return MountedSecret(
        logical_name=logical,
        secret_name=secret_name,
        as_env=how in ("env", "both"),
        as_file=how in ("file", "both"),
        keys=tuple(definition.get("expectedKeys") or ()),
        prefix=definition.get("envPrefix") or f"{logical}_",
        mount_path=definition.get("mountPath") or f"{SECRET_MOUNT_ROOT}/{logical}",
    )


def _variables(secret: MountedSecret) -> Iterator[dict[str, Any]]:
    descriptor = f"{DESCRIPTOR}{secret.logical_name}"
    if not secret.as_env:
        yield {"name": descriptor, "value": f"file:{secret.mount_path}"}
        return
    for key in secret.keys:
        reference = {"name": secret.secret_name, "key": key}
        yield {"name": f"{secret.prefix}{key}", "valueFrom": {"secretKeyRef": reference}}
    yield {"name": descriptor, "value": f"env:{secret.prefix}"}
    if not (secret.as_file and secret.keys):
        yield {"name": f"{descriptor}_NAME", "value": secret.secret_name}
