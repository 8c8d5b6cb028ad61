"""Steps with an output cache: what is executed, what comes from an earlier execution, and what follows from faults."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api import keys
from core.api.objects import NamespacedName
from core.engine.errors import StorageUnavailableError
from core.evaluation.evaluator import Evaluator
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram
from fuzz.engine.stored import ModelPayloads, value_of
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

CACHED = Engram(cache={}, max_inline_size_bytes=400, shares_store=True)
TAKES_A_SECOND = {"a": (Script(output={"n": 1}),), "b": (Script(output={"n": 2}),)}


async def play(world: World, *names: str, together: bool = False, **spec: Any) -> list[NamespacedName]:
    """Runs of the Story, one after the other or all at once; each process knows nothing of the one before."""
    found = []
    for name in names:
        found.append(world.add_run(name, "story", **spec))
        if not together:
            world.start(*found)
            assert await world.until_ended(*found)
            await world.kill()
    if together:
        world.start(*found)
        assert await world.until_ended(*found)
    await world.quiet()
    assert world.crashes == []
    return found


def executed(world: World) -> list[str]:
    """The StepRuns for which a Job was created."""
    places = [write.place for write in world.cluster.history if write.place[0] == "Job" and write.old is None]
    return sorted(name for _, _, name in places)


def step_of(world: World, key: NamespacedName, step: str = "a") -> dict[str, Any]:
    found = world.step_run(key, step)
    assert found is not None
    return dict(found)


def entries(world: World) -> dict[str, Any]:
    return {key: json.loads(content) for key, content in world.cluster.stored.items() if key.startswith("cache/")}


def told(world: World) -> list[str]:
    return [text for _, reason, text in world.events.told if reason == "OutputCacheUnavailable"]


async def test_an_equal_execution_is_taken_from_the_cache(autojump_clock: MockClock) -> None:
    async with open_world(TAKES_A_SECOND, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a"), engram("b", "a", with_={"n": "{{ steps.a.output.n }}"})]})
        _, again = await play(world, "one", "again")

        status = step_of(world, again)["status"]
        assert executed(world) == ["one-a", "one-b"]
        assert (status["phase"], status["output"], status["cached"]) == ("Succeeded", {"n": 1}, True)
        source = status["cachedFrom"]
        assert (source["storyRun"], source["stepRun"]) == ("one", "one-a")
        assert source["storedAt"] == step_of(world, NamespacedName("default", "one"))["status"]["finishedAt"]
        assert world.status(again)["phase"] == "Succeeded"
        assert told(world) == []


async def test_annotations_are_those_of_the_contract(autojump_clock: MockClock) -> None:
    work = replace(CACHED, cache={"ttlSeconds": 60})
    async with open_world(TAKES_A_SECOND, engrams={"work": work}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        one, again = await play(world, "one", "again")

        first, second = (step_of(world, key)["metadata"]["annotations"] for key in (one, again))
        [object_key] = entries(world)
        digest = object_key.split("/")[-1].removesuffix(".json")
        assert object_key == f"cache/default/work/latest/{digest}.json"
        expected = {"key": digest, "mode": "readWrite", "ttl-seconds": "60"}
        for name, value in expected.items():
            assert first[f"cache.bubustack.io/{name}"] == second[f"cache.bubustack.io/{name}"] == value
        assert (first["cache.bubustack.io/status"], second["cache.bubustack.io/status"]) == ("stored", "hit")


@pytest.mark.parametrize(
    ("cache", "other_input", "wait_seconds", "executions"),
    [
        ({}, {"with_": {"x": 2}}, 0, 2),
        ({"key": "always"}, {"with_": {"x": 2}}, 0, 1),
        ({"key": "{{ inputs.x }}"}, {"with_": {"x": 2}}, 0, 2),
        ({"ttlSeconds": 60}, {}, 90, 2),
        ({"ttlSeconds": 600}, {}, 90, 1),
        ({"mode": "read"}, {}, 0, 2),
        ({"mode": "write"}, {}, 0, 2),
        ({"enabled": False}, {}, 0, 2),
        (None, {}, 0, 2),
    ],
)
async def test_the_policy_says_what_is_equal_and_for_how_long(
    autojump_clock: MockClock, cache: Any, other_input: dict[str, Any], wait_seconds: float, executions: int
) -> None:
    engrams = {"work": replace(CACHED, cache=cache)}
    async with open_world(TAKES_A_SECOND, engrams=engrams, evaluator=Evaluator()) as world:
        world.add_story("story", {"steps": [engram("a", with_={"x": 1})]})
        await play(world, "one")
        await trio.sleep(wait_seconds)
        world.edit_story("story", {"steps": [engram("a", **({"with_": {"x": 1}} | other_input))]})
        await play(world, "again")

        assert len(executed(world)) == executions


async def test_a_run_may_ask_to_execute_everything_and_still_fills_the_cache(autojump_clock: MockClock) -> None:
    async with open_world(TAKES_A_SECOND, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        anew = world.add_run("anew", "story")
        world.cluster.force_patch(
            "user", ("StoryRun", *anew), "metadata", {"annotations": {keys.ANNOTATION_CACHE_LOOKUP: "false"}}
        )
        world.start(anew)
        assert await world.until_ended(anew)

        assert executed(world) == ["anew-a", "one-a"]
        assert [entry["source"]["stepRun"] for entry in entries(world).values()] == ["anew-a"]


async def test_a_failure_is_not_cached(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(Act.EXIT, exit_code=1), Script(output={"n": 1}))}
    async with open_world(scripts, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")

        assert entries(world) == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is not JSON"),
        (b'{"createdAt":"2026-01-02T03:04:05Z"}', "it has no output"),
        (b'{"output":{"n":"text"}}', "its output breaks the schema"),
        (b'{"output":{"x":{"$bubuStorageRef":"cache/default/gone.json"}}}', "has no object"),
        (b'{"output":{"x":{"$bubuStorageRef":"outputs/other/a.json"}}}', "has no object"),
    ],
)
async def test_an_entry_that_cannot_be_used_is_reported_and_replaced(
    autojump_clock: MockClock, content: bytes, why: str
) -> None:
    schema = {"properties": {"n": {"type": "integer"}}}
    async with open_world(TAKES_A_SECOND, engrams={"work": replace(CACHED, output_schema=schema)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        [key] = entries(world)
        world.cluster.stored[key] = content
        await play(world, "again", "third")

        assert executed(world) == ["again-a", "one-a"]
        [message] = told(world)
        assert key in message
        assert why in message


async def test_data_in_object_storage_is_copied_into_the_cache_and_out_of_it(autojump_clock: MockClock) -> None:
    text = "x" * 900
    scripts = {"a": (Script(output={"text": text, "n": 1}),), "b": (Script(echo=True),)}
    plain = replace(CACHED, container={"args": []})
    async with open_world(scripts, engrams={"work": plain, "echo": replace(CACHED, cache=None)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        one, again = await play(world, "one", "again")
        outputs = [step_of(world, key)["status"]["output"] for key in (one, again)]

        assert executed(world) == ["one-a"]
        refs = [output["text"]["$bubuStorageRef"] for output in outputs]
        assert [ref.split("/")[2] for ref in refs] == ["one-a", "again-a"]
        del world.cluster.stored[refs[0]]
        for key in entries(world):
            del world.cluster.stored[key]
        assert value_of(outputs[1], "default", "it", world.cluster.stored) == {"text": text, "n": 1}


async def test_another_script_and_another_call_are_executed(autojump_clock: MockClock) -> None:
    work = replace(CACHED, container={"command": ["sh", "-ec", "echo 1"], "args": ["{{ inputs.x }}"]})
    async with open_world(TAKES_A_SECOND, engrams={"work": work}, evaluator=Evaluator()) as world:
        world.add_story("story", {"steps": [engram("a", with_={"x": "{{ inputs.x }}"})]})
        await play(world, "one", "again", inputs={"x": "1"})
        assert executed(world) == ["one-a"]
        await play(world, "other", inputs={"x": "2"})
        world.engrams["work"] = replace(work, container={**(work.container or {}), "command": ["sh", "-ec", "echo 2"]})
        await play(world, "changed", inputs={"x": "1"})

        assert executed(world) == ["changed-a", "one-a", "other-a"]


async def test_files_are_copied_into_the_cache_and_out_of_it(autojump_clock: MockClock) -> None:
    file = {"$bubuArtifact": "outputs/default/one-a/files/m.sha256-0.pt", "name": "m.pt", "sizeBytes": 1, "sha256": "0"}
    async with open_world({"a": (Script(output={"model": file}),)}, engrams={"work": CACHED}) as world:
        world.cluster.store(file["$bubuArtifact"], b"w")  # type: ignore[arg-type]  # a key
        world.add_story("story", {"steps": [engram("a")]})
        _, again, third = await play(world, "one", "again", "third")

        for key, name in ((again, "again-a"), (third, "third-a")):
            found = step_of(world, key)["status"]["output"]["model"]
            assert found == {**file, "$bubuArtifact": f"outputs/default/{name}/files/m.sha256-0.pt"}
            assert world.cluster.stored[found["$bubuArtifact"]] == b"w"
        assert executed(world) == ["one-a"]
        assert world.cluster.stored["cache/default/work/files/m.sha256-0.pt"] == b"w"


async def test_an_output_whose_file_is_gone_is_not_cached(autojump_clock: MockClock) -> None:
    file = {"$bubuArtifact": "outputs/default/one-a/files/gone", "name": "m.pt", "sizeBytes": 1, "sha256": "0"}
    async with open_world({"a": (Script(output={"model": file}),)}, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")

        assert entries(world) == {}
        assert "has no object 'outputs/default/one-a/files/gone'" in told(world)[0]


async def test_of_equal_steps_at_once_one_executes_and_the_others_take_its_output(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(after_seconds=5.0, output={"n": 1}),)}
    async with open_world(scripts, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        found = await play(world, "one", "two", "three", together=True)

        assert len(executed(world)) == 1
        assert [step_of(world, key)["status"]["output"] for key in found] == [{"n": 1}] * 3
        assert sorted(step_of(world, key)["status"].get("cached", False) for key in found) == [False, True, True]


async def test_equal_steps_may_execute_beside_each_other(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(after_seconds=5.0, output={"n": 1}),)}
    async with open_world(scripts, engrams={"work": replace(CACHED, cache={"inFlight": "run"})}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one", "two", together=True)

        assert executed(world) == ["one-a", "two-a"]


@pytest.mark.parametrize("retries", [0, 1])
async def test_when_the_first_of_equal_steps_fails_another_executes(autojump_clock: MockClock, retries: int) -> None:
    scripts = {"a": (Script(Act.EXIT, 3.0, exit_code=137), Script(output={"n": 1}))}
    retry = RetryPolicy(max_retries=retries, delay=timedelta(seconds=30))
    async with open_world(scripts, engrams={"work": replace(CACHED, retry=retry)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        found = await play(world, "one", "two", together=True)

        assert len(executed(world)) >= 2
        phases = sorted(world.status(key)["phase"] for key in found)
        assert phases == (["Failed", "Failed"] if retries == 0 else ["Succeeded", "Succeeded"])


async def test_a_run_that_is_canceled_lets_its_equals_go_on(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(Act.HANG), Script(output={"n": 1}))}
    async with open_world(scripts, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        one = world.add_run("one", "story")
        two = world.add_run("two", "story")
        world.start(one, two)
        await trio.sleep(5)
        [leader] = executed(world)
        world.cancel_run(NamespacedName("default", leader.removesuffix("-a")))
        await trio.sleep(60)

        assert len(executed(world)) == 2


async def test_without_a_store_steps_execute_and_the_setting_is_named(autojump_clock: MockClock) -> None:
    async with open_world(TAKES_A_SECOND, engrams={"work": replace(CACHED, shares_store=False)}) as world:
        world.cluster.has_store = False
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one", "again")

        assert executed(world) == ["again-a", "one-a"]
        assert told(world)
        assert all("the operator has no object store" in text for text in told(world))


async def test_a_store_that_hangs_costs_seconds_and_no_run(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(self: ModelPayloads, key: str, *args: Any, namespace: str) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(ModelPayloads, "read_object", hang)
    monkeypatch.setattr(ModelPayloads, "write_object", hang)
    async with open_world(TAKES_A_SECOND, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        began_at = trio.current_time()
        await play(world, "one")

        assert executed(world) == ["one-a"]
        assert trio.current_time() - began_at < 30
        assert [text.rpartition(": ")[2] for text in told(world)] == ["the store did not answer in time"] * 2


async def test_a_store_that_is_down_is_reported(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(self: ModelPayloads, key: str, *args: Any, namespace: str) -> None:
        raise StorageUnavailableError("bucket 'data' cannot be read: the connection is refused")

    monkeypatch.setattr(ModelPayloads, "read_object", down)
    async with open_world(TAKES_A_SECOND, engrams={"work": CACHED}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")

        assert [("the connection is refused" in text) for text in told(world)] == [True]
        assert len(entries(world)) == 1
