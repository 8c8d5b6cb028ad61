"""The creation of a StepRun. Where the StepRun is all that there is of an attempt, its creation starts the first.

One write instead of two. It is only for a step that surely starts for the first time: what has a past is created first,
and started after the checks of ``start_attempt``. Source: StepRun contract 3.5.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from core.api.objects import Object
from core.engine.calls import committed, patiently
from core.engine.concurrency.rules import LONGEST_CHAIN, parent_of
from core.engine.context.step_context import StepContext
from core.engine.errors import RejectedError
from core.engine.ports import AttemptOrder, Binding, RunKey, StepError
from core.engine.primitives.attempt import AttemptPreparation
from core.engine.primitives.earlier_output import reuses_from
from core.engine.step.past import may_have_a_past, may_have_begun
from core.workloads.output_cache import CacheRules


@asynccontextmanager
async def start_turn(context: StepContext, binding: Binding, manifest: Object) -> AsyncIterator[None]:
    """The block creates a StepRun and starts its first attempt, and holds a turn. None is needed where one write does
    both; and none is held while an output of an equal execution is looked for, which can take long.
    """
    if context.engine.executors.of(manifest).lives_by_record or CacheRules.of(binding.cache) is not None:
        yield
        return
    async with context.engine.starts.turn(context.key.namespace):
        yield


@dataclass(frozen=True, slots=True)
class CreatedStepRun:
    step_run: Object
    order: AttemptOrder | StepError | None = None
    """That of the first attempt, if it was prepared before the creation."""


async def create_step_run(
    context: StepContext, binding: Binding, run: Object, manifest: Object, *, again: bool, lingers: bool
) -> CreatedStepRun:
    """Create the StepRun, with an assignment of its first attempt if a worker has room.

    Args:
        run: as it was stored when the creation was decided on.
        again: there was a StepRun of this name.
        lingers: something may still run for it.
    Raises:
        PortError: as ``StepRuns.create_step_run``.
    """
    order: AttemptOrder | StepError | None = None
    executor = context.engine.executors.of(manifest)
    async with AsyncExitStack() as stack:
        if executor.lives_by_record and not again and not lingers and await _starts_at_once(context, binding, run):
            order = await AttemptPreparation(context, binding, waits=False).order(manifest)
            if not isinstance(order, StepError):
                try:
                    await context.run_context.access.ensure()
                    manifest = _with(manifest, await stack.enter_async_context(executor.assigned(order)))
                except RejectedError:  # recorded in the StepRun, when its start is refused for the same reason
                    pass
        stored = await committed(context.engine.step_runs.create_step_run, run, manifest, again)
    return CreatedStepRun(stored, order)


async def _starts_at_once(context: StepContext, binding: Binding, run: Object) -> bool:
    """Whether the step surely starts for the first time, and no output of an equal execution is looked up before."""
    if CacheRules.of(binding.cache) is not None or reuses_from(run) or may_have_begun(run, context.step.name):
        return False
    above: dict[tuple[str, str], Object | None] = {}
    one: Object | None = run
    while one is not None and len(above) < LONGEST_CHAIN and (parent := parent_of(one)) is not None:
        key = RunKey(str(one["metadata"]["namespace"]), str(parent.get("name")))
        one = above[key] = await patiently(context.engine.runs.read_run, key, pace=context.pace())
    return not may_have_a_past(run, lambda namespace, name: above.get((namespace, name)))


def _with(manifest: Object, added: Mapping[str, Any] | None) -> Object:
    """The manifest with further labels and annotations."""
    if not added:
        return manifest
    metadata = dict(manifest["metadata"])
    for field in ("labels", "annotations"):
        if more := added.get(field):
            metadata[field] = {**(metadata.get(field) or {}), **more}
    return {**manifest, "metadata": metadata}
