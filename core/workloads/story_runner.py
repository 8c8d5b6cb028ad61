"""The identity of the containers of all runs of a Story: an account, and what binds rights to it. Pure.

The name has a digest of what the account may do, so Stories, or versions of one, that need different rights never share
an account. The base rights are those of a ClusterRole that the operator may bind by name; only extra rules need a Role.
The account has no owner, because runs need it after their Story is gone; the account owns the Role and the bindings, so
they go with it. Source: StepRun contract 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from bubu_contract.identity import compose_with_suffix, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import CLUSTER_ROLE, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from core.workloads.runner import account_annotations
from core.workloads.runner_rules import Rule, complete_rules

STORY_RUNNER_SUFFIX: Final = "story-runner"
RUNNER_BASE_ROLE: Final = "bobrapet-engram-runner"
"""The ClusterRole with the base rights of all containers of runs; it has this name in every installation."""
SELECTOR: Final = f"{keys.LABEL_APP_MANAGED_BY}={keys.FIELD_MANAGER},{keys.LABEL_RUNNER_OF_STORY}"
"""Selects the objects of this module."""

_DIGEST_LENGTH: Final = 10
_EXTRA: Final = "extra"


@dataclass(frozen=True, slots=True)
class StoryRunner:
    """What one account must be. Equal rights of one Story have equal names."""

    namespace: str
    """That of the runs; the Story may be in another one."""
    story: str
    """``namespace/name``."""
    name: str
    annotations: Mapping[str, str]
    """Those of the account: what the Story's S3 policy requests."""
    rules: tuple[Rule, ...]
    """The extra rules, sorted and without duplicates; the base rules are not among them."""

    def account(self) -> Object:
        """The ServiceAccount. No annotation that a Story requests takes the place of one of the operator's."""
        account = self._named(SERVICE_ACCOUNT, self.name)
        own = (keys.ANNOTATION_RUNNER_OF_STORY, keys.ANNOTATION_RUNNER_RETIRED)
        account["metadata"]["annotations"] |= {k: v for k, v in self.annotations.items() if k not in own}
        return account

    def rights(self, account_uid: str) -> list[tuple[Resource, Object]]:
        """The objects that bind rights to the account, in the order in which they must be created."""
        owned: list[tuple[Resource, Object]] = [
            (ROLE_BINDING, self._binding(self.name, CLUSTER_ROLE, RUNNER_BASE_ROLE)),
        ]
        if self.rules:
            role = {**self._named(ROLE, self.name), "rules": [dict(rule) for rule in self.rules]}
            owned += [(ROLE, role), (ROLE_BINDING, self._binding(f"{self.name}-{_EXTRA}", ROLE, self.name))]
        owner = {
            "apiVersion": SERVICE_ACCOUNT.api_version,
            "kind": SERVICE_ACCOUNT.kind,
            "name": self.name,
            "uid": account_uid,
        }
        for _, obj in owned:
            obj["metadata"]["ownerReferences"] = [dict(owner)]
        return owned

    def _binding(self, name: str, role: Resource, role_name: str) -> Object:
        return {
            **self._named(ROLE_BINDING, name),
            "roleRef": {"apiGroup": role.group, "kind": role.kind, "name": role_name},
            "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": self.name, "namespace": self.namespace}],
        }

    def _named(self, resource: Resource, name: str) -> Object:
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {
                    keys.LABEL_APP_MANAGED_BY: keys.FIELD_MANAGER,
                    keys.LABEL_RUNNER_OF_STORY: label_value(self.story.partition("/")[2]),
                },
                "annotations": {keys.ANNOTATION_RUNNER_OF_STORY: self.story},
            },
        }


def story_runner(namespace: str, story: Object, extra_rules: Iterable[Rule]) -> StoryRunner:
    """The identity of the containers of the Story's runs in ``namespace``.

    ``extra_rules`` are those of all Engrams that the Story refers to, in any order.
    """
    place = f"{story['metadata']['namespace']}/{story['metadata']['name']}"
    rules, annotations = complete_rules((), extra_rules), account_annotations(namespace, story)
    content = orjson.dumps([place, rules, annotations], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]
    name = compose_with_suffix(f"{story['metadata']['name']}-{digest}", STORY_RUNNER_SUFFIX)
    return StoryRunner(namespace, place, name, annotations, tuple(rules))


def story_of_runner(obj: ReadOnlyObject) -> str:
    """``namespace/name`` of the Story of an object of this module; empty if it is none, whatever its labels are."""
    metadata = obj["metadata"]
    if f"-{STORY_RUNNER_SUFFIX}" not in str(metadata["name"]):
        return ""
    return str((metadata.get("annotations") or {}).get(keys.ANNOTATION_RUNNER_OF_STORY) or "")
