"""The identity of a listener's container: ServiceAccount, Role and RoleBinding. Pure.

Source: Trigger contract 6.5 and 12. Unlike in the reference, the rules on Impulses name the one Impulse, and no rule
lets a listener write the status of runs, which no SDK does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from bubu_contract.identity import compose_with_suffix
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.permission import Permission
from core.api.resource import IMPULSE, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, STORY_RUN, STORY_TRIGGER, Resource
from core.workloads.impulse_workload import controlled_by_impulse
from core.workloads.runner_rules import Rule, complete_rules

IMPULSE_RUNNER_SUFFIX: Final = "impulse-runner"
_MANAGED_ACCOUNTS: Final = ("", "default")

IMPULSE_PERMISSIONS: Final = (
    Permission(
        STORY_TRIGGER,
        ("create", "get"),
        "A listener submits an event as a StoryTrigger and reads the decision.",
    ),
    Permission(
        STORY_RUN,
        ("get", "list", "patch"),
        "A listener reads the runs that it started, and asks for their cancellation.",
    ),
    Permission(
        IMPULSE,
        ("get",),
        "A listener reads its own Impulse: the Role names it.",
    ),
    Permission(
        IMPULSE,
        ("patch",),
        "A listener reports throttled events in the status of its own Impulse: the Role names it.",
        subresource="status",
        seldom="Only listeners that report throttling.",
    ),
)
"""The permissions of listeners, in the contract's order; those on Impulses are granted for one Impulse by name."""


def is_managed(account: str) -> bool:
    """Whether the operator provides the account; otherwise an administrator does, under that name."""
    return account.strip() in _MANAGED_ACCOUNTS


def impulse_runner_name(impulse: str) -> str:
    """The name of the ServiceAccount, Role and RoleBinding of a listener."""
    return compose_with_suffix(impulse, IMPULSE_RUNNER_SUFFIX)


def impulse_account(impulse: ReadOnlyObject, storage: ReadOnlyObject | None) -> Object:
    """Has the annotations that the S3 policy requests; their keys are recorded, so that old ones can be removed."""
    wanted = (((storage or {}).get("s3") or {}).get("authentication") or {}).get("serviceAccountAnnotations") or {}
    account = _named(SERVICE_ACCOUNT, impulse)
    if wanted:
        managed = ",".join(sorted(wanted))
        account["metadata"]["annotations"] = {**wanted, keys.ANNOTATION_MANAGED_STORAGE: managed}
    return account


def impulse_rules(impulse: str) -> list[Rule]:
    """The base rules of one listener, in the contract's order."""
    return [
        (replace(permission, names=(impulse,)) if permission.resource is IMPULSE else permission).rule()
        for permission in IMPULSE_PERMISSIONS
    ]


def impulse_role(impulse: ReadOnlyObject, extra_rules: Iterable[Rule]) -> Object:
    """The base rules, in the contract's order; with extra rules, the whole list is sorted and free of duplicates."""
    rules = complete_rules(impulse_rules(impulse["metadata"]["name"]), extra_rules)
    return {**_named(ROLE, impulse), "rules": rules}


def role_without_rights(impulse: ReadOnlyObject) -> Object:
    """The Role while the Impulse uses another account: it stays, because the operator deletes no Roles."""
    return {**_named(ROLE, impulse), "rules": []}


def impulse_role_binding(impulse: ReadOnlyObject) -> Object:
    metadata = impulse["metadata"]
    name, namespace = impulse_runner_name(metadata["name"]), metadata["namespace"]
    return {
        **_named(ROLE_BINDING, impulse),
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": name},
        "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": name, "namespace": namespace}],
    }


def _named(resource: Resource, impulse: ReadOnlyObject) -> Object:
    metadata = impulse["metadata"]
    name = impulse_runner_name(metadata["name"])
    return controlled_by_impulse(metadata["namespace"], metadata["name"], metadata["uid"], name, resource)
