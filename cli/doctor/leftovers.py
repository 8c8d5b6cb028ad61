"""Objects that should be gone: held back by finalizers for long, or without the object that owned them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from cli.doctor.context import DoctorContext
from core.api import keys
from core.api.objects import Object
from core.api.resource import (
    EFFECT_CLAIM,
    ENGRAM,
    IMPULSE,
    JOB,
    POD,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT_BINDING,
    Resource,
)
from core.engine.clock import system_now
from core.kube.errors import ForbiddenError, NotServedError
from views.doctor.diagnosis import Diagnosis, listed, ok, skipped, warning

PATIENCE: Final = timedelta(minutes=5)
_KINDS: Final = (STORY, ENGRAM, IMPULSE, STORY_RUN, STEP_RUN, STORY_TRIGGER, EFFECT_CLAIM, TRANSPORT_BINDING, JOB, POD)
_OWNERS: Final = {STEP_RUN: STORY_RUN, JOB: STEP_RUN}
"""Kinds whose objects are orphans when their owner of the other kind is gone."""


def diagnoses_of(objects: Mapping[Resource, Sequence[Object]], now: datetime) -> list[Diagnosis]:
    """
    Args:
        objects: of the kinds that this user may list; their metadata is enough.
    """
    found = []
    for resource, items in objects.items():
        held = [each for each in items if _is_held(each, now)]
        if held:
            finalizers = sorted({name for each in held for name in each["metadata"].get("finalizers") or ()})
            found.append(
                warning(
                    f"{len(held)} {resource.plural} wait for their deletion for more than 5 min: "
                    f"{listed([_name(each) for each in held], 4)} (finalizers: {listed(finalizers) or 'none'})",
                    "a running operator removes its finalizers; look at its logs before you remove one by hand",
                )
            )
    for resource, owner in _OWNERS.items():
        if resource not in objects or owner not in objects:
            continue
        alive = {each["metadata"]["uid"] for each in objects[owner]}
        orphans = [each for each in objects[resource] if _is_orphan(each, owner, alive, now)]
        if orphans:
            found.append(
                warning(
                    f"{len(orphans)} {resource.plural} have lost their {owner.kind}: "
                    f"{listed([_name(each) for each in orphans], 4)}",
                    "Kubernetes removes them; if it does not, look at kube-controller-manager",
                )
            )
    return found or [ok("no object is left over")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    objects: dict[Resource, Sequence[Object]] = {}
    unseen = []
    for resource in _KINDS:
        selector = keys.LABEL_STORY_RUN if resource in (JOB, POD) else None
        try:
            found = await context.client.list(
                resource,
                context.session.list_namespace,
                label_selector=selector,
                keep=lambda obj: {"metadata": obj.get("metadata") or {}},
            )
        except ForbiddenError:
            unseen.append(resource.plural)
        except NotServedError:
            continue  # the check of the definitions says so
        else:
            objects[resource] = found.items
    return [
        *(diagnoses_of(objects, system_now()) if objects else []),
        *([skipped(f"not examined, because you may not list them: {listed(unseen)}")] if unseen else []),
    ]


def _is_held(obj: Object, now: datetime) -> bool:
    since = parse_instant_or_none(obj["metadata"].get("deletionTimestamp"))
    return since is not None and now - since > PATIENCE


def _is_orphan(obj: Object, owner: Resource, alive: set[str], now: datetime) -> bool:
    """Whether it names an owner of this kind that is gone. Young objects are left out: the lists are not of one
    moment.
    """
    created = parse_instant_or_none(obj["metadata"].get("creationTimestamp"))
    owners = [each["uid"] for each in obj["metadata"].get("ownerReferences") or () if each.get("kind") == owner.kind]
    return bool(owners) and not alive & set(owners) and created is not None and now - created > PATIENCE


def _name(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
