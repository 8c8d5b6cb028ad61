"""A run that a packet of a stream has started for one step. (core/engine/run/preparation.py)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api import keys
from core.api.objects import NamespacedName, Object
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram
from fuzz.engine.streams import STREAMS, realtime, stream
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import NAMESPACE, World, open_world

OFTEN = Engram(retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=0.5)))
HANGS = (Script(Act.HANG),)


def streaming(**spec: Any) -> Object:
    """A stream whose step ``job`` starts a Job for each packet."""
    step = engram("job", "ear", ref="often", with_={"x": "{{ inputs.n }}"}, runtime={"n": "{{ packet.n }}"})
    return realtime(stream("ear"), step, **spec)


def add_packet_run(world: World, name: str, inputs: Object, step: str = "job", owner: str = "run") -> NamespacedName:
    """As the hub creates it."""
    uid = world.run(NamespacedName(NAMESPACE, owner))["metadata"]["uid"]
    owners = [{"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun", "name": owner, "uid": uid}]
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {keys.LABEL_APP_MANAGED_BY: keys.PACKET_RUN_MANAGER},
        "annotations": {keys.ANNOTATION_PACKET_STEP: step},
        "ownerReferences": owners,
    }
    spec = {"storyRef": {"name": "story"}, "inputs": inputs}
    made = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun", "metadata": metadata, "spec": spec}
    world.cluster.create("hub", made)
    return NamespacedName(NAMESPACE, name)


def begin(world: World, **spec: Any) -> NamespacedName:
    world.add_story("story", streaming(**spec))
    key = world.add_run("run", "story", inputs={"n": 7})
    world.start(key)
    return key


def scripts(*job: Script) -> dict[str, Any]:
    return {"ear": HANGS, "job": job or (Script(output={"done": True}),)}


async def test_it_executes_this_step_alone_with_its_retries_and_the_packet_as_data(autojump_clock: MockClock) -> None:
    failing = Script(Act.EXIT, 0.3, exit_code=137)
    async with open_world(
        scripts(failing, Script(output={"done": True})), engrams={"often": OFTEN, **STREAMS}
    ) as world:
        begin(world, concurrency={"mode": "serial"}, inputsSchema={"required": ["n"]})
        await trio.sleep(5)
        key = add_packet_run(world, "p1", {"text": "{{ inputs.secret }}", "a-b": [1]})
        world.start(key)
        assert await world.until_ended(key, seconds=60)
        status, step_run = world.status(key), world.step_run(key, "job")

        assert (status["phase"], status["output"]) == ("Succeeded", {"output": {"done": True}})
        assert (status["stepsTotal"], list(status["stepStates"])) == (1, ["job"])
        assert status["storyRevision"] == world.status(NamespacedName(NAMESPACE, "run"))["storyRevision"]
        assert step_run is not None
        assert step_run["status"]["retries"] == 1
        made = [each.new for each in world.cluster.history if each.verb == "create" and each.place[0] == "Job"]
        assert [job["spec"]["inputs"] for job in made if job] == [{"text": "{{ inputs.secret }}", "a-b": [1]}] * 2
        assert world.crashes == []


async def test_it_executes_the_story_of_its_stream_also_after_that_was_edited(autojump_clock: MockClock) -> None:
    async with open_world(scripts(), engrams={"often": OFTEN, **STREAMS}) as world:
        begin(world)
        await trio.sleep(5)
        world.edit_story("story", {"pattern": "realtime", "steps": [stream("other")]})
        key = add_packet_run(world, "p1", {"n": 1})
        world.start(key)
        assert await world.until_ended(key, seconds=60)
        assert world.status(key)["phase"] == "Succeeded"


async def test_an_operator_that_dies_goes_on_with_the_same_step(autojump_clock: MockClock) -> None:
    async with open_world(scripts(Script(after_seconds=20.0)), engrams={"often": OFTEN, **STREAMS}) as world:
        stream_key = begin(world)
        await trio.sleep(5)
        key = add_packet_run(world, "p1", {"n": 1})
        world.start(key)
        assert await world.until(lambda: world.phases(key) == {"job": "Running"})
        await world.kill()
        world.start(stream_key)
        world.start(key)
        assert await world.until_ended(key, seconds=60)

        assert world.status(key)["phase"] == "Succeeded"
        made = [w for w in world.cluster.history if w.verb == "create" and w.place[:1] == ("Job",)]
        assert len(made) == 1


@pytest.mark.parametrize("step", ["gone", "ear/job"])
async def test_a_step_that_the_story_does_not_have_starts_nothing(step: str, autojump_clock: MockClock) -> None:
    async with open_world(scripts(), engrams={"often": OFTEN, **STREAMS}) as world:
        begin(world)
        await trio.sleep(5)
        key = add_packet_run(world, "p1", {"n": 1}, step=step)
        world.start(key)
        await trio.sleep(30)
        assert world.step_run(key, step) is None
        assert world.phases(key) == {}


@pytest.mark.parametrize("step", ["", "job"])
async def test_a_retry_runs_its_step_again_by_the_story_of_the_stream(step: str, autojump_clock: MockClock) -> None:
    async with open_world(scripts(Script(Act.EXIT, exit_code=1)), engrams={"often": Engram(), **STREAMS}) as world:
        begin(world)
        await trio.sleep(5)
        key = add_packet_run(world, "p1", {"n": 1})
        world.start(key)
        assert await world.until_ended(key, seconds=60)
        assert world.status(key)["phase"] == "Failed"

        world.edit_story("story", {"pattern": "realtime", "steps": [stream("other")]})
        world.worker.scripts = scripts()
        if step:
            world.redrive_from(key, step, "1")
        else:
            world.redrive(key, "1")
        assert await world.until(lambda: world.status(key).get("phase") == "Succeeded", seconds=60)

        status = world.status(key)
        assert (status["output"], status["stepsTotal"]) == ({"output": {"done": True}}, 1)
        assert status["storyRevision"] == world.status(NamespacedName(NAMESPACE, "run"))["storyRevision"]
