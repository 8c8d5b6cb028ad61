"""The mark by which a StepRun is asked to end. Programs read this mark, never a message."""

from __future__ import annotations

from core.api import keys
from core.api.objects import Object
from core.engine.calls import committed
from core.engine.engine_context import EngineContext
from core.engine.step.record import end_is_requested


async def asked_to_end(engine: EngineContext, step_run: Object) -> Object:
    """The StepRun with the mark; nothing is written if it has the mark already.

    Raises:
        PortError: as ``StepRuns.patch_step_run_metadata``.
    """
    if end_is_requested(step_run):
        return step_run
    patch = {"annotations": {keys.ANNOTATION_CANCEL_REQUESTED: "true"}}
    return await committed(engine.step_runs.patch_step_run_metadata, step_run, patch)
