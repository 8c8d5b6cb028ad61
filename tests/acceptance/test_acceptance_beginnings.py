"""StoryRun contract 26.1 and 26.2 (rows 1 to 7): how runs begin, what they refuse, and which steps start."""

from __future__ import annotations

from bubu_contract.instants import format_instant, parse_instant
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, STEP_RUN, STORY, STORY_RUN, Resource
from core.workloads.story_runner import story_of_runner
from fuzz.engine.worker import Script
from tests.acceptance.acceptance_stand import (
    Rig,
    Stand,
    condition,
    ended,
    engram,
    phases,
    reached,
    scenario,
    status_of,
)

CHAIN = {"steps": [engram("a"), engram("b", "a")]}
RUN = {"storyRef": {"name": "story"}}


def labels(stand: Stand) -> dict[str, str]:
    """Labels of the run."""
    run = stand.find(STORY_RUN, "run")
    return dict(run["metadata"].get("labels") or {}) if run is not None else {}


def access(stand: Stand) -> list[tuple[Resource, str]]:
    """Kind and Story of everything that gives the containers of Stories their rights."""
    found = ((kind, story_of_runner(obj)) for kind in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING) for obj in stand.all(kind))
    return [(kind, story.partition("/")[2]) for kind, story in found if story]


@scenario()
async def test_26_1_two_steps_in_a_row(stand: Stand) -> None:
    stand.hold("a")
    await stand.create(STORY, "story", {**CHAIN, "policy": {"queue": "fast"}})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "a", "Running")
    running = stand.find(STORY_RUN, "run")
    assert running is not None
    begun = status_of(running)
    assert (begun["phase"], begun["attempts"], begun["triggerTokens"]) == ("Running", 1, ["story", "impulse"])
    assert (condition(running, "Ready"), condition(running, "Progressing")[0]) == (
        ("False", "StartingExecution"),
        "True",
    )
    assert condition(running, "Degraded")[0] == "False"
    assert "b" not in phases(running)
    await stand.until(lambda: labels(stand).get("bubustack.io/queue") == "fast", "the run says its queue")
    if stand.rig is not Rig.MODEL:  # what else the containers of steps need
        await stand.until(lambda: len(access(stand)) == 2, "steps have an account")
        assert access(stand) == [(SERVICE_ACCOUNT, "story"), (ROLE_BINDING, "story")]
    stand.let_go("a")
    run = await ended(stand)
    status = status_of(run)
    assert (status["phase"], phases(run)) == ("Succeeded", {"a": "Succeeded", "b": "Succeeded"})
    assert stand.ran == ["a", "b"]
    assert (status["stepsTotal"], status["stepsComplete"]) == (2, 2)
    assert (condition(run, "Ready"), condition(run, "Progressing")[0]) == (("True", "Completed"), "False")
    assert status["triggerTokens"] == ["story", "impulse", "impulse-success"]
    assert {"startedAt", "finishedAt", "duration"} <= set(status)
    assert {obj["metadata"]["name"] for obj in stand.all(STEP_RUN)} == {"run-a", "run-b"}


@scenario(disturbs=True)
async def test_26_1_children_go_after_an_hour_and_the_run_after_a_day(stand: Stand) -> None:
    await stand.create(STORY, "story", CHAIN)
    await stand.create(STORY_RUN, "run", RUN)
    await ended(stand)
    for seconds_ago, is_cleaned in ((3_500, False), (3_601, True)):
        async with stand.away():
            await _move_back(stand, seconds_ago)
        if is_cleaned:
            await stand.until(
                lambda: "childrenCleanedAt" in status_of(stand.find(STORY_RUN, "run")), "children cleaned"
            )
            await stand.until(lambda: not stand.all(STEP_RUN), "StepRuns are gone")
        else:
            await stand.pause(0.5)
            assert len(stand.all(STEP_RUN)) == 2
    async with stand.away():
        await _move_back(stand, 86_401)
    await stand.until(lambda: stand.find(STORY_RUN, "run") is None, "the run is gone")


async def _move_back(stand: Stand, seconds: float) -> None:
    """Set the end of the run to an earlier time."""
    run = stand.find(STORY_RUN, "run")
    assert run is not None
    created = parse_instant(run["metadata"]["creationTimestamp"])
    earlier = format_instant(type(created).fromtimestamp(created.timestamp() - seconds, created.tzinfo))
    await stand.patch(STORY_RUN, "run", {"status": {"finishedAt": earlier}}, "status")


@scenario()
async def test_26_2_1_inputs_beyond_the_limit(stand: Stand) -> None:
    await stand.create(STORY, "story", CHAIN)
    await stand.create(STORY_RUN, "run", {**RUN, "inputs": {"x": "y" * 1017}})
    run = await ended(stand)
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Failed", ("False", "InputTooLarge"))
    assert "1025 bytes" in status_of(run)["message"]
    assert stand.all(STEP_RUN) == []


@scenario()
async def test_26_2_2_defaults_of_the_schema_reach_templates(stand: Stand) -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "default": "eu"}}}
    steps = [engram("a", if_='{{ eq inputs.region "eu" }}')]
    story = {"steps": steps, "inputsSchema": schema, "output": {"region": "{{ inputs.region }}"}}
    await stand.create(STORY, "story", story)
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], status_of(run)["output"]) == ("Succeeded", {"region": "eu"})
    assert stand.ran == ["a"]
    assert status_of(run)["inputSchemaRef"] == {"ref": f"bubu://story/{stand.namespace}/story/inputs"}


@scenario()
async def test_26_2_3_inputs_that_violate_the_schema_after_defaults(stand: Stand) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}, "required": ["n", "m"]}
    await stand.create(STORY, "story", {**CHAIN, "inputsSchema": schema})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Failed", ("False", "InputSchemaFailed"))
    assert "m" in status_of(run)["message"]
    assert stand.all(STEP_RUN) == []


@scenario()
async def test_26_2_4_a_story_that_is_absent(stand: Stand) -> None:
    await stand.create(STORY_RUN, "run", RUN)
    await stand.until(lambda: status_of(stand.find(STORY_RUN, "run")).get("phase") == "Pending", "the run is Pending")
    run = stand.find(STORY_RUN, "run")
    assert run is not None
    assert condition(run, "Ready") == ("False", "StoryNotFound")
    assert "startedAt" not in status_of(run)
    await stand.until(lambda: ("Warning", "StoryNotFound") in stand.told(), "the missing Story is told of")


@scenario()
async def test_26_3_07_a_run_created_before_its_story(stand: Stand) -> None:
    await stand.create(STORY_RUN, "run", RUN)
    await stand.until(lambda: status_of(stand.find(STORY_RUN, "run")).get("phase") == "Pending", "the run is Pending")
    stand.hold("a")
    await stand.create(STORY, "story", CHAIN)
    await reached(stand, "a", "Running")
    begun = status_of(stand.find(STORY_RUN, "run"))
    assert (begun["phase"], begun["attempts"]) == ("Running", 1)
    assert "startedAt" in begun
    stand.let_go("a")
    assert status_of(await ended(stand))["phase"] == "Succeeded"


@scenario()
async def test_26_2_5_graphs_that_cannot_be(stand: Stand) -> None:
    for name, steps, words in (
        ("ghost", [engram("a", "ghost")], "ghost"),
        ("circle", [engram("a", "b"), engram("b", "a")], "a"),
    ):
        await stand.create(STORY, name, {"steps": steps})
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}})
        run = await ended(stand, name)
        assert (status_of(run)["phase"], condition(run, "Ready")) == ("Failed", ("False", "InvalidConfiguration"))
        assert status_of(run)["error"]["type"] == "InvalidConfiguration"
        assert words in status_of(run)["message"]
    assert stand.ran == []


@scenario()
async def test_26_2_6_an_if_that_is_false(stand: Stand) -> None:
    await stand.create(STORY, "story", {"steps": [engram("a", if_="{{ inputs.go }}"), engram("b", "a")]})
    await stand.create(STORY_RUN, "run", {**RUN, "inputs": {"go": False}})
    run = await ended(stand)
    assert phases(run) == {"a": "Skipped", "b": "Succeeded"}
    assert (status_of(run)["phase"], status_of(run)["stepsSkipped"]) == ("Succeeded", 1)
    assert stand.ran == ["b"]


@scenario()
async def test_26_2_7_an_if_that_names_a_predecessor_at_work(stand: Stand) -> None:
    stand.hold("a", Script(output={"go": True}, after_seconds=0.0))
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", if_="{{ steps.a.output.go }}")]})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "a", "Running")
    await stand.pause(0.3)
    assert "b" not in phases(stand.find(STORY_RUN, "run"))
    stand.let_go("a")
    run = await ended(stand)
    assert phases(run) == {"a": "Succeeded", "b": "Succeeded"}
    assert stand.ran == ["a", "b"]
