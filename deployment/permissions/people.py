"""Roles for people: admin, editor and viewer of each of the twelve kinds, and who may approve gates.

They join the cluster's own ``admin``, ``edit`` and ``view`` roles by aggregation, so that users with those roles in a
namespace have these, too. The roles of the reference must be bound first. Source: operator contract 20.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.keys import LABEL_APP_NAME
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, EFFECT_CLAIM, OUR_RESOURCES, STEP_RUN, STORY, STORY_RUN, Resource
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation

GATE_APPROVER: Final = "gate-approver-role"

_AGGREGATE: Final = "rbac.authorization.k8s.io/aggregate-to-"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "delete", "get", "list", "patch", "update", "watch")
_ADMINISTER: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_MADE_FOR_PEOPLE: Final = (STEP_RUN, EFFECT_CLAIM)
"""The operator creates the former, containers the latter; people label them, remove finalizers and delete them."""
_LEVELS: Final = (("admin", "admin", _ADMINISTER), ("editor", "edit", _WRITE), ("viewer", "view", _READ))


def people_roles(installation: Installation = DEFAULT_INSTALLATION) -> Iterator[Object]:
    """Three ClusterRoles per kind, then the one for gates. Only admins and gate approvers may write a run's status."""
    for resource in OUR_RESOURCES:
        for level, cluster_role, all_verbs in _LEVELS:
            name = f"{installation.prefix}{role_stem(resource)}-{level}-role"
            verbs = tuple(verb for verb in all_verbs if verb != "create" or resource not in _MADE_FOR_PEOPLE)
            rules = [_rule(resource.plural, resource.group, verbs), _rule(*_status(resource), ("get",))]
            if resource is STORY_RUN and level == "admin":
                rules[-1]["verbs"] = ["get", "patch"]
            yield _role(name, rules, {f"{_AGGREGATE}{cluster_role}": "true"})
    approve = [_rule(STORY_RUN.plural, STORY_RUN.group, _READ), _rule(*_status(STORY_RUN), ("get", "patch"))]
    approve.append(_rule(STORY.plural, STORY.group, _READ))  # to see its gates and their purpose
    yield _role(installation.prefix + GATE_APPROVER, approve, {})


def role_stem(resource: Resource) -> str:
    """The stem of the reference's role names: ``story``, but ``runs-storyrun`` outside the main group."""
    group = resource.group.removesuffix("bubustack.io").rstrip(".")
    return f"{group}-{resource.kind.lower()}" if group else resource.kind.lower()


def _status(resource: Resource) -> tuple[str, str]:
    return f"{resource.plural}/status", resource.group


def _rule(target: str, group: str, verbs: tuple[str, ...]) -> Object:
    return {"apiGroups": [group], "resources": [target], "verbs": list(verbs)}


def _role(name: str, rules: list[Object], labels: dict[str, str]) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "metadata": {"name": name, "labels": {LABEL_APP_NAME: "bobrapet", **labels}},
        "rules": rules,
    }
