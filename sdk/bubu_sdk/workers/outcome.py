"""How an attempt ended, and the one patch that reports it. Pure. Source: SDK contract 24.3.

The patch has the result and ``workerExit``, on the condition that nobody has written since the state that it starts
from: so the result of an attempt that is over is never recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bubu_contract import instants
from bubu_sdk import status
from bubu_sdk.errors import Object
from bubu_sdk.kube import JSON_PATCH
from bubu_sdk.status import StatusUpdate
from bubu_sdk.steprun import patch_between
from bubu_sdk.workers import assignment
from bubu_sdk.workers.assignment import WORKER_EXIT, AssignedAttempt


@dataclass(frozen=True)
class AttemptOutcome:
    """The end of an attempt's process, or of its task."""

    exit_code: int
    update: StatusUpdate | None = None
    """What the SDK reports about the function; ``None`` if the process ended without a report."""


def patch_of(
    step_run: Object, attempt: AssignedAttempt, outcome: AttemptOutcome, *, pod: str, now: datetime
) -> tuple[Any, str] | None:
    """Body and content type of the patch of the status; ``None`` if there is nothing to report any more.

    ``workerExit`` is written as long as the attempt is assigned, also when it is over: the operator waits for it. The
    result is added only if the attempt is still the current one.
    """
    if (
        str((step_run.get("metadata") or {}).get("uid")) != attempt.uid
        or assignment.assigned_to(step_run, attempt.worker_uid) != attempt
        or assignment.is_released(step_run, attempt)
    ):
        return None
    before: Object = step_run.get("status") or {}
    update = outcome.update if assignment.is_current(step_run, attempt) else None
    after = before if update is None else status.merge(before, _identified(update, before, pod))
    ended: Object = {
        "attempt": attempt.attempt,
        "exitCode": outcome.exit_code,
        "finishedAt": instants.format_instant(now),
    }
    after = {"retries": 0, **after, WORKER_EXIT: ended}
    body, content_type = patch_between(step_run, before, after)
    if body is None:
        return None
    return _on_same_object(body, content_type, attempt.uid), content_type


def _identified(update: StatusUpdate, before: Object, pod: str) -> StatusUpdate:
    """``update`` with the name of the Pod, and without the start if that is known already."""
    fields = {**update.fields, "podName": pod}
    if before.get("startedAt"):
        fields.pop("startedAt", None)
    return StatusUpdate(fields, update.cleared)


def _on_same_object(body: Any, content_type: str, uid: str) -> Any:
    if content_type == JSON_PATCH:
        return [{"op": "replace", "path": "/metadata/uid", "value": uid}, *body]
    return {**body, "metadata": {**body.get("metadata", {}), "uid": uid}}
