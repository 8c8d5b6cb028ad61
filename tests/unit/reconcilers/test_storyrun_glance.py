"""For which runs a glance is enough, and that it says the same as the reconcile that it replaces."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from core.policy.settings import OperatorSettings
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After
from reconcilers.storyrun import StoryRunReconciler
from tests.unit.reconcilers.reconciler_samples import NOW, RecordingSupervisor, clock, open_world, run, step_run

MINUTE = timedelta(minutes=1)


def ended(ago: timedelta = MINUTE, **fields: Any) -> Object:
    status = {"phase": "Succeeded", "finishedAt": format_instant(NOW - ago), **fields.pop("status", {})}
    return run("old", status=status, **fields)


async def glanced(found: Object, *step_runs: Object) -> tuple[object, list[str]]:
    """The outcome, and the runs that were handed to the engine by a reconcile, where one is needed."""
    supervisor = RecordingSupervisor()
    async with open_world() as (client, world):
        world.story_runs.remember(found)
        for one in step_runs:
            world.step_runs.remember(one)
        reconciler = StoryRunReconciler(client, world, supervisor, clock(), OperatorSettings)
        outcome = reconciler.glance(Key.of(found))
        if outcome is not None:
            assert await reconciler.reconcile(Key.of(found)) == outcome
        return outcome, [key.name for key in supervisor.adopted]


async def test_a_finished_run_whose_time_has_not_come_waits_for_it() -> None:
    owner = ended()
    outcome, adopted = await glanced(owner, step_run(owner, status={"phase": "Succeeded"}))
    assert isinstance(outcome, After)
    assert timedelta() < outcome.delay <= timedelta(hours=1)
    assert not adopted


@pytest.mark.parametrize(
    "found",
    [
        run("new"),
        run("live", status={"phase": "Running"}),
        ended(meta={"deletionTimestamp": format_instant(NOW), "finalizers": [keys.FINALIZER_STORY_RUN]}),
        ended(meta={"annotations": {keys.ANNOTATION_REDRIVE_TOKEN: "again"}}),
        ended(timedelta(days=400)),
    ],
    ids=["new", "live", "being deleted", "to run again", "to be removed"],
)
async def test_other_runs_are_reconciled(found: Object) -> None:
    assert (await glanced(found))[0] is None


async def test_a_finished_run_with_a_step_that_has_not_ended_is_reconciled() -> None:
    owner = ended()
    assert (await glanced(owner, step_run(owner, status={"phase": "Running"})))[0] is None


async def test_a_finished_run_with_a_finalizer_of_the_reference_is_reconciled() -> None:
    owner = ended()
    held = step_run(owner, status={"phase": "Succeeded"}, meta={"finalizers": [keys.FINALIZER_STEP_RUN]})
    assert (await glanced(owner, held))[0] is None
