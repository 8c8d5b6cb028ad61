"""What a StepRun records of a realtime step while its attempt is alive. Pure.

Its phase is that of the stream, and the condition ``TransportReady`` says whether its worker is connected. The operator
alone writes the status: a streaming SDK reports nothing there. Source: StepRun contract 4.2 and 22.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bubu_contract.instants import format_instant
from core.api.conditions import MAX_MESSAGE_LENGTH, find_condition, truncated
from core.api.objects import Object
from core.api.phases import ConditionType, Phase, Reason
from core.engine.plan import StepPlan
from core.engine.ports import STREAM, LiveStream, Observation
from core.engine.step.manifest import is_of_reference, is_under_way
from core.engine.step.record import (
    attempt_of,
    attempt_seen,
    attempt_to_wire,
    conditions_patch,
    executor_of,
    phase_of,
    retries_of,
)


def serves_stream(step_run: Object) -> bool:
    """Whether the StepRun was created for a step that serves a stream."""
    return executor_of(step_run) == STREAM


def why_not_taken_over(step: StepPlan, step_run: Object) -> str | None:
    """Why a stream that is under way cannot go on; None: it can, or ``step`` serves none."""
    if not step.serves_stream or not is_of_reference(step_run) or not is_under_way(step_run):
        return None
    name = step_run["metadata"]["name"]
    return f"StepRun {name} is from the Go operator, whose streams cannot be taken over; start another run"


def live_patch(seen: Observation, now: datetime) -> Object:
    """The merge patch of ``status`` that records what ``seen`` shows; empty if that is recorded, and if ``seen`` is not
    of a stream that is alive.

    ``startedAt`` is the time at which the stream was first ``Running``.
    """
    step_run, live = seen.step_run, seen.live
    if step_run is None or live is None:
        return {}
    status = step_run.get("status") or {}
    if _shown_by(step_run) == _shown(seen, live):
        return {}
    patch: Object = {"phase": str(live.phase), "retries": retries_of(status), "nextRetryAt": None}
    patch["attempt"] = attempt_to_wire(attempt_seen(seen))
    transport = live.is_connected, _transport_reason(live)
    patch |= conditions_patch(step_run, live.phase, live.reason, live.message, now, transport)
    if live.phase is Phase.RUNNING and not status.get("startedAt"):
        patch["startedAt"] = format_instant(now)
    return patch


def _shown(seen: Observation, live: LiveStream) -> tuple[Any, ...]:
    message = truncated(live.message, MAX_MESSAGE_LENGTH)
    return live.phase, live.reason, message, live.is_connected, _transport_reason(live), attempt_seen(seen)


def _shown_by(step_run: Object) -> tuple[Any, ...]:
    """The same, as it is stored."""
    status: Mapping[str, Any] = step_run.get("status") or {}
    conditions = status.get("conditions") or ()
    progressing = find_condition(conditions, ConditionType.PROGRESSING) or {}
    transport = find_condition(conditions, ConditionType.TRANSPORT_READY) or {}
    connected = {"True": True, "False": False}.get(str(transport.get("status")))
    shown = phase_of(status), progressing.get("reason"), progressing.get("message"), connected, transport.get("reason")
    return *shown, attempt_of(step_run)


def _transport_reason(live: LiveStream) -> Reason:
    if live.is_connected:
        return Reason.TRANSPORT_READY
    return Reason.AWAITING_TRANSPORT if live.phase is Phase.RUNNING else live.reason
