"""Checks, before a workload is created, that the Secrets of a container exist and that it may use them.

A missing Secret or key would leave the Pod of a step in a configuration error until its deadline; this check reports it
as a reason of the step. The Pod of a listener has no deadline: it starts when the Secret appears, so that is not
checked. Messages name Secrets and keys, never values. Source: StepRun contract 14, 15.1 and 15.3, Trigger contract 6.2;
unlike there, the copy of the operator's storage Secret belongs to one step or listener, and only goes to namespaces
that the platform allows (``core.policy.credentials``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from core.api import store_credentials
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import SECRET
from core.engine.errors import DeniedError, MissingReferenceError, RejectedError, UnavailableError
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, NotFoundError
from core.policy.credentials import foreign_fields, may_have_credentials, namespaces_key, operators_secret
from core.policy.settings import OperatorSettings, StorageSettings
from core.workloads.impulse_workload import ListenerWorkload
from core.workloads.secrets import MountedSecret, SecretUser, mounted_secrets
from core.workloads.step_workload import StepWorkload
from core.workloads.storage import cloud_provider, storage_secret, with_storage_secret
from core.workloads.storage_copy import (
    CopyOwner,
    impulse_copy_owner,
    is_copy,
    is_same_copy,
    step_copy_owner,
    storage_copy,
)
from core.workloads.variables import reserved_among
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import is_object_name

_WHY_RESERVED: Final = "which control the program; rename the keys, or set another envPrefix in the template"


class SecretCheck:
    """Reads Secrets without a cache, so that none stays in the operator's memory."""

    def __init__(self, client: KubeClient, operator_namespace: str, settings: Callable[[], OperatorSettings]) -> None:
        """``settings`` returns the current settings: a workload that waits for its namespace to be allowed must see
        the change.
        """
        self._client = client
        self._operator_namespace = operator_namespace
        self._settings = settings

    async def check(
        self, workload: StepWorkload, storage: StorageSettings, owner: CopyOwner | None = None
    ) -> StepWorkload:
        """The workload with the storage Secret that it may read.

        ``storage`` is the operator's own store, as it was when the workload's policy was resolved. After the return,
        every Secret exists, and so does every key that becomes a variable. A copy of the operator's Secret belongs to
        ``owner``; by default, to the StepRun.

        Raises:
            MissingReferenceError: names all missing Secrets and keys.
            RejectedError: a Secret would set reserved variables, or the operator's credentials would go to a store
                that is not the operator's.
            DeniedError: the platform does not let this namespace use the operator's credentials.
            UnavailableError, StaleError: the caller should try again.
        """
        missing, reserved = await self._mapped_secret_problems(workload)
        if workload.tls_secret and await self._read(workload.namespace, workload.tls_secret) is None:
            missing.append(f"TLS Secret {workload.tls_secret!r} does not exist")
        if missing:
            raise MissingReferenceError(f"in namespace {workload.namespace}: {'; '.join(missing + reserved)}")
        if reserved:
            raise RejectedError(f"in namespace {workload.namespace}: {'; '.join(reserved)}")
        policy = workload.policy
        own = await self._with_storage_secret(owner or step_copy_owner(workload), policy.storage, storage)
        return workload if own is policy.storage else replace(workload, policy=replace(policy, storage=own))

    async def check_listener(
        self, workload: ListenerWorkload, storage: StorageSettings
    ) -> tuple[ListenerWorkload, list[str]]:
        """Like ``check``, for a listener: a mapped Secret or key may be missing, because the kubelet waits for it. So
        the missing ones are returned, too.

        Raises: the same errors; ``MissingReferenceError`` only about the Secret of the store.
        """
        missing, reserved = await self._mapped_secret_problems(workload)
        if reserved:
            raise RejectedError(f"in namespace {workload.namespace}: {'; '.join(reserved)}")
        policy = workload.policy
        own = await self._with_storage_secret(impulse_copy_owner(workload), policy.storage, storage)
        return replace(workload, policy=replace(policy, storage=own)), missing

    async def _mapped_secret_problems(self, workload: SecretUser) -> tuple[list[str], list[str]]:
        """The missing objects, and the variables that a Secret may not set."""
        missing: list[str] = []
        reserved: list[str] = []
        for secret in mounted_secrets(workload):
            stored = await self._read(workload.namespace, secret.secret_name)
            if stored is None:
                missing.append(f"Secret {secret.secret_name!r} (secrets.{secret.logical_name}) does not exist")
                continue
            if is_copy(stored):
                reserved.append(f"Secret {secret.secret_name!r} has the credentials of the operator's object store")
            data = stored.get("data") or {}
            if secret.as_env:
                if lacking := sorted(set(secret.keys) - set(data)):
                    missing.append(f"Secret {secret.secret_name!r} lacks {', '.join(lacking)}")
                reserved += _reserved_by(secret, data)
        return missing, reserved

    async def _with_storage_secret(
        self, user: CopyOwner, storage: ReadOnlyObject | None, operators: StorageSettings
    ) -> ReadOnlyObject | None:
        """The storage policy with the Secret that the containers of ``user`` may read."""
        name, namespace = storage_secret(storage), user.namespace
        if storage is None or not name:
            return storage
        is_default, is_beside = name == operators_secret(operators), namespace == self._operator_namespace
        own = await self._read(namespace, name)
        if own is not None and not is_copy(own) and not (is_default and is_beside):
            return _checked(storage, own)  # the namespace may use its own Secret with any store
        foreign = foreign_fields(storage, operators)
        if own is not None and (foreign or not is_default):
            raise RejectedError(_why_no_credentials(namespace, name, foreign))
        if own is None and (foreign or not is_default or is_beside):
            raise MissingReferenceError(f"storage Secret {namespace}/{name} does not exist; create it")
        if is_beside and own is not None:
            return _checked(storage, own)
        if not may_have_credentials(namespace, self._settings().storage):
            raise DeniedError(
                f"namespace {namespace} may not use the credentials of the operator's object store; add it "
                f"to {namespaces_key(operators)} in the operator's ConfigMap, or create Secret {namespace}/{name} with "
                "credentials of its own"
            )
        source = await self._read(self._operator_namespace, name)
        if source is None:
            raise MissingReferenceError(f"storage Secret {self._operator_namespace}/{name} does not exist; create it")
        copy = storage_copy(user, source, cloud_provider(_checked(storage, source)))
        return with_storage_secret(storage, await self._copied(copy))

    async def _copied(self, wanted: Object) -> str:
        """Name of the copy, which exists after the return."""
        name: str = wanted["metadata"]["name"]
        namespace = wanted["metadata"]["namespace"]
        with port_errors():
            try:
                await self._client.create(SECRET, wanted, namespace=namespace)
            except AlreadyExistsError:
                stored = await self._read(namespace, name)
            else:
                return name
        if stored is None:
            raise UnavailableError(f"Secret {namespace}/{name} is being replaced")
        if not is_same_copy(stored, wanted):
            raise RejectedError(
                f"Secret {namespace}/{name} is not the copy of "
                f"{self._operator_namespace}'s storage Secret that it must be; delete it"
            )
        return name

    async def _read(self, namespace: str, name: str) -> Object | None:
        if not is_object_name(name):
            return None
        with port_errors():
            try:
                return await self._client.get(SECRET, name, namespace)
            except NotFoundError:
                return None


def _reserved_by(secret: MountedSecret, data: Object) -> list[str]:
    names = reserved_among(secret.prefix, secret.keys or data)
    if not names:
        return []
    return [
        f"Secret {secret.secret_name!r} (secrets.{secret.logical_name}) would set {', '.join(names)}, {_WHY_RESERVED}"
    ]


def _checked(storage: ReadOnlyObject, secret: Object) -> ReadOnlyObject:
    """``storage``.

    Raises:
        MissingReferenceError: the Secret of the store lacks the keys to sign in with.
    """
    if lacking := store_credentials.lacking(cloud_provider(storage), secret.get("data") or {}):
        metadata = secret["metadata"]
        raise MissingReferenceError(f"storage Secret {metadata['namespace']}/{metadata['name']} needs {lacking}")
    return storage


def _why_no_credentials(namespace: str, name: str, foreign: list[str]) -> str:
    where = f"; this one differs in {', '.join(foreign)}" if foreign else ""
    return (
        f"Secret {namespace}/{name} has the credentials of the operator's object store, which only go to that "
        f"store{where}. Name a Secret of this namespace with credentials of its own"
    )
