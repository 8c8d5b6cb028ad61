"""Ensures the account of a listener and its permissions, and checks its Secrets.

Neither is watched, so both are checked when the wanted state changes, and again when an event comes ``RECHECK`` or more
after the last check (``RECHECK_MISSING`` if a Secret was missing): an Impulse that only counts events costs no
requests. Source: Trigger contract 6.2 and 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from core.api.objects import Object, ReadOnlyObject
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from core.engine.ports import Clock, EventSink
from core.kube.client import KubeClient
from core.policy.settings import StorageSettings
from core.workloads.impulse_access import impulse_account, impulse_role, impulse_role_binding, role_without_rights
from core.workloads.impulse_resolution import ResolvedImpulse
from core.workloads.impulse_workload import ListenerWorkload
from reconcilers.adapters.owned_access import OwnedAccess
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.runtime.controller import Key

RECHECK: Final = timedelta(minutes=10)
RECHECK_MISSING: Final = timedelta(seconds=5)
"""While a Secret is missing, which keeps the Pods from starting."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """The outcome of a check for the wanted state ``asked``."""

    asked: Any
    at: datetime
    storage: ReadOnlyObject | None = None
    missing: tuple[str, ...] = ()


class ImpulseAccess:
    """Remembers what it has checked, by Impulse."""

    def __init__(self, client: KubeClient, secrets: SecretCheck, events: EventSink, clock: Clock) -> None:
        self._access = OwnedAccess(client, events)
        self._secrets = secrets
        self._clock = clock
        self._granted: dict[Key, _Checked] = {}
        self._readable: dict[Key, _Checked] = {}

    def forget(self, key: Key) -> None:
        """The Impulse is gone, or has no listener any more."""
        self._granted.pop(key, None)
        self._readable.pop(key, None)

    async def ensure(self, impulse: Object, resolved: ResolvedImpulse) -> None:
        """ServiceAccount, Role and RoleBinding; with an account of an administrator, the Role has no rules any more.

        Raises:
            NameConflictError: one of them belongs to another owner.
            DeniedError: a rule of the template is beyond the operator's own permissions.
            UnavailableError, RejectedError.
        """
        key, managed = Key.of(impulse), resolved.is_account_managed
        wanted: list[tuple[Resource, Object]] = [(ROLE, role_without_rights(impulse))]
        if managed:
            wanted = [
                (SERVICE_ACCOUNT, impulse_account(impulse, resolved.workload.policy.storage)),
                (ROLE, impulse_role(impulse, resolved.rules)),
                (ROLE_BINDING, impulse_role_binding(impulse)),
            ]
        if self._is_fresh(self._granted.get(key), wanted):
            return
        if managed:
            await self._access.ensure(impulse, wanted, is_new=not impulse.get("status"))
        else:
            await self._access.correct_existing(impulse, *wanted[0])
        self._granted[key] = _Checked(wanted, self._clock.now())

    async def with_secrets(self, resolved: ResolvedImpulse, storage: StorageSettings) -> ListenerWorkload:
        """The workload with the Secret of the store that it may read; ``storage`` is the operator's own store.

        Raises: see ``SecretCheck.check_listener``.
        """
        workload = resolved.workload
        policy, key = workload.policy, Key(workload.namespace, workload.impulse_name)
        asked = (workload.impulse_uid, policy.storage, policy.secrets, workload.secret_schema, storage)
        known = self._readable.get(key)
        if known is None or not self._is_fresh(known, asked):
            checked, missing = await self._secrets.check_listener(workload, storage)
            known = _Checked(asked, self._clock.now(), checked.policy.storage, tuple(missing))
            self._readable[key] = known
        return replace(workload, policy=replace(policy, storage=known.storage))

    def missing_secrets(self, key: Key) -> str:
        """The mapped Secrets and keys that did not exist at the last check; empty: all existed."""
        known = self._readable.get(key)
        return "" if known is None else "; ".join(known.missing)

    def _is_fresh(self, known: _Checked | None, asked: Any) -> bool:
        if known is None or known.asked != asked:
            return False
        return self._clock.now() - known.at < (RECHECK_MISSING if known.missing else RECHECK)
