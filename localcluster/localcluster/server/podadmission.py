"""Admission plugins for Pods: fields that a real cluster adds to each new Pod.

ServiceAccount (account, token volume, pull secrets), Priority and DefaultTolerationSeconds, with their messages.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from localcluster.server import decoding, errors, objectmeta
from localcluster.server.store import Store
from localcluster.server.types import Object
from localcluster.server.writeport import AdmissionRequest

DEFAULT_ACCOUNT: Final = "default"
TOKEN_MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path, not a secret
TOKEN_LIFETIME_SECONDS: Final = 3607
"""The value of the real server: an hour, and seven seconds by which the value can be recognised."""
ACCOUNT_WAIT_SECONDS: Final = 2.0
"""How long a Pod in a new namespace waits until the controller has created its default account."""
UNREACHABLE_SECONDS: Final = 300

_VOLUME_PREFIX: Final = "kube-api-access-"
_MIRROR: Final = "kubernetes.io/config.mirror"
_CLUSTER_CRITICAL: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class PodAdmission:
    """Adds these fields to new Pods."""

    def __init__(self, store: Store) -> None:
        self._accounts = store.collection("/serviceaccounts")

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        """The Pod with all fields that it runs with.

        Raises:
            StatusError: 403, its service account or priority class does not exist.
        """
        obj, resource = request.obj, request.resource
        is_new_pod = resource.plural == "pods" and not resource.group and request.operation == "CREATE"
        if obj is None or not is_new_pod or request.subresource:
            await trio.lowlevel.checkpoint_if_cancelled()
            return obj
        pod = decoding.copied(obj)
        spec = pod.setdefault("spec", {})
        _tolerate(spec)
        _prioritize(spec, request)
        if _MIRROR not in (pod["metadata"].get("annotations") or {}):
            await self._give_account(spec, request)
        return pod

    async def validate(self, request: AdmissionRequest) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _give_account(self, spec: Object, request: AdmissionRequest) -> None:
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await self._account(request.namespace or "", name)
        if account is None:
            why = f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden("", "pods", _name(request), why)
        automount = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if automount:
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": secret["name"]} for secret in account["imagePullSecrets"]]

    async def _account(self, namespace: str, name: str) -> Object | None:
        key = f"{namespace}/{name}"
        with trio.move_on_after(ACCOUNT_WAIT_SECONDS if name == DEFAULT_ACCOUNT else 0):
            while self._accounts.get(key) is None:
                await self._accounts.wait_for_change()
        await trio.lowlevel.checkpoint_if_cancelled()
        stored = self._accounts.get(key)
        return stored.object if stored is not None else None


def _mount_token(spec: Object) -> None:
    """Mount the account's token in every container that mounts nothing else at that path."""
    volumes: list[Any] = spec.setdefault("volumes", [])
    existing = next((volume["name"] for volume in volumes if volume.get("name", "").startswith(_VOLUME_PREFIX)), None)
    name = existing or objectmeta.generated_name(_VOLUME_PREFIX)
    mounted = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.setdefault("volumeMounts", [])
        if all(mount.get("mountPath") != TOKEN_MOUNT_PATH for mount in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT_PATH})
            mounted = True
    if mounted and existing is None:
        volumes.append({"name": name, "projected": _token_projection()})
    if not volumes:
        del spec["volumes"]


def _token_projection() -> Object:
    field = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_SECONDS, "path": "token"}},
            {"configMap": authority},
            {"downwardAPI": {"items": [field]}},
        ],
    }


def _prioritize(spec: Object, request: AdmissionRequest) -> None:
    name = spec.get("priorityClassName", "")
    if name and name not in _CLUSTER_CRITICAL:
        raise errors.forbidden("", "pods", _name(request), f"no PriorityClass with name {name} was found")
    spec["priority"] = _CLUSTER_CRITICAL.get(name, 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _tolerate(spec: Object) -> None:
    """Let the Pod stay for five minutes on a node that is not ready or unreachable, unless it has other tolerations."""
    tolerations: list[Any] = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_covers(toleration, key) for toleration in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREACHABLE_SECONDS}
            )


def _covers(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")


def _name(request: AdmissionRequest) -> str:
    metadata = (request.obj or {}).get("metadata") or {}
    return str(request.name or metadata.get("generateName", ""))
