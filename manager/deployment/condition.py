"""When a request need not be looked at, in CEL. Pure text.

The API server evaluates these itself, so what they let pass does not need a running gate. They name the requests about
which the validators have nothing to say (admission contract 1.5): being deleted, or nothing changed that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.api.keys import ANNOTATION_TRIGGER_INPUT_HASH, ANNOTATION_TRIGGER_TOKEN
from core.api.resource import ENGRAM, STORY_RUN, Resource
from manager.deployment.metadata import Object
from manager.permissions.roles import Installation
from manager.permissions.table import MANAGER
from webhooks.caller import ADMINISTRATORS

IDENTITY_ANNOTATIONS: Final = (ANNOTATION_TRIGGER_TOKEN, ANNOTATION_TRIGGER_INPUT_HASH)
"""Of a StoryRun: they may not change, even where the spec does not."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The request is looked at if ``expression`` holds."""

    name: str
    expression: str

    def document(self) -> Object:
        return {"name": self.name, "expression": self.expression}


NOT_DELETED: Final = Condition("not-being-deleted", "!has(object.metadata.deletionTimestamp)")
_SPEC_CHANGED: Final = "!has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec"
SPEC_CHANGED: Final = Condition("spec-is-new", f"request.operation == 'CREATE' || {_SPEC_CHANGED}")


def annotation(of: str, key: str) -> str:
    """Its value, empty when there is none; ``of`` is ``object`` or ``oldObject``."""
    there = f"has({of}.metadata.annotations) && '{key}' in {of}.metadata.annotations"
    return f"({there} ? {of}.metadata.annotations['{key}'] : '')"


def not_by_operator(installation: Installation) -> Condition:
    return Condition("not-by-the-operator", f"request.userInfo.username != '{installation.user}'")


def not_by_trusted(installation: Installation) -> Condition:
    """Neither the operator nor whoever may do anything anyway."""
    groups = f"has(request.userInfo.groups) && '{ADMINISTRATORS}' in request.userInfo.groups"
    return Condition(
        "not-by-the-operator-or-an-administrator",
        f"request.userInfo.username != '{installation.user}' && !({groups})",
    )


def conditions_of(resource: Resource, installation: Installation) -> tuple[Condition, ...]:
    """For writes of whole objects of a kind.

    The operator is exempt for kinds that it creates itself, so that runs go on while the gate is down; it checks what
    it creates as it would where there is no gate.
    """
    exempt = (not_by_operator(installation),) if is_created_by_operator(resource) else ()
    if resource == ENGRAM:
        # Of one that is deleted the finalizers may change and nothing else, which the spec tells.
        return (SPEC_CHANGED, *exempt)
    return (NOT_DELETED, _identity_or_spec_changed() if resource == STORY_RUN else SPEC_CHANGED, *exempt)


def conditions_of_status(installation: Installation) -> tuple[Condition, ...]:
    """For writes of the status subresource."""
    return (NOT_DELETED, not_by_operator(installation))


def conditions_of_decisions(installation: Installation) -> tuple[Condition, ...]:
    """For writes of a run's status in which somebody decides on a gate."""
    changed = "!has(oldObject.status) || !has(oldObject.status.gates) || object.status.gates != oldObject.status.gates"
    gates = Condition("gates-are-new", f"has(object.status) && has(object.status.gates) && ({changed})")
    return (*conditions_of_status(installation), gates)


def is_created_by_operator(resource: Resource) -> bool:
    """As far as its rights go."""
    return any(
        row.resource == resource and not row.subresource and "create" in row.verbs for row in MANAGER.permissions
    )


def _identity_or_spec_changed() -> Condition:
    changed = (f"{annotation('object', key)} != {annotation('oldObject', key)}" for key in IDENTITY_ANNOTATIONS)
    return Condition("spec-or-identity-is-new", f"{SPEC_CHANGED.expression} || {' || '.join(changed)}")
