"""The stream of one step of a realtime run, as the hub has written it into the step's TransportBinding. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.workloads.stream_binding import ending_of, is_finished
from views.text import one_line


@dataclass(frozen=True, slots=True)
class StepFlow:
    """Counts are those since the run began in the hub; they begin again when the hub does."""

    binding: str
    """Name of the TransportBinding."""
    is_reported: bool
    """Whether the hub has ever reported about the step."""
    is_connected: bool
    has_sources: bool
    """Whether other steps send to it."""
    has_targets: bool
    """Whether it sends to other steps."""
    received: int = 0
    """Messages of the step that the hub has taken: out."""
    delivered: int = 0
    """Messages to the step that it is done with: in."""
    received_per_minute: int = 0
    delivered_per_minute: int = 0
    waiting: int = 0
    waiting_percent: int = 0
    lost: int = 0
    paused_by: tuple[str, ...] = ()
    """Steps whose full buffers block the messages of this one."""
    is_drained: bool = False
    is_ending: bool = False
    """The operator ends its worker."""
    is_finished: bool = False
    """No client of the step will connect again."""
    trouble: str = ""
    """Why the last message was refused."""
    refusal: str = ""
    """Why the last client that was refused was, and which was the step or claimed to be."""
    refused_at: datetime | None = None
    connected_at: datetime | None = None
    disconnected_at: datetime | None = None
    observed_at: datetime | None = None
    """When this was counted."""
    created_at: datetime | None = None

    @property
    def refusal_since_connected(self) -> str:
        """``refusal``, if the step has not connected since."""
        if self.refused_at is None or (self.connected_at is not None and self.refused_at < self.connected_at):
            return ""
        return self.refusal


def flow_of(binding: Object) -> StepFlow:
    """The stream that a TransportBinding is about."""
    metadata = binding["metadata"]
    annotations = metadata.get("annotations") or {}
    status = binding.get("status") or {}
    stream = status.get("stream") or {}
    held_by, refused = stream.get("pausedBy"), stream.get("lastRefusal") or {}
    return StepFlow(
        binding=str(metadata["name"]),
        is_reported=bool(status),
        is_connected=stream.get("connected") is True,
        has_sources=bool(annotations.get(keys.ANNOTATION_UPSTREAM_STEPS)),
        has_targets=bool(annotations.get(keys.ANNOTATION_DOWNSTREAM_STEPS)),
        received=_count(stream, "received"),
        delivered=_count(stream, "delivered"),
        received_per_minute=_count(stream, "receivedPerMinute"),
        delivered_per_minute=_count(stream, "deliveredPerMinute"),
        waiting=_count(stream, "waiting"),
        waiting_percent=_count(stream, "waitingPct"),
        lost=_count(stream, "lost"),
        paused_by=tuple(map(one_line, held_by)) if isinstance(held_by, list) else (),
        is_drained=stream.get("drained") is True,
        is_ending=bool(ending_of(binding)),
        is_finished=is_finished(binding),
        trouble=one_line(stream.get("trouble") or ""),
        refusal=one_line(refused.get("message") or refused.get("reason") or ""),
        refused_at=parse_instant_or_none(refused.get("at")),
        connected_at=parse_instant_or_none(stream.get("connectedAt")),
        disconnected_at=parse_instant_or_none(stream.get("disconnectedAt")),
        observed_at=parse_instant_or_none(stream.get("observedAt")),
        created_at=parse_instant_or_none(metadata.get("creationTimestamp")),
    )


def bindings_by_step(bindings: Iterable[Object], run_uid: str) -> dict[str, Object]:
    """The TransportBindings of a run, by step; those of an earlier run of the same name are left out."""
    found = {}
    for binding in bindings:
        spec = binding.get("spec") or {}
        if (spec.get("storyRunRef") or {}).get("uid") == run_uid and isinstance(spec.get("stepName"), str):
            found[spec["stepName"]] = binding
    return found


def streams_document(bindings: Mapping[str, Object]) -> Object:
    """What the hub reports for each step, for programs: ``status.stream``; null for a step that it has not reported."""
    return {step: (binding.get("status") or {}).get("stream") for step, binding in sorted(bindings.items())}


def _count(stream: Mapping[str, Any], name: str) -> int:
    value = stream.get(name)
    return value if isinstance(value, int) else 0
