"""The creation of a StepRun. Where the StepRun is all that there is of an attempt, its creation starts the first.

One write instead of two. It is only for a step that surely starts for the first time: what has a past is created first,
and started after the checks of ``AttemptExecutor.start``. Source: StepRun contract 3.5.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from core.api.objects import NamespacedName, Object
from core.engine.calls import committed, patiently
from core.engine.concurrency.rules import LONGEST_CHAIN, parent_of
from core.engine.context.step_context import StepContext
from core.engine.errors import RejectedError
from core.engine.ports import AttemptOrder, Binding, StepError, StepRuns
from core.engine.primitives.attempt import AttemptPreparation
from core.engine.primitives.earlier_output import reuses_from
from core.engine.step.past import may_have_a_past, may_have_begun
from core.workloads.output_cache import CacheRules


@asynccontextmanager
async def start_turn(context: StepContext, binding: Binding, manifest: Object) -> AsyncIterator[None]:
    """The block creates a StepRun and starts its first attempt, and holds a turn. None is needed where one write does
    both; and none is held while an output of an equal execution is looked for, which can take long.
    """
    if context.engine.executors.traits_of(manifest).lives_by_record or CacheRules.of(binding.cache) is not None:
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
    """Create the StepRun; where the creation can start the first attempt, with that if there is room.

    Args:
        run: as it was stored when the creation was decided on.
        again: there was a StepRun of this name.
        lingers: something may still run for it.
    Raises:
        PortError: as ``StepRuns.create_step_run``.
    """
    executors, creation = context.engine.executors, _Creation(context.engine.step_runs, run, manifest, again)
    order: AttemptOrder | StepError | None = None
    by_record = executors.traits_of(manifest).lives_by_record
    if by_record and not again and not lingers and await _starts_at_once(context, binding, run):
        order = await AttemptPreparation(context, binding, waits=False).order(manifest)
        if not isinstance(order, StepError):
            try:
                await context.run_context.access.ensure()
                await executors.start(replace(order, create=creation.create))
            except RejectedError:
                if creation.has_begun:
                    raise  # the StepRun is refused; else its attempt is, which the StepRun must record
    return CreatedStepRun(creation.step_run or await creation.create({}), order)


class _Creation:
    """The creation of one StepRun."""

    def __init__(self, step_runs: StepRuns, run: Object, manifest: Object, again: bool) -> None:
        self._step_runs = step_runs
        self._run = run
        self._manifest = manifest
        self._again = again
        self.has_begun = False
        self.step_run: Object | None = None
        """As it is stored; None: it is not created yet."""

    async def create(self, added: Object) -> Object:
        """Create it, with further labels and annotations."""
        manifest, self.has_begun = _with(self._manifest, added), True
        self.step_run = await committed(self._step_runs.create_step_run, self._run, manifest, self._again)
        return self.step_run


async def _starts_at_once(context: StepContext, binding: Binding, run: Object) -> bool:
    """Whether the step surely starts for the first time, and no output of an equal execution is looked up before."""
    if CacheRules.of(binding.cache) is not None or reuses_from(run) or may_have_begun(run, context.step.name):
        return False
    above: dict[tuple[str, str], Object | None] = {}
    one: Object | None = run
    while one is not None and len(above) < LONGEST_CHAIN and (parent := parent_of(one)) is not None:
        key = NamespacedName(str(one["metadata"]["namespace"]), str(parent.get("name")))
        one = above[key] = await patiently(context.engine.runs.read_run, key, pace=context.pace())
    return not may_have_a_past(run, lambda namespace, name: above.get((namespace, name)))


def _with(manifest: Object, added: Object) -> Object:
    """The manifest with further labels and annotations."""
    if not added:
        return manifest
    metadata = dict(manifest["metadata"])
    for field in ("labels", "annotations"):
        if more := added.get(field):
            metadata[field] = {**(metadata.get(field) or {}), **more}
    return {**manifest, "metadata": metadata}
