"""The base rights of the containers of runs; and, with ``controller.runner-identity: run``, the identity of those of
one run: ServiceAccount, Role and RoleBinding, all with the run's name.

Source: StepRun contract 16, operator contract 20.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bubu_contract.identity import label_value, runner_name
from core.api import keys
from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import (
    EFFECT_CLAIM,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY_RUN,
    TRANSPORT_BINDING,
    Resource,
)
from core.policy import borrowed
from core.workloads.runner_rules import Rule, complete_rules

RUNNER_PERMISSIONS: Final = (
    Permission(
        STEP_RUN,
        ("get", "watch"),
        "A step reads its own StepRun: inputs, deadline, effects and signals recorded so far.",
        seldom="Every step of the Python SDK reads it; SDKs that wait for changes watch it.",
    ),
    Permission(
        STEP_RUN,
        ("patch", "update"),
        "A step reports its result, signals and effects.",
        subresource="status",
        seldom="Every step of the Python SDK sends patches; SDKs that replace the whole status send updates.",
    ),
    Permission(
        EFFECT_CLAIM,
        ("get", "create", "update"),
        "A step claims a side effect before it performs it, so that no retry performs it twice.",
        seldom="Only steps that declare effects create claims.",
    ),
    Permission(
        TRANSPORT_BINDING,
        ("get", "list", "watch"),
        "A streaming step finds its peers.",
        seldom="Only streaming steps have bindings.",
    ),
    Permission(
        TRANSPORT_BINDING,
        ("get",),
        "A streaming step sees whether the hub serves it. Only the hub writes this: it decides when a step has ended.",
        subresource="status",
        seldom="Only streaming steps have bindings.",
    ),
)
"""The permissions of the containers of every run, in the contract's order.

The reference lets them patch the status of TransportBindings, for its connectors, which do not exist here.
"""

BASE_RULES: Final[tuple[Rule, ...]] = tuple(permission.rule() for permission in RUNNER_PERMISSIONS)


def service_account(run: Object, story: Object) -> Object:
    """Has the annotations that the Story's S3 policy requests."""
    account = _named(SERVICE_ACCOUNT, run)
    if annotations := account_annotations(run["metadata"]["namespace"], story):
        account["metadata"]["annotations"] = annotations
    return account


def account_annotations(namespace: str, story: Object) -> dict[str, str]:
    """The annotations that the Story's S3 policy requests for accounts in ``namespace``, and one with their keys, so
    that old ones can be removed.

    They may name a role at a cloud provider that trusts this namespace, so those of a Story in another namespace are
    not used.
    """
    if borrowed.is_foreign(story, namespace):
        return {}
    policy = ((story.get("spec") or {}).get("policy") or {}).get("storage") or {}
    wanted = ((policy.get("s3") or {}).get("authentication") or {}).get("serviceAccountAnnotations") or {}
    return {**wanted, keys.ANNOTATION_MANAGED_STORAGE: ",".join(sorted(wanted))} if wanted else {}


def role(run: Object, extra_rules: Iterable[Rule]) -> Object:
    """The base rules, in the contract's order; with extra rules, the whole list is sorted and free of duplicates."""
    return {**_named(ROLE, run), "rules": complete_rules(BASE_RULES, extra_rules)}


def role_binding(run: Object) -> Object:
    name, namespace = runner_name(run["metadata"]["name"]), run["metadata"]["namespace"]
    return {
        **_named(ROLE_BINDING, run),
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": name},
        "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": name, "namespace": namespace}],
    }


def _named(resource: Resource, run: Object) -> Object:
    metadata = run["metadata"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": runner_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {keys.LABEL_STORY_RUN: label_value(metadata["name"])},
            "ownerReferences": [
                {
                    "apiVersion": STORY_RUN.api_version,
                    "kind": STORY_RUN.kind,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
    }
