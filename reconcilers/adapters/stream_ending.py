"""How a realtime step ends: the next thing to do about it, from one look. Pure.

The annotations of the binding keep what has been decided, so that a restarted operator continues:

- The worker has exited with 0: the binding is marked as finished at once, because Kubernetes starts the container again
  and the hub must not admit it; then the workload is removed.
- The hub says that the step has got everything: the binding is marked as ending, the workload is removed, and when no
  Pod is left, the binding is marked as finished. Until then the worker may still send, e.g. a last sum.
- The step was asked to end: the same; a source, which nothing drains, is removed at once.
- A client of a source wants to connect again: it may, if the worker has not exited. Of a worker that has exited, that
  is seen at the latest now, because a node reports an end before it starts the container again.
- A step that starts a Job for each packet has no workload: the marks alone tell how far its end has come.
- The end of the step is recorded: what is left of it goes, and the binding is marked as finished.

Source: streaming contract 6.1 and 14, in the improved form.
"""

from __future__ import annotations

from enum import StrEnum

from core.engine.step import record
from core.workloads import stream_binding
from reconcilers.adapters.stream_look import StreamLook, attempt_of


class EndStep(StrEnum):
    """One step towards the end of a realtime step; each is idempotent."""

    NOTHING = "nothing"
    MARK_FINISHED = "mark-finished"
    MARK_DRAINED = "mark-drained"
    MARK_CANCELED = "mark-canceled"
    REMOVE_WORKLOAD = "remove-workload"
    LET_RETURN = "let-return"
    """The source has not ended: its client may connect again. Look at its Pods first, in the API server."""


def next_end_step(look: StreamLook) -> EndStep:
    """What to do now; after doing it, look again."""
    status = look.step_run.get("status") or {}
    if record.is_final(status):
        return _after_the_end(look)
    binding, workload = look.current_binding, look.standing_workload
    if binding is None:
        return EndStep.NOTHING
    is_current = workload is not None and attempt_of(workload) == look.attempt
    if stream_binding.is_finished(binding):
        return EndStep.REMOVE_WORKLOAD if is_current else EndStep.NOTHING
    if look.has_exited:
        return EndStep.MARK_FINISHED
    if stream_binding.ending_of(binding):
        if is_current:
            return EndStep.REMOVE_WORKLOAD
        return EndStep.NOTHING if workload is not None or look.is_alive else EndStep.MARK_FINISHED
    if not is_current and look.jobs_binding is None:
        return EndStep.NOTHING
    is_drained = stream_binding.is_drained(binding)
    if record.end_is_requested(look.step_run):
        goes = is_drained or stream_binding.is_source(binding)
        return EndStep.MARK_CANCELED if goes else EndStep.NOTHING
    if is_drained:
        return EndStep.MARK_DRAINED
    return EndStep.LET_RETURN if stream_binding.asks_to_return(binding) else EndStep.NOTHING


def _after_the_end(look: StreamLook) -> EndStep:
    if look.standing_workload is not None:
        return EndStep.REMOVE_WORKLOAD
    binding = look.binding
    if binding is None or look.is_alive or look.workload is not None or stream_binding.is_finished(binding):
        return EndStep.NOTHING
    return EndStep.MARK_FINISHED
