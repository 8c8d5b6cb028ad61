"""Reads objects in wire form: their owner, their step, and whether they have ended or are being deleted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from sys import intern
from typing import Any, Final, NamedTuple, TypeAlias

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.phases import Phase, member_or_none
from kubewire import Object

__all__ = [
    "STEP_LISTS",
    "NamespacedName",
    "Object",
    "ReadOnlyObject",
    "controller_of",
    "has_ended",
    "instant_or_creation",
    "is_being_deleted",
    "is_controlled_by",
    "is_left_by_a_namesake",
    "is_owned_by",
    "owners_of",
    "step_path",
    "story_depth",
    "without_data",
]


class NamespacedName(NamedTuple):
    """What tells objects of one kind apart that exist at the same time; two of the same name in turn differ in UID."""

    namespace: str
    """Empty for an object that has none."""
    name: str

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> NamespacedName:
        metadata = obj["metadata"]
        return cls(intern(metadata.get("namespace") or ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


ReadOnlyObject: TypeAlias = Mapping[str, Any]
"""The same for readers: it must not be changed."""
STEP_LISTS: Final = ("steps", "compensations", "finally")
"""The lists of steps of a Story, in the order in which they run."""


def owners_of(obj: Mapping[str, Any]) -> list[Object]:
    """Its owner references."""
    return list(obj["metadata"].get("ownerReferences") or ())


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The owner reference with ``controller: true``."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def is_controlled_by(obj: Mapping[str, Any], uid: str) -> bool:
    owner = controller_of(obj)
    return owner is not None and owner.get("uid") == uid


def is_left_by_a_namesake(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether an earlier object of the kind and name of ``owner`` controls it.

    That one is gone, because names are unique, so the garbage collector removes the object soon.
    """
    found, metadata = controller_of(obj) or {}, owner["metadata"]
    same = (found.get("kind"), found.get("name")) == (owner.get("kind"), metadata["name"])
    return same and found.get("uid") != metadata["uid"]


def is_owned_by(obj: Mapping[str, Any], uid: str) -> bool:
    """Whether the object of that UID owns it; the owner need not be its controller."""
    return any(owner.get("uid") == uid for owner in owners_of(obj))


def step_path(obj: Mapping[str, Any]) -> str:
    """The full name of the step of a StepRun or a child StoryRun: ``fetch``, or ``fan/a`` for a branch.

    Empty when it belongs to no step. The Go operator names the step around a branch only in a label.
    """
    metadata = obj.get("metadata") or {}
    name = (metadata.get("annotations") or {}).get(keys.ANNOTATION_STEP_PATH)
    if not name:
        around = (metadata.get("labels") or {}).get(keys.LABEL_PARENT_STEP)
        inside = (obj.get("spec") or {}).get("stepId")
        name = f"{around}/{inside}" if around and inside else inside or around
    return name if isinstance(name, str) else ""


def packet_step(run: Mapping[str, Any]) -> str:
    """The one step that a run executes for a packet of a stream; empty: it executes its whole Story."""
    found = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_PACKET_STEP)
    return found if isinstance(found, str) else ""


def story_depth(run: Mapping[str, Any]) -> int:
    """The number of ``executeStory`` steps above a run."""
    annotations = run["metadata"].get("annotations") or {}
    depth = str(annotations.get(keys.ANNOTATION_STORY_DEPTH) or annotations.get(keys.ANNOTATION_PACKET_DEPTH) or "0")
    return int(depth) if depth.isdecimal() else 0


def has_ended(obj: Mapping[str, Any]) -> bool:
    """Whether a stored StoryRun or StepRun is terminal."""
    phase = member_or_none(Phase, (obj.get("status") or {}).get("phase"))
    return phase is not None and phase.terminal


def without_data(obj: Object) -> Object:
    """A StepRun or StoryRun without its fields that may be large: inputs and output."""
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key not in ("input", "inputs")}
    status = {key: value for key, value in (obj.get("status") or {}).items() if key != "output"}
    return {**obj, "spec": spec, "status": status}


def is_being_deleted(obj: Mapping[str, Any]) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def instant_or_creation(text: object, obj: Mapping[str, Any]) -> datetime:
    """The instant in a field of ``obj``; if it is damaged or missing, the creation time."""
    found = parse_instant_or_none(text) or parse_instant_or_none(obj["metadata"]["creationTimestamp"])
    assert found is not None, "the API server stamps every object"
    return found
