"""Whether the Secrets that a container needs are there, before the Job is made.

A missing Secret or key would leave the Pod in a configuration error until its deadline; here it is a reason on the
step. The operator's default storage Secret is copied next to the workload; only that one, and only onto a Secret that
is marked as such a copy. Messages name Secrets and keys, never values. Source: StepRun contract 14, 15.1 and 15.3.
"""

from __future__ import annotations

from typing import Any, Final

from core.api.resource import SECRET
from core.engine.errors import MissingReferenceError, RejectedError, UnavailableError
from core.engine.ports import Object
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, NotFoundError
from core.kube.patch import bound_to
from core.kube.wire import merge_patch_between
from core.workloads.secrets import mounted_secrets
from core.workloads.step_workload import StepWorkload
from core.workloads.storage import storage_secret
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import is_object_name

ANNOTATION_COPY: Final = "bubustack.io/managed-storage-secret"
ANNOTATION_COPY_SOURCE: Final = "bubustack.io/managed-storage-secret-source"


class SecretCheck:
    """Reads Secrets uncached, so that none stays in the operator's memory."""

    def __init__(self, client: KubeClient, operator_namespace: str) -> None:
        self._client = client
        self._operator_namespace = operator_namespace

    async def check(self, workload: StepWorkload, default_storage_secret: str) -> None:
        """Every Secret, and every key that becomes a variable, exists when this returns.

        Raises:
            MissingReferenceError: naming Secrets and keys, all of them.
            RejectedError: an unmanaged Secret stands where the storage Secret would be copied to.
            UnavailableError, StaleError: try again.
        """
        problems = await self._mapped_secret_problems(workload)
        if workload.tls_secret and await self._read(workload.namespace, workload.tls_secret) is None:
            problems.append(f"TLS Secret {workload.tls_secret!r} does not exist")
        if problems:
            raise MissingReferenceError(f"in namespace {workload.namespace}: {'; '.join(problems)}")
        await self._ensure_storage_secret(workload, default_storage_secret)

    async def _mapped_secret_problems(self, workload: StepWorkload) -> list[str]:
        problems: list[str] = []
        for secret in mounted_secrets(workload):
            stored = await self._read(workload.namespace, secret.secret_name)
            if stored is None:
                problems.append(f"Secret {secret.secret_name!r} (secrets.{secret.logical_name}) does not exist")
            elif secret.as_env and (missing := sorted(set(secret.keys) - set(stored.get("data") or {}))):
                problems.append(f"Secret {secret.secret_name!r} lacks {', '.join(missing)}")
        return problems

    async def _ensure_storage_secret(self, workload: StepWorkload, default: str) -> None:
        name = storage_secret(workload.policy.storage)
        if not name:
            return
        stored = await self._read(workload.namespace, name)
        if name != default or workload.namespace == self._operator_namespace:
            if stored is None:
                raise MissingReferenceError(f"storage Secret {workload.namespace}/{name} does not exist; create it")
            return
        source = await self._read(self._operator_namespace, name)
        if source is None:
            raise MissingReferenceError(f"storage Secret {self._operator_namespace}/{name} does not exist; create it")
        await self._copy(source, stored, workload.namespace)

    async def _copy(self, source: Object, stored: Object | None, namespace: str) -> None:
        name = source["metadata"]["name"]
        marks = {ANNOTATION_COPY: "true", ANNOTATION_COPY_SOURCE: f"{self._operator_namespace}/{name}"}
        if stored is None:
            stored = await self._create_copy(source, namespace, marks)
        have = stored["metadata"].get("annotations") or {}
        if any(have.get(key) != value for key, value in marks.items()):
            raise RejectedError(
                f"Secret {namespace}/{name} is not a managed copy of {marks[ANNOTATION_COPY_SOURCE]}; "
                "rename or remove it"
            )
        drift = merge_patch_between(_content(stored), _content(source))
        if drift:
            with port_errors():
                await self._client.patch(SECRET, name, bound_to(stored, drift), namespace=namespace)

    async def _create_copy(self, source: Object, namespace: str, marks: dict[str, str]) -> Object:
        """The copy, or what somebody put there at the same moment."""
        name = source["metadata"]["name"]
        copy = {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.kind,
            "metadata": {"name": name, "namespace": namespace, "annotations": marks},
            "type": source.get("type", "Opaque"),
            "data": source.get("data") or {},
        }
        with port_errors():
            try:
                return await self._client.create(SECRET, copy, namespace=namespace)
            except AlreadyExistsError:
                stored = await self._read(namespace, name)
        if stored is None:
            raise UnavailableError(f"Secret {namespace}/{name} is being replaced")
        return stored

    async def _read(self, namespace: str, name: str) -> Object | None:
        if not is_object_name(name):
            return None
        with port_errors():
            try:
                return await self._client.get(SECRET, name, namespace)
            except NotFoundError:
                return None


def _content(secret: Object) -> dict[str, Any]:
    return {"data": secret.get("data") or {}}
