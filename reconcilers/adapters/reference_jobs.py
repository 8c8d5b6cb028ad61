"""What Jobs of the Go operator say of their attempts. They have no annotations. Pure.

That operator records a failure in the StepRun before it deletes the Job, so after its death a Job may belong to an
attempt that is counted already. Source: StepRun contract 27.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.engine.step.record import retries_of, was_started
from core.workloads.job import DEADLINE_MARGIN


def attempt_of_reference(step_run: Object, job: Object) -> int | None:
    """The attempt before the one of the StepRun, if its failure is recorded; None: the Job does not say."""
    status, metadata = step_run.get("status") or {}, step_run["metadata"]
    known = (metadata.get("annotations") or {}).get(keys.ANNOTATION_JOB_UID)
    is_counted = retries_of(status) > 0 and not was_started(status) and known == job["metadata"].get("uid")
    return retries_of(status) - 1 if is_counted else None


def deadline_of_reference(job: Object) -> datetime | None:
    """When the time of the step is over: its timeout after the Job's start. The Job itself may take a margin longer."""
    seconds = (job.get("spec") or {}).get("activeDeadlineSeconds")
    began = (job.get("status") or {}).get("startTime") or job["metadata"].get("creationTimestamp")
    began_at = parse_instant_or_none(began)
    if began_at is None or not isinstance(seconds, int):
        return None
    return began_at + max(timedelta(seconds=seconds) - DEADLINE_MARGIN, timedelta(0))
