"""Carries out what ``stream_ending`` decides, step by step, until nothing is due."""

from __future__ import annotations

from typing import Final

from core.api import keys
from core.api.objects import Object
from core.workloads import stream_binding
from core.workloads.stream_binding import CANCELED, DRAINED, FINISHED
from reconcilers.adapters.stream_ending import EndStep, next_end_step
from reconcilers.adapters.stream_look import StreamLook
from reconcilers.adapters.stream_objects import StreamObjects

_MARKS: Final = {
    EndStep.MARK_FINISHED: {keys.ANNOTATION_STREAM_FINISHED: FINISHED},
    EndStep.MARK_DRAINED: {keys.ANNOTATION_STREAM_ENDING: DRAINED},
    EndStep.MARK_CANCELED: {keys.ANNOTATION_STREAM_ENDING: CANCELED},
}
_MOST_STEPS: Final = 4
"""Two marks and a removal, and one to spare: what a repeated look does not change, the next event does."""


class StreamEnds:
    """Several processes may do this at the same time: every write is bound to what it was decided on. In one process,
    the engine and the controller share one object, so that nothing is written twice.
    """

    def __init__(self, objects: StreamObjects) -> None:
        self._objects = objects
        self._at_work: set[str] = set()
        """UIDs of StepRuns that a task is at work for."""

    async def advance(self, first: StreamLook) -> None:
        """Do everything that is due now, beginning with what is due after the look ``first``. Nothing, if another task
        is at work for this StepRun: it looks again after each of its steps.

        Raises:
            StaleError, GoneError, UnavailableError, RejectedError: look again.
        """
        uid = first.step_run["metadata"]["uid"]
        if uid in self._at_work:
            return
        self._at_work.add(uid)
        try:
            look = first
            for _ in range(_MOST_STEPS):
                due = next_end_step(look)
                if due is EndStep.LET_RETURN:
                    look = await self._objects.with_stored_pods(look)
                    due = next_end_step(look)
                if due is EndStep.NOTHING:
                    return
                await self._do(due, look)
                look = self._objects.look(first.step_run)
        finally:
            self._at_work.discard(uid)

    async def _do(self, due: EndStep, look: StreamLook) -> None:
        if due is EndStep.REMOVE_WORKLOAD:
            assert look.workload is not None, "what is removed was seen"
            await self._objects.remove_runtime(look.workload)
            return
        assert look.binding is not None, "what is marked was seen"
        await self._objects.mark(look.binding, _marks(due, look.binding))


def _marks(due: EndStep, binding: Object) -> dict[str, str]:
    if due is EndStep.LET_RETURN:
        return {keys.ANNOTATION_STREAM_MAY_RETURN: stream_binding.asks_to_return(binding)}
    return dict(_MARKS[due])
