"""An Impulse as people see it: its listener, what it waits for, what it has started. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bubu_contract.instants import parse_instant_or_none
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import Phase, member_or_none
from core.workloads.impulse_workload import chosen_mode
from views.text import one_line


@dataclass(frozen=True, slots=True)
class ImpulseView:
    namespace: str
    name: str
    template: str
    story: str
    """``namespace/name`` when the Story is in another namespace."""
    mode: str
    phase: Phase | None
    """None: no operator has seen it yet."""
    is_ready: bool
    reason: str
    """Of the condition ``Ready``."""
    message: str
    since: datetime | None
    """Since when it is ready, or is not."""
    received: int
    launched: int
    failed: int
    throttled: int
    last_trigger: datetime | None
    created_at: datetime | None
    is_current: bool
    """Whether the status is about the spec as it is now."""


def view_impulse(impulse: Object) -> ImpulseView:
    metadata, spec, status = impulse["metadata"], impulse.get("spec") or {}, impulse.get("status") or {}
    ready = find_condition(status.get("conditions") or (), "Ready") or {}
    reference = spec.get("storyRef") or {}
    story, place = str(reference.get("name") or ""), str(reference.get("namespace") or "")
    mode, _ = chosen_mode(impulse)
    return ImpulseView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        template=str((spec.get("templateRef") or {}).get("name") or ""),
        story=f"{place}/{story}" if place and place != metadata["namespace"] else story,
        mode=mode,
        phase=member_or_none(Phase, status.get("phase")),
        is_ready=ready.get("status") == "True",
        reason=str(ready.get("reason") or ""),
        message=one_line(ready.get("message") or ""),
        since=parse_instant_or_none(ready.get("lastTransitionTime")),
        received=status.get("triggersReceived") or 0,
        launched=status.get("storiesLaunched") or 0,
        failed=status.get("failedTriggers") or 0,
        throttled=status.get("throttledTriggers") or 0,
        last_trigger=parse_instant_or_none(status.get("lastTrigger")),
        created_at=parse_instant_or_none(metadata.get("creationTimestamp")),
        is_current=status.get("observedGeneration") == metadata.get("generation"),
    )
