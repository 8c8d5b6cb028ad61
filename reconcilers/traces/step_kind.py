"""What a step does, by its Story. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.api.objects import Object
from core.engine.plan import GroupName


def step_kind(story: Object | None, path: str) -> str:
    """``engram``, or the ``type`` of the step with that full name; empty if the Story as it is now has no such step."""
    spec = (story or {}).get("spec") or {}
    lists = [spec.get(group.value) for group in GroupName]
    found: Mapping[str, Any] | None = None
    for name in path.split("/"):
        found = next((step for steps in lists for step in _steps(steps) if step.get("name") == name), None)
        if found is None:
            return ""
        lists = [(found.get("with") or {}).get("steps")]
    kind = (found or {}).get("type")
    return kind if isinstance(kind, str) and kind else "engram"


def _steps(steps: object) -> Iterable[Mapping[str, Any]]:
    return (step for step in steps if isinstance(step, Mapping)) if isinstance(steps, list) else ()
