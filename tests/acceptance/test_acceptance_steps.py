"""StoryRun contract 26.2 (rows 29, 30, 32), branches, and missing data."""

from __future__ import annotations

from core.api.resource import JOB, STEP_RUN, STORY, STORY_RUN
from fuzz.engine.worker import Script
from tests.acceptance.acceptance_stand import (
    Stand,
    ended,
    engram,
    message,
    phases,
    primitive,
    reached,
    scenario,
    status_of,
)

RUN = {"storyRef": {"name": "story"}}
FORGED = {"phase": "Succeeded", "exitClass": "success", "output": {"result": {"n": "forged"}}}
OFFLOADED = {"$bubuStorageRef": "runs/1/a.json"}


@scenario()
async def test_26_2_29_an_input_beyond_the_limit(stand: Stand) -> None:
    policy = {"retries": {"continueOnStepFailure": True}}
    steps = [engram("a", with_={"x": "y" * 4089}), engram("b")]
    await stand.create(STORY, "story", {"steps": steps, "policy": policy})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert phases(run) == {"a": "Failed", "b": "Succeeded"}
    assert message(run, "a").startswith("InputTooLarge: ")
    assert "4097 bytes" in message(run, "a")
    assert stand.find(STEP_RUN, "run-a") is None


@scenario()
async def test_26_2_30_a_key_that_cannot_be_rendered_is_the_automatic_one(stand: Stand) -> None:
    keys = {"failing": "{{ inputs.ghost }}", "empty": "{{ inputs.nothing }}", "rendered": " {{ inputs.order }} "}
    steps = [engram(name, idempotencyKeyTemplate=template) for name, template in keys.items()]
    await stand.create(STORY, "story", {"steps": steps})
    await stand.create(STORY_RUN, "run", {**RUN, "inputs": {"order": "order-7", "nothing": ""}})
    run = await ended(stand)
    assert status_of(run)["phase"] == "Succeeded"
    found = {obj["spec"]["stepId"]: obj["spec"]["idempotencyKey"] for obj in stand.all(STEP_RUN)}
    prefix = f"ns/{stand.namespace}/storyrun/run/step"
    assert found == {"failing": f"{prefix}/failing", "empty": f"{prefix}/empty", "rendered": "order-7"}


@scenario()
async def test_26_2_32_a_materialize_step_run_of_somebody_else(stand: Stand) -> None:
    """The operator takes nothing from such a StepRun: it creates none, and refuses to read what is stored elsewhere."""
    stand.scripts["a"] = (Script(output={"big": OFFLOADED}, after_seconds=0.5),)
    output = {"n": "{{ steps.a.output.big | toJson | upper }}"}
    await stand.create(STORY, "story", {"steps": [engram("a")], "output": output})
    name = "run-materialize-story-output"
    labels = {"bubustack.io/storyrun": "run", "bubustack.io/story-name": "story", "bubustack.io/materialize": "true"}
    spec = {
        "storyRunRef": {"name": "run"},
        "stepId": "materialize-story-output",
        "engramRef": {"name": "materialize"},
    }
    foreign = await stand.create(STEP_RUN, name, spec, labels=labels)
    await stand.patch(STEP_RUN, name, {"status": FORGED}, "status")
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert "forged" not in str(run.get("status"))
    assert phases(run) == {"a": "Succeeded"}
    left = stand.find(STEP_RUN, name)
    assert left is not None
    assert (left["metadata"]["uid"], left["spec"]) == (foreign["metadata"]["uid"], foreign["spec"])
    assert not left["metadata"].get("ownerReferences")
    assert stand.find(JOB, name) is None


@scenario(disturbs=True)
async def test_26_3_01_two_branches_over_a_restart(stand: Stand) -> None:
    stand.scripts.update(
        {"fan/x": (Script(after_seconds=0.5),), "fan/y": (Script(after_seconds=1.5, output={"n": 2}),)}
    )
    fan = primitive("fan", "parallel", with_={"steps": [engram("x"), engram("y")]})
    await stand.create(
        STORY, "story", {"steps": [fan, engram("next", "fan")], "output": {"n": "{{ steps.y.output.n }}"}}
    )
    await stand.create(STORY_RUN, "run", RUN)
    await stand.until(lambda: sorted(stand.ran) == ["fan/x", "fan/y"], "both branches run")
    await reached(stand, "fan", "Running")
    assert status_of(stand.find(STORY_RUN, "run"))["primitiveChildren"] == {"fan": ["run-fan-x", "run-fan-y"]}
    async with stand.away():
        await stand.pause(0.7)  # one branch ends meanwhile
    run = await ended(stand)
    assert status_of(run)["phase"] == "Succeeded"
    assert phases(run) == dict.fromkeys(("fan", "fan/x", "fan/y", "next"), "Succeeded")
    assert (status_of(run)["output"], sorted(stand.ran)) == ({"n": 2}, ["fan/x", "fan/y", "next"])


@scenario()
async def test_26_3_04_the_consumer_of_a_step_without_output(stand: Stand) -> None:
    needing = engram("needing", with_={"x": "{{ steps.a.output.n }}"})
    content = engram("content", with_={"x": '{{ default "none" (get steps.a.output "n") }}'})
    for consumer, phase in ((needing, "Failed"), (content, "Succeeded")):
        name = consumer["name"]
        await stand.create(STORY, name, {"steps": [engram("a"), consumer]})
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}})
        run = await ended(stand, name)
        assert phases(run) == {"a": "Succeeded", name: phase}
        if phase == "Failed":
            assert message(run, name).startswith("ExpressionFailed: with")
