"""Script steps, through the whole operator and real programs. Also on the real control plane.

The node of these tests gives containers no namespaces, so the file of the inputs is below ``BUBU_VOLUME_ROOT``.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import orjson
import pytest

from core.api import keys
from core.api.objects import Object
from core.api.resource import JOB, POD, STEP_RUN, STORY, STORY_RUN
from core.policy.settings import OperatorSettings, ScriptSettings
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step_phases

ALLOWED = OperatorSettings(scripts=ScriptSettings(("busybox", "python:*"), "busybox"))
COUNT = """
import json, os
inputs = json.load(open(os.environ["BUBU_VOLUME_ROOT"] + os.environ["BUBU_INPUTS"]))
print(json.dumps({"words": len(inputs["text"].split()), "braces": "{{ inputs.text }}"}))
"""


@pytest.fixture
def scripts(world: OperatorCluster) -> OperatorCluster:
    """The world with programs for the images of scripts, which a container's ``command`` replaces."""
    images = {"busybox": {"command": ["/bin/sh"]}, "python:*": {"command": [sys.executable]}}
    world.image_map.write_bytes(orjson.dumps({"images": images}))
    return world


def count(**fields: object) -> Object:
    return {
        "name": "count",
        "run": COUNT,
        "image": "python:3.12-slim",
        "shell": [sys.executable, "-c"],
        "with": {"text": "{{ inputs.text }}"},
        **fields,
    }


async def test_scripts_read_their_inputs_and_print_their_output(scripts: OperatorCluster) -> None:
    world = scripts
    last = {
        "name": "show",
        "run": 'sed "s/^/got /" "$BUBU_VOLUME_ROOT$BUBU_INPUTS"',
        "with": {"n": "{{ steps.count.output.words }}"},
    }
    await world.story("report", count(), last, output={"n": "{{ steps.count.output }}", "m": "{{ steps.show.output }}"})
    async with world.operator(ALLOWED):
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "report"}, "inputs": {"text": "$(a) b ; c"}})
        run = await world.finished("one")
        made = await world.client.get(STEP_RUN, "one-count", NAMESPACE_NAME)
        [pod, *_] = (await world.client.list(POD, NAMESPACE_NAME)).items
    assert status_of(run)["output"] == {
        "n": {"words": 4, "braces": "{{ inputs.text }}"},
        "m": {"text": 'got {"n":4}'},
    }
    assert made["spec"]["script"] == {"run": COUNT, "image": "python:3.12-slim", "shell": [sys.executable, "-c"]}
    assert "engramRef" not in made["spec"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert keys.LABEL_ENGRAM not in pod["metadata"]["labels"]


async def test_a_script_is_retried_limited_and_run_again_like_any_step(scripts: OperatorCluster) -> None:
    world = scripts
    directory = world.image_map.parent
    again = {"retry": {"maxRetries": 2, "delay": "10ms"}, "timeout": "30s"}
    fails = {"name": "work", "run": f"test -e {directory}/ok && echo 7 || exit 137", "execution": again}
    branch = {"name": "each", "run": 'cat "$BUBU_VOLUME_ROOT$BUBU_INPUTS"', "with": {"i": "{{ item }}"}}
    fan = {"name": "fan", "type": "parallel", "needs": ["work"], "with": {"forEach": [1, 2], "steps": [branch]}}
    await world.story("report", fails, fan, policy={"concurrency": 1, "execution": {"resources": {"cpuLimit": "300m"}}})
    async with world.operator(ALLOWED):
        await world.run("one", "report")
        failed = await world.finished("one")
        first = status_of(await world.client.get(STEP_RUN, "one-work", NAMESPACE_NAME))
        job = await world.client.get(JOB, "one-work", NAMESPACE_NAME)
        (directory / "ok").touch()
        redrive = {"metadata": {"annotations": {keys.ANNOTATION_REDRIVE_FROM_STEP: "work:again"}}}
        await world.client.patch(STORY_RUN, "one", redrive, namespace=NAMESPACE_NAME)
        run = await world.until(STORY_RUN, "one", lambda run: status_of(run).get("phase") == "Succeeded")
        items = [await world.client.get(STEP_RUN, f"one-fan-{number}", NAMESPACE_NAME) for number in (0, 1)]
    assert (status_of(failed)["phase"], first["retries"], first["exitCode"]) == ("Failed", 2, 137)
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["cpu"] == "300m"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert step_phases(run) == {"fan": "Succeeded", "fan/0": "Succeeded", "fan/1": "Succeeded", "work": "Succeeded"}
    assert [status_of(item)["output"] for item in items] == [{"i": 1}, {"i": 2}]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ScriptSettings(), ["not allowed here", "scripts.images"]),
        (ScriptSettings(("busybox",)), ["python:3.12-slim is not an image", "busybox"]),
    ],
)
async def test_an_image_that_the_platform_does_not_allow_is_refused(
    scripts: OperatorCluster, settings: ScriptSettings, words: list[str]
) -> None:
    world = scripts
    await world.story("report", count())
    async with world.operator(replace(ALLOWED, scripts=settings)):
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "report"}, "inputs": {"text": ""}})
        run = await world.finished("one")
    state = status_of(run)["stepStates"]["count"]
    assert (state["phase"], state["reason"]) == ("Failed", "InvalidConfiguration")
    assert [word for word in words if word not in state["message"]] == []
    assert await world.names(JOB) == []


async def test_a_script_in_v1beta1_is_the_same_script(scripts: OperatorCluster) -> None:
    """Fields of scripts have the same names in both versions; the server checks that a step has one kind of work."""
    world = scripts
    made = await world.story("report", count())
    assert made["spec"]["steps"][0]["run"] == COUNT
    both = {"steps": [count(ref={"name": "x"})]}
    with pytest.raises(Exception, match="exactly one of ref, type or run"):
        await world.create(STORY, "wrong", both)
