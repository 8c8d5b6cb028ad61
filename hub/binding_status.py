"""The status of a TransportBinding, as the hub writes it. Pure.

``Ready`` says whether a client, or the hub itself, serves the step; ``stream`` what has passed. Fields that the hub
does not own are kept. Source: streaming contract 5.3 and 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bubu_contract.instants import format_instant
from core.api.conditions import find_condition, truncated, with_condition
from core.api.objects import Object
from core.api.phases import ConditionType, Reason
from hub.attendance import NOBODY, Attendance
from hub.rate import STILL, PerMinute
from kubewire import merge_patch_between

FIELD_MANAGER: Final = "bobrapet-hub"
READY: Final = "TransportReady"
AWAITING: Final = "AwaitingTransport"
_BY_CLIENT: Final = "a client serves the step"
_BY_HUB: Final = "the hub serves the step: it starts a Job for each packet"
_MAX_TROUBLE: Final = 256
_OFFERS: Final = (
    ("audio", "codecs", "negotiatedAudio"),
    ("video", "codecs", "negotiatedVideo"),
    ("binary", "mimeTypes", "negotiatedBinary"),
)
"""Field of the spec, what is offered in it, and the field of the status that names the choice."""


@dataclass(frozen=True, slots=True)
class StepTraffic:
    """What has passed of one step, and what has not yet."""

    received: int = 0
    delivered: int = 0
    waiting: int = 0
    waiting_percent: int = 0
    lost: int = 0
    paused_by: tuple[str, ...] = ()
    trouble: str = ""
    per_minute: PerMinute = STILL


@dataclass(frozen=True, slots=True)
class ConsolePlace:
    """Where the hub answers commands about the packets of a step."""

    address: str
    until: datetime


@dataclass(frozen=True, slots=True)
class StreamState:
    """The step of a binding, as the hub sees it."""

    problem: str = ""
    """Why it cannot be served as it is."""
    waits_for: str = ""
    """Why nobody serves it."""
    runs_jobs: bool = False
    """Whether the hub itself serves it, by Jobs."""
    attendance: Attendance = NOBODY
    traffic: StepTraffic | None = None
    """None: nothing is known beyond what was written."""
    is_drained: bool = False
    console: ConsolePlace | None = None
    """None: nobody asks for it."""


def wanted_status(binding: Object, view: StreamState, now: datetime) -> Object:
    """The whole status that the binding should have."""
    old: Mapping[str, Any] = binding.get("status") or {}
    spec, generation = binding.get("spec") or {}, int(binding["metadata"].get("generation") or 0)
    is_ready = view.attendance.is_connected and not view.problem
    if view.problem:
        reason, message = str(Reason.INVALID_CONFIGURATION), view.problem
    elif is_ready:
        reason, message = READY, _BY_HUB if view.runs_jobs else _BY_CLIENT
    else:
        reason, message = AWAITING, view.waits_for
    status = {
        **old,
        "observedGeneration": generation,
        "conditions": with_condition(
            old.get("conditions") or (),
            ConditionType.READY,
            is_ready,
            reason=reason,
            message=message,
            generation=generation,
            now=now,
        ),
        "stream": _stream(old.get("stream") or {}, view, now),
    }
    if endpoint := spec.get("connectorEndpoint"):
        status["endpoint"] = endpoint
    if is_ready:
        for kind, field, agreed in _OFFERS:
            if offered := (spec.get(kind) or {}).get(field):
                status[agreed] = offered[0]
    return status


def is_edge(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the change from ``old`` to ``new`` must be written at once."""
    return _edges(old) != _edges(new)


def status_patch(binding: Object, wanted: Object, now: datetime) -> Object | None:
    """The merge patch that makes the status of the binding ``wanted``, bound to this binding; None if it is that."""
    changes = merge_patch_between(binding.get("status") or {}, wanted)
    if not changes:
        return None
    if isinstance(changes.get("stream"), dict):
        changes["stream"]["observedAt"] = format_instant(now)
    return {"metadata": {"uid": binding["metadata"]["uid"]}, "status": changes}


def _stream(old: Mapping[str, Any], view: StreamState, now: datetime) -> Object:
    who, traffic = view.attendance, view.traffic
    stream: Object = {**old, "connected": who.is_connected, "drained": view.is_drained}
    stream.pop("returning", None)
    if who.returning is not None:
        stream["returning"] = format_instant(who.returning)
    if who.client is not None:
        stream["generation"] = who.client.generation
        stream.pop("process", None)
        if who.client.process:
            stream["process"] = who.client.process
        for field, instant in (("connectedAt", who.connected_at), ("disconnectedAt", who.disconnected_at)):
            stream.pop(field, None)
            if instant is not None:
                stream[field] = format_instant(instant)
    elif old.get("connected") and not who.is_connected:  # to a former process of the hub
        stream["disconnectedAt"] = format_instant(now)
    if who.refusal is not None:
        stream["lastRefusal"] = {
            "reason": str(who.refusal.reason),
            "message": truncated(who.refusal.message, _MAX_TROUBLE),
            "at": format_instant(who.refusal.at),
        }
    stream.pop("console", None)
    if view.console is not None:
        stream["console"] = {"address": view.console.address, "until": format_instant(view.console.until)}
    if traffic is None:
        return stream
    stream |= {
        "received": traffic.received,
        "delivered": traffic.delivered,
        "receivedPerMinute": traffic.per_minute.received,
        "deliveredPerMinute": traffic.per_minute.delivered,
        "waiting": traffic.waiting,
        "waitingPct": traffic.waiting_percent,
        "lost": traffic.lost,
        "pausedBy": list(traffic.paused_by),
    }
    stream.pop("trouble", None)
    if traffic.trouble:
        stream["trouble"] = truncated(traffic.trouble, _MAX_TROUBLE)
    return stream


def _edges(status: Mapping[str, Any]) -> tuple[object, ...]:
    ready = find_condition(status.get("conditions") or (), ConditionType.READY) or {}
    stream = status.get("stream") or {}
    edges = (
        ready.get("status"),
        ready.get("reason"),
        ready.get("message"),
        stream.get("connected"),
        stream.get("generation"),
        stream.get("returning"),
    )
    console = (stream.get("console") or {}).get("address")
    return (*edges, stream.get("drained"), bool(stream.get("trouble")), bool(stream.get("lastRefusal")), console)
