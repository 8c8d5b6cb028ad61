"""What becomes of a run that a backup has brought back. Pure.

The backup tells what had happened when it was made, and nothing of what the old cluster did after that. So a run that
was under way is ended, and executes nothing. If the settings say that the old cluster had stopped before the backup,
the run continues from what is recorded, as after a restart of the operator whose containers have all vanished.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object, ReadOnlyObject, owners_of
from core.api.phases import Phase, Reason, StepReason
from core.engine.status.state import RunState
from core.engine.step.manifest import controller_reference
from core.engine.step.record import UNKNOWN_ATTEMPT, is_final, phase_of, retries_of
from core.engine.step.verdict import Conclusion, Verdict
from core.engine.streams.record import serves_stream
from core.workloads.live_run import is_live_run
from core.workloads.restored import creator_of, former_uid

_MOST_NAMES = 10


def own_children(run: ReadOnlyObject, candidates: Iterable[Object]) -> list[Object]:
    """The StepRuns and child runs among ``candidates`` that this run had created before it was restored.

    The UID that they were created for must be the former one of the run. If the backup has no status, that UID is not
    known; then all of them must agree on one.
    """
    found = [child for child in candidates if creator_of(child) != run["metadata"]["uid"]]
    former = former_uid(run)
    if former:
        return [child for child in found if creator_of(child) == former]
    return found if len({creator_of(child) for child in found}) == 1 else []


def adoption_patch(run: Object, child: Object, now: datetime, *, is_step_run: bool) -> Object:
    """The metadata patch by which the run owns a child of its former self.

    A StepRun that has not ended remembers which attempt was under way: nothing is known of its end.
    """
    others = [owner for owner in owners_of(child) if not owner.get("controller")]
    annotations = {
        keys.ANNOTATION_CREATED_BY_RUN: str(run["metadata"]["uid"]),
        keys.ANNOTATION_RESTORED_AT: format_instant(now),
    }
    if is_step_run and (lost := _lost_attempt(child)):
        annotations[keys.ANNOTATION_LOST_ATTEMPT] = lost
    return {"ownerReferences": [controller_reference(run), *others], "annotations": annotations}


def _lost_attempt(step_run: ReadOnlyObject) -> str:
    """Empty: no attempt was under way."""
    status: Mapping[str, Any] = step_run.get("status") or {}
    if not status:
        return UNKNOWN_ATTEMPT
    waits_for_retry = phase_of(status) is Phase.PENDING and bool(status.get("nextRetryAt"))
    return "" if is_final(status) or waits_for_retry else str(retries_of(status))


def why_not_resumable(run: ReadOnlyObject, step_runs: Iterable[Object]) -> str:
    """Why a restored run cannot continue whatever the settings say; empty if it can."""
    if not (run.get("status") or {}).get("phase"):
        return "the backup has no status of the run, so it is unknown how far it had come"
    if is_live_run(run) or any(map(serves_stream, step_runs)):
        return "streams do not continue from a backup"
    return ""


def resumed_metadata(now: datetime) -> Object:
    """The metadata patch of a restored run that continues."""
    return {"annotations": {keys.ANNOTATION_RESTORED_AT: format_instant(now)}}


def resumed_status(run: ReadOnlyObject) -> Object:
    """The status patch of a restored run that continues: from now on it is a run like any other."""
    return {"observedUid": run["metadata"]["uid"]}


def ended_status(run: Object, why: str, now: datetime) -> Object:
    """The status patch that ends a restored run, and executes nothing for that.

    ``why``: one sentence without a full stop.
    """
    state = RunState.from_stored(run)
    begun = tuple(state.steps or ())
    state = replace(state, phase=state.phase or Phase.PENDING)
    state = state.planned(begun, frozenset((run.get("status") or {}).get("allowedFailures") or ()))
    under_way = [name for name in begun if not (state.steps or {})[name].phase.terminal]
    text = "Ended: the run was restored from a backup"
    for name in under_way:
        verdict = Verdict(Phase.CANCELED, text, recorded_reason=StepReason.RUN_ENDED)
        state = state.step_ended(name, verdict, now)
    message = _message(run, why, under_way, can_continue=bool(begun))
    state = state.concluded(Conclusion(Phase.FAILED, Reason.RESTORED, message, has_error=True), now)
    patch = state.status_patch(now)
    patch.pop("stepsTotal", None)  # steps that had not begun count, too
    return patch


def _message(run: ReadOnlyObject, why: str, under_way: Sequence[str], *, can_continue: bool) -> str:
    name = run["metadata"]["name"]
    shown = ", ".join(under_way[:_MOST_NAMES]) + (", …" if len(under_way) > _MOST_NAMES else "")
    steps = f" Steps under way in the backup: {shown}." if under_way else ""
    text = (
        f"The run was restored from a backup and was not executed further: {why}.{steps} Check what it has done since"
    )
    text += f"; then start another run (bobrapet resubmit {name})"
    return f"{text}, or continue this one (bobrapet retry {name} --from STEP)" if can_continue else text
