"""Two operators with disjoint keys, and a run that is handed from one to the other while it executes."""

from __future__ import annotations

from functools import partial

from core.api.keys import LABEL_STORY_RUN
from core.api.objects import NamespacedName, Object
from core.api.resource import JOB, STEP_RUN, STORY_RUN
from core.ownership.ownership import OwnedKey
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of

ONE = NamespacedName(NAMESPACE_NAME, "one")


class Share:
    """The keys that one of them owns: all or none, except for some keys."""

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self.exceptions: set[OwnedKey] = set()

    def owns(self, key: OwnedKey) -> bool:
        return self._everything != (key in self.exceptions)


def phase_of_step(run: Object, name: str) -> object:
    return ((status_of(run).get("stepStates") or {}).get(name) or {}).get("phase")


async def has_job(world: OperatorCluster, run: str) -> bool:
    jobs = (await world.client.list(JOB, NAMESPACE_NAME)).items
    return any(job["metadata"]["labels"].get(LABEL_STORY_RUN) == run for job in jobs)


async def test_a_run_is_handed_over_while_its_step_is_at_work(world: OperatorCluster) -> None:
    await world.engram("slow", "sleep 1")
    await world.engram("quick")
    await world.story(
        "report", {"name": "a", "ref": {"name": "slow"}}, {"name": "b", "ref": {"name": "quick"}, "needs": ["a"]}
    )
    old, new = Share(everything=True), Share(everything=False)
    async with world.operator_owning(old) as (first, of_first), world.operator_owning(new) as (second, of_second):
        await world.run("one", "report")
        await world.run("two", "report")
        await world.until(STORY_RUN, "one", lambda run: phase_of_step(run, "a") == "Running")
        await world.eventually(partial(has_job, world, "one"))  # the run's status may say Running before that
        of_one_process = len(of_second.writes)

        old.exceptions.add(ONE)
        await first.release(ONE)
        new.exceptions.add(ONE)
        second.adopt(ONE)
        one, two = await world.finished("one"), await world.finished("two")

        assert of_one_process == 0
        assert (status_of(one)["phase"], status_of(two)["phase"]) == ("Succeeded", "Succeeded")
        assert of_second.writes["POST stepruns"] == 1  # for its second step
        assert of_second.writes["POST jobs"] in (1, 2)  # if the watch of Jobs is late, the first one is found this way
        assert of_first.writes["POST stepruns"] == of_first.writes["POST jobs"] == 3
        assert status_of(one)["attempts"] == 1
    step_runs, jobs = await world.client.list(STEP_RUN, NAMESPACE_NAME), await world.client.list(JOB, NAMESPACE_NAME)
    assert len(step_runs.items) == len(jobs.items) == 4
