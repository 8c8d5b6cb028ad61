"""Runs that take outputs of an earlier run, with real Jobs, on the embedded or the real API server."""

from __future__ import annotations

from core.api import keys
from core.api.objects import Object
from core.api.resource import ENGRAM_TEMPLATE, JOB, STEP_RUN
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step

PLAIN = {"result": {"from": "stdout"}}


async def rerun(world: OperatorCluster, name: str, earlier: str) -> list[str]:
    """The steps of a new run that got a Job; the run may take outputs of ``earlier``."""
    before = await world.names(JOB)
    await world.run(name, "report", annotations={keys.ANNOTATION_CACHE_REUSE: earlier})
    await world.finished(name)
    return [job.removeprefix(f"{name}-") for job in await world.names(JOB) if job not in before]


async def status_of_step(world: OperatorCluster, name: str) -> Object:
    return status_of(await world.client.get(STEP_RUN, name, NAMESPACE_NAME))


async def test_what_has_succeeded_is_not_executed_again(world: OperatorCluster) -> None:
    """The second step fails; a new template mends it. The third tells somebody, and always executes."""
    await world.engram("load", "echo '{\"n\": 1}'", container=PLAIN)
    await world.engram("sum", "exit 3", container=PLAIN)
    await world.engram("tell", "echo '{\"told\": true}'", container=PLAIN)
    await world.story(
        "report",
        step("load", "load"),
        step("tell", "tell", sideEffects=True),
        step("sum", "sum", needs=["load"], **{"with": {"n": "{{ steps.load.output.n }}"}}),
    )
    async with world.operator():
        await world.run("one", "report")
        assert status_of(await world.finished("one"))["phase"] == "Failed"
        image = world.image("mended", "echo '{\"sum\": 2}'")
        await world.client.patch(ENGRAM_TEMPLATE, "sum", {"spec": {"image": image}})
        assert await rerun(world, "two", "one") == ["sum", "tell"]
    async with world.operator():
        assert await rerun(world, "three", "two") == ["tell"]
        await world.client.delete(STEP_RUN, "one-load", NAMESPACE_NAME)
        assert await rerun(world, "four", "one") == ["load", "sum", "tell"]
        assert await rerun(world, "five", "gone") == ["load", "sum", "tell"]

    first, again, third = [await status_of_step(world, f"{run}-sum") for run in ("two", "three", "five")]
    assert (first["output"], first.get("cached"), len(first["attempt"]["key"])) == ({"sum": 2}, None, 64)
    assert (again["phase"], again["output"], again["cached"]) == ("Succeeded", {"sum": 2}, True)
    assert again["cachedFrom"] == {
        "key": first["attempt"]["key"],
        "storedAt": first["finishedAt"],
        "storyRun": "two",
        "stepRun": "two-sum",
    }
    assert third["attempt"]["key"] == first["attempt"]["key"]
