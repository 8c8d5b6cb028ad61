"""Whether a request starts a run, matches the run of an earlier request, or is rejected. Pure.

The name of the run is derived from the business key, or from the submission id of a StoryTrigger without a key. So the
API server decides which of several equal requests is first: a client creates the run; if the name is taken, it reads
the run of that name and calls ``decide``.
Source: Trigger contract 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bubu_contract.canonical import NotJsonError
from bubu_contract.submission import MAX_KEY_CHARACTERS, input_hash, story_run_name
from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.unreadable import unreadable


class UnusableKeyError(ValueError):
    """A key (*user*) is empty, or longer than ``MAX_KEY_CHARACTERS``."""


class Decision(StrEnum):
    """The values of ``status.decision`` of a StoryTrigger."""

    CREATED = "Created"
    REUSED = "Reused"
    REJECTED = "Rejected"
    PENDING = "Pending"
    """The run with this key is being deleted; try again when it is gone."""


class Difference(StrEnum):
    """The difference between the existing run and the requested one."""

    STORY = "story"
    """Another Story, or another version of it."""
    IMPULSE = "impulse"
    INPUTS = "inputs"


@dataclass(frozen=True, slots=True)
class KeyedDecision:
    decision: Decision
    difference: Difference | None = None
    """The first difference; set if, and only if, the request is rejected."""


def keyed_run(manifest: Object, key: str, namespace: str) -> Object:
    """The manifest of a StoryRun with the name and the annotations for ``key``.

    Args:
        manifest: has ``spec.storyRef.name``; its own name or ``generateName`` is replaced.
        key: blanks around it are ignored.
        namespace: of the run, and of the Story if the reference names none.

    Raises:
        UnusableKeyError
        PayloadError: the inputs cannot be written as JSON.
    """
    key = key.strip()
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise UnusableKeyError(f"a key must have 1 to {MAX_KEY_CHARACTERS} characters")
    metadata, spec = manifest["metadata"], manifest["spec"]
    reference = spec["storyRef"]
    name = story_run_name(reference.get("namespace") or namespace, reference["name"], key)
    marks = {keys.ANNOTATION_TRIGGER_TOKEN: key, keys.ANNOTATION_TRIGGER_INPUT_HASH: input_hash(spec.get("inputs"))}
    kept = {field: value for field, value in metadata.items() if field != "generateName"}
    annotations = {**(metadata.get("annotations") or {}), **marks}
    return {**manifest, "metadata": {**kept, "name": name, "namespace": namespace, "annotations": annotations}}


def decide(wanted: Mapping[str, Any], existing: Mapping[str, Any] | None) -> KeyedDecision:
    """The answer to a request.

    Args:
        wanted: the StoryRun of the request, from ``keyed_run`` or ``core.workloads.trigger``.
        existing: the stored StoryRun of that name; None if there is none. Its phase does not matter.
    """
    if existing is None:
        return KeyedDecision(Decision.CREATED)
    if is_being_deleted(existing):
        return KeyedDecision(Decision.PENDING)
    difference = _difference(wanted, existing)
    return KeyedDecision(Decision.REUSED if difference is None else Decision.REJECTED, difference)


def _difference(wanted: Mapping[str, Any], existing: Mapping[str, Any]) -> Difference | None:
    namespace = wanted["metadata"]["namespace"]
    if _story_of(existing, namespace) != _story_of(wanted, namespace):
        return Difference.STORY
    if _impulse_of(existing, namespace) != _impulse_of(wanted, namespace):
        return Difference.IMPULSE
    if _hash_of(existing) != _hash_of(wanted):
        return Difference.INPUTS
    return None


def _story_of(run: Mapping[str, Any], namespace: str) -> tuple[str, str, str]:
    """Namespace, name and version of the Story."""
    reference = run["spec"].get("storyRef") or {}
    version = str(reference.get("version") or "").strip()
    return reference.get("namespace") or namespace, reference.get("name", ""), version


def _impulse_of(run: Mapping[str, Any], namespace: str) -> tuple[str, ...] | None:
    """Namespace, name, version and UID of the Impulse; None for a run without one."""
    reference = run["spec"].get("impulseRef")
    if reference is None:
        return None
    version, uid = (str(reference.get(field) or "").strip() for field in ("version", "uid"))
    return reference.get("namespace") or namespace, reference.get("name", ""), version, uid


def _hash_of(run: Mapping[str, Any]) -> str:
    """The annotation; if missing, the hash of the stored inputs, which is empty when they have none."""
    marked = str((run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_TRIGGER_INPUT_HASH) or "").strip()
    if marked:
        return marked
    if unreadable(run) is not None:
        return ""
    try:
        return input_hash(run["spec"].get("inputs"))
    except NotJsonError:
        return ""
