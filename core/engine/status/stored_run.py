"""What a stored StoryRun says beside its phase: about its streams, its Story and its annotations. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import ConditionType, Reason


def terminated_at(run: Object) -> str | None:
    """When another program has recorded that the realtime topology of the run is terminated; None: none has."""
    degraded = find_condition((run.get("status") or {}).get("conditions") or (), ConditionType.DEGRADED) or {}
    if degraded.get("status") != "True" or degraded.get("reason") != Reason.TOPOLOGY_TERMINATED:
        return None
    return str(degraded.get("lastTransitionTime") or "")


def topology_of(status: Mapping[str, Any]) -> str:
    """What the operator shows of the streams as a whole; empty: nothing is wrong."""
    degraded = find_condition(status.get("conditions") or (), ConditionType.DEGRADED) or {}
    shown = degraded.get("status") == "True" and degraded.get("reason") == Reason.TOPOLOGY_DEGRADED
    return str(degraded.get("message") or "") if shown else ""


def revision_of(run: Object) -> str:
    """Name of the stored copy of the Story that the run executes; empty if that is not recorded."""
    recorded = (run.get("status") or {}).get("storyRevision") or annotations_of(run).get(keys.ANNOTATION_STORY_REVISION)
    return str(recorded or "")


def annotations_of(run: Object) -> Mapping[str, Any]:
    """The annotations of a StoryRun; empty if they are damaged."""
    annotations = (run.get("metadata") or {}).get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def with_tokens(tokens: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """``tokens`` and those of ``more`` that are new."""
    return tuple(dict.fromkeys((*tokens, *more)))
