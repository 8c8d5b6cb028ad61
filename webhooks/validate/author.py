"""Who may create or change the objects and annotations that the operator acts on.

Only the operator creates StepRuns, and StoryRuns that another run controls. Otherwise a user who may write these kinds
could give a step other inputs, or a run another child. The container of an Impulse may change its Impulse, but not the
spec: with another account or Secret it would get more rights. This validator knows the user, unlike the others.
Source: admission contract 6, 8.2, 9.3 and 11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.keys import ANNOTATION_PACKET_DEPTH, ANNOTATION_PACKET_STEP, DOMAIN, RUN_ANNOTATIONS_OF_OPERATOR
from core.api.objects import ReadOnlyObject
from core.api.resource import STEP_RUN, STORY_RUN
from core.api.text import text
from core.workloads.impulse_access import IMPULSE_RUNNER_SUFFIX
from webhooks.caller import Caller, service_account
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate import change, effectclaim
from webhooks.validate.change import fields_of, metadata_of

STEP_RUN_MADE: Final = Rule("author/step-run-made", "9.3", CauseType.FORBIDDEN)
STEP_RUN_SPEC: Final = Rule("author/step-run-spec", "9.3", CauseType.FORBIDDEN)
MARK: Final = Rule("author/mark", "8.2", CauseType.FORBIDDEN)
IMPULSE_SPEC: Final = Rule("author/impulse-spec", "6", CauseType.FORBIDDEN)
CONTROLLER: Final = Rule("author/controller", "8.2", CauseType.FORBIDDEN)

_CONTROLLERS: Final = (STORY_RUN.kind, STEP_RUN.kind)


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, caller: Caller, world: ClusterView) -> list[Finding]:
    """Changes outside the status that the caller may not make; none for the operator and administrators."""
    if caller.is_trusted or change.is_deleted(new):
        return []
    match new.get("kind"):
        case "StepRun":
            return [*_step_run(new, old), *_controllers(new, old)]
        case "StoryRun":
            marks = [*RUN_ANNOTATIONS_OF_OPERATOR]
            if old is not None:
                marks.append(ANNOTATION_PACKET_DEPTH)
            if old is not None or not caller.is_hub:
                marks.append(ANNOTATION_PACKET_STEP)
            return [*_marks(new, old, "annotations", marks), *_controllers(new, old)]
        case "Impulse":
            return list(_impulse(new, old, caller))
        case "EffectClaim":
            return list(effectclaim.check_author(new, old, caller, world))
    return []


def _step_run(new: ReadOnlyObject, old: ReadOnlyObject | None) -> Iterator[Finding]:
    if old is None:
        yield STEP_RUN_MADE.at("metadata.name", "only the operator creates StepRuns", "start a StoryRun")
        return
    now, before = fields_of(new.get("spec")), fields_of(old.get("spec"))
    for field in change.changed_fields(now, before, sorted({*now, *before})):
        yield STEP_RUN_SPEC.at(f"spec.{field}", "only the operator may change this", "start another run")
    for part in ("labels", "annotations"):
        keys = {*fields_of(metadata_of(new).get(part)), *fields_of(metadata_of(old).get(part))}
        yield from _marks(new, old, part, sorted(key for key in keys if DOMAIN in key))


def is_listener(username: str, namespace: str) -> bool:
    """Whether this is an account that the operator has made for the container of an Impulse."""
    return username.startswith(service_account(namespace, "")) and username.endswith(f"-{IMPULSE_RUNNER_SUFFIX}")


def _impulse(new: ReadOnlyObject, old: ReadOnlyObject | None, caller: Caller) -> Iterator[Finding]:
    if old is None or not is_listener(caller.username, text(metadata_of(new).get("namespace"))):
        return
    now, before = fields_of(new.get("spec")), fields_of(old.get("spec"))
    for field in change.changed_fields(now, before, sorted({*now, *before})):
        message = "the container of an Impulse may only change its metadata"
        yield IMPULSE_SPEC.at(f"spec.{field}", message, "leave it unchanged")


def _marks(
    new: ReadOnlyObject, old: ReadOnlyObject | None, part: str, keys: tuple[str, ...] | list[str]
) -> Iterator[Finding]:
    now, before = fields_of(metadata_of(new).get(part)), fields_of(metadata_of(old or {}).get(part))
    for key in change.changed_fields(now, before, keys):
        yield MARK.at(f'metadata.{part}["{key}"]', "only the operator may write this", "leave it unchanged")


def _controllers(new: ReadOnlyObject, old: ReadOnlyObject | None) -> Iterator[Finding]:
    """New controlling references to a run or a step. Removing one is allowed, because garbage collection does it."""
    known = [(owner.get("uid"), owner.get("name")) for owner in _controlling(old or {})]
    for owner in _controlling(new):
        if (owner.get("uid"), owner.get("name")) not in known:
            message = f"only the operator creates objects that a {owner['kind']} controls"
            yield CONTROLLER.at("metadata.ownerReferences", message, "leave out controller: true")


def _controlling(obj: ReadOnlyObject) -> list[ReadOnlyObject]:
    owners = metadata_of(obj).get("ownerReferences")
    found = map(fields_of, owners if isinstance(owners, list) else ())
    return [owner for owner in found if owner.get("controller") is True and owner.get("kind") in _CONTROLLERS]
