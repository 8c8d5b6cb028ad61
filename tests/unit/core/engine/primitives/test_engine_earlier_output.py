"""Runs that reuse the outputs of an earlier run: which steps execute, and what follows from faults."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import NamespacedName
from core.engine.ports import WORKER
from core.engine.primitives import earlier_output
from core.engine.step import record
from core.evaluation.evaluator import Evaluator
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.stored import ModelPayloads, value_of
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

PLAIN = Engram(max_inline_size_bytes=400, shares_store=True)
SCRIPTS = {"a": (Script(output={"n": 1}),), "b": (Script(output={"n": 2}),), "undo": (Script(output={"n": 3}),)}
LATER = {"inputs": {"x": 2}}


async def play(world: World, name: str, reuse_from: str = "", ends: bool = True, **spec: Any) -> NamespacedName:
    """A run of the Story in a process of its own."""
    key = world.add_run(name, "story", reuse_from, **({"inputs": {"x": 1}} | spec))
    world.start(key)
    assert await world.until_ended(key) or not ends
    await world.kill()
    assert world.crashes == []
    return key


def executed(world: World, run: str) -> list[str]:
    """The steps of the run for which a Job was created."""
    places = [write.place for write in world.cluster.history if write.place[0] == "Job" and write.old is None]
    return sorted(name.removeprefix(f"{run}-") for _, _, name in places if name.startswith(f"{run}-"))


def status_of(world: World, run: str, step: str = "a") -> dict[str, Any]:
    found = world.step_run(NamespacedName("default", run), step)
    assert found is not None
    return dict(found["status"])


def told(world: World, reason: str = "OutputCacheUnavailable") -> list[str]:
    return [text for _, found, text in world.events.told if found == reason]


async def test_succeeded_steps_are_taken_and_the_others_execute(autojump_clock: MockClock) -> None:
    scripts = {"a": SCRIPTS["a"], "b": (Script(Act.EXIT, exit_code=1), Script(output={"n": 2}))}
    async with open_world(scripts, engrams={"work": PLAIN}) as world:
        world.add_story("story", {"steps": [engram("a"), engram("b", "a", with_={"n": "{{ steps.a.output.n }}"})]})
        one = await play(world, "one")
        again = await play(world, "again", "one")

        assert (world.status(one)["phase"], executed(world, "one")) == ("Failed", ["a", "b"])
        assert executed(world, "again") == ["b"]
        status = status_of(world, "again")
        assert (status["phase"], status["output"], status["cached"]) == ("Succeeded", {"n": 1}, True)
        first = status_of(world, "one")
        assert status["cachedFrom"] == {
            "key": first["attempt"]["key"],
            "storedAt": first["finishedAt"],
            "storyRun": "one",
            "stepRun": "one-a",
        }
        annotations = (world.step_run(again, "a") or {})["metadata"]["annotations"]
        assert annotations[keys.ANNOTATION_CACHE_STATUS] == "hit"
        assert told(world) == []


async def test_a_run_that_does_not_ask_executes_everything(autojump_clock: MockClock) -> None:
    async with open_world(SCRIPTS, engrams={"work": PLAIN}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        await play(world, "again")

        assert executed(world, "again") == ["a"]


@pytest.mark.parametrize("executor", ["job", WORKER])
@pytest.mark.parametrize("seconds", [0.1, 30.0])
async def test_the_key_of_short_and_long_attempts_is_recorded(
    autojump_clock: MockClock, executor: str, seconds: float
) -> None:
    scripts = {"a": (Script(after_seconds=seconds, output={"n": 1}),)}
    async with open_world(scripts, engrams={"work": replace(PLAIN, executor=executor)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        assert len(status_of(world, "one")["attempt"]["key"]) == 64
        await play(world, "again", "one")

        assert status_of(world, "again")["cached"] is True


async def test_the_key_survives_a_restart_and_a_retry(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(Act.EXIT, 5.0, exit_code=137), Script(after_seconds=30.0, output={"n": 1}))}
    retry = RetryPolicy(max_retries=1, delay=timedelta(seconds=1))
    async with open_world(scripts, engrams={"work": replace(PLAIN, retry=retry)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        one = world.add_run("one", "story", inputs={"x": 1})
        world.start(one)
        await trio.sleep(15)
        await world.kill()
        world.start(one)
        assert await world.until_ended(one)
        await world.kill()
        await play(world, "again", "one")

        assert status_of(world, "one")["attempt"]["number"] == 1
        assert executed(world, "again") == []


async def test_an_output_that_was_reused_itself_names_the_run_that_executed(autojump_clock: MockClock) -> None:
    async with open_world(SCRIPTS, engrams={"work": PLAIN}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        await play(world, "two", "one")
        await play(world, "three", "two")

        assert status_of(world, "three")["cachedFrom"] == status_of(world, "two")["cachedFrom"]
        assert executed(world, "three") == []


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({}, []),
        ({"inputs": {"x": 2}}, ["a"]),
        ({"engram": {"timeout_seconds": 60.0}}, ["a"]),
        ({"engram": {"cache": {"enabled": False}}}, ["a"]),
        ({"story": {"sideEffects": True}}, ["a"]),
        ({"story": {"postExecution": {"condition": "{{ eq steps.a.output.n 2 }}"}}}, ["a"]),
        ({"story": {"postExecution": {"condition": "{{ eq steps.a.output.n 1 }}"}}}, []),
    ],
)
async def test_what_has_changed_executes(autojump_clock: MockClock, change: dict[str, Any], steps: list[str]) -> None:
    engrams = {"work": PLAIN}
    async with open_world(SCRIPTS, engrams=engrams, evaluator=Evaluator()) as world:
        step = engram("a", with_={"x": "{{ inputs.x }}"})
        world.add_story("story", {"steps": [step]})
        await play(world, "one")
        engrams["work"] = world.engrams["work"] = replace(PLAIN, **change.get("engram", {}))
        world.edit_story("story", {"steps": [{**step, **change.get("story", {})}]})
        await play(world, "again", "one", **({"inputs": change["inputs"]} if "inputs" in change else {}))

        assert executed(world, "again") == steps


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        ({"mode": "read", "ttlSeconds": 3600}, []),
        ({"mode": "read", "ttlSeconds": 60}, ["a"]),
        ({"mode": "write"}, ["a"]),
        ({"enabled": False}, ["a"]),
    ],
)
async def test_a_declared_cache_says_what_may_be_read(
    autojump_clock: MockClock, policy: dict[str, Any], steps: list[str]
) -> None:
    async with open_world(SCRIPTS, engrams={"work": replace(PLAIN, cache=policy)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        await trio.sleep(90)
        await play(world, "again", "one")

        assert executed(world, "again") == steps


async def test_another_salt_forgets(autojump_clock: MockClock) -> None:
    async with open_world(SCRIPTS, engrams={"work": replace(PLAIN, cache={"salt": "1"})}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        world.engrams["work"] = replace(PLAIN, cache={"salt": "2"})
        await play(world, "again", "one")

        assert executed(world, "again") == ["a"]


async def test_compensations_and_finally_steps_always_execute(autojump_clock: MockClock) -> None:
    story = {
        "steps": [engram("a"), engram("b", "a")],
        "compensations": [engram("undo")],
        "finally": [engram("tell")],
    }
    scripts = {**SCRIPTS, "b": (Script(Act.EXIT, exit_code=1),), "tell": (Script(output={"n": 4}),)}
    async with open_world(scripts, engrams={"work": PLAIN}) as world:
        world.add_story("story", story)
        await play(world, "one")
        await play(world, "again", "one")

        assert executed(world, "one") == ["a", "b", "tell", "undo"]
        assert executed(world, "again") == ["b", "tell", "undo"]


async def test_branches_and_items_are_taken_one_by_one(autojump_clock: MockClock) -> None:
    each = {"forEach": "{{ inputs.list }}", "steps": [engram("each", with_={"x": "{{ item }}"})]}
    story = {"steps": [primitive("fan", "parallel", with_=each)]}
    scripts = {f"fan/{number}": (Script(echo=True),) for number in range(3)}
    async with open_world(scripts, engrams={"work": PLAIN}, evaluator=Evaluator()) as world:
        world.add_story("story", story)
        await play(world, "one", inputs={"list": ["u", "v"]})
        await play(world, "again", "one", inputs={"list": ["u", "w", "x"]})

        assert executed(world, "again") == ["fan-1", "fan-2"]


@pytest.mark.parametrize("field", ["effects", "signals", "signalEvents", "output", "phase", "key", "path"])
async def test_an_output_that_is_not_all_that_the_step_did_is_not_taken(autojump_clock: MockClock, field: str) -> None:
    async with open_world(SCRIPTS, engrams={"work": PLAIN}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        found = world.step_run(NamespacedName("default", "one"), "a") or {}
        status, key = dict(found["status"]), found["status"]["attempt"]["key"]
        now = parse_instant_or_none(status["finishedAt"])
        assert now is not None
        assert earlier_output.why_not_reusable(found, "a", key, 0, now) is None
        changes: dict[str, Any] = {
            "effects": {"effects": [{"seq": 1, "key": "k"}]},
            "signals": {"signals": {"s": {}}},
            "signalEvents": {"signalEvents": [{"seq": 1, "key": "k"}]},
            "output": {"output": {}},
            "phase": {"phase": "Failed"},
            "key": {"attempt": {"number": 0}},
            "path": {},
        }
        other = {**found, "status": status | changes[field]}
        assert earlier_output.why_not_reusable(other, "b" if field == "path" else "a", key, 0, now) is not None


def test_a_cached_success_after_own_attempts_has_no_key() -> None:
    taken = {"cached": True, "cachedFrom": {"key": "k"}}
    own = {"attempt": {"number": 0, "key": "own"}}
    found = [record.execution_key_of({"spec": {}, "status": status}) for status in (taken, own, taken | own, {})]
    assert found == ["k", "own", "", ""]


async def test_stored_data_and_files_are_copied(autojump_clock: MockClock) -> None:
    text = "x" * 900
    file = {"$bubuArtifact": "outputs/default/one-a/files/m.sha256-0.pt", "name": "m.pt", "sizeBytes": 1, "sha256": "0"}
    plain = replace(PLAIN, container={"args": []})
    async with open_world({"a": (Script(output={"text": text, "model": file}),)}, engrams={"work": plain}) as world:
        world.cluster.store(str(file["$bubuArtifact"]), b"w")
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        await play(world, "again", "one")
        for key in [key for key in world.cluster.stored if "/one-a/" in key]:
            del world.cluster.stored[key]

        output = value_of(status_of(world, "again")["output"], "default", "it", world.cluster.stored)
        copy = "outputs/default/again-a/files/m.sha256-0.pt"
        assert output == {"text": text, "model": {**file, "$bubuArtifact": copy}}
        assert world.cluster.stored[copy] == b"w"
        assert executed(world, "again") == []


async def test_without_a_store_small_outputs_are_taken(autojump_clock: MockClock) -> None:
    async with open_world(SCRIPTS, engrams={"work": replace(PLAIN, shares_store=False)}) as world:
        world.cluster.has_store = False
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        await play(world, "again", "one")

        assert executed(world, "again") == []
        assert told(world) == []


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("gone", "has no object"),
        ("no store", "the operator has no object store"),
        ("hangs", "the store did not answer in time"),
    ],
)
async def test_data_that_cannot_be_read_is_reported_and_the_step_executes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, fault: str, why: str
) -> None:
    async def hang(self: ModelPayloads, *args: Any, **more: Any) -> None:
        await trio.sleep_forever()

    plain = replace(PLAIN, container={"args": []})
    async with open_world({"a": (Script(output={"text": "x" * 900}),)}, engrams={"work": plain}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        if fault == "gone":
            world.cluster.stored.clear()
        elif fault == "no store":
            world.cluster.has_store = False
        else:
            monkeypatch.setattr(ModelPayloads, "fetch", hang)
        await play(world, "again", "one", ends=False)

        assert executed(world, "again") == ["a"]
        assert any(why in text for text in told(world))


@pytest.mark.parametrize("how", ["deleted", "cleaned"])
async def test_when_the_earlier_run_is_gone_everything_executes_and_it_is_told(
    autojump_clock: MockClock, how: str
) -> None:
    async with open_world(SCRIPTS, engrams={"work": PLAIN}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        one = await play(world, "one")
        if how == "deleted":
            world.cluster.delete("user", ("StoryRun", *one))
        else:
            cleaned = {"childrenCleanedAt": "2026-01-02T03:04:05Z"}
            world.cluster.force_patch("user", ("StoryRun", *one), "status", cleaned)
        await play(world, "again", "one")

        assert executed(world, "again") == ["a"]
        [text] = told(world, "EarlierRunGone")
        assert "run 'one'" in text


async def test_a_run_that_runs_again_executes(autojump_clock: MockClock) -> None:
    async with open_world(SCRIPTS, engrams={"work": PLAIN}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        await play(world, "one")
        again = await play(world, "again", "one")
        assert executed(world, "again") == []
        world.redrive(again, "token")
        world.start(again)
        await trio.sleep(60)

        assert executed(world, "again") == ["a"]


async def test_a_run_that_ignores_entries_reuses_nothing(autojump_clock: MockClock) -> None:
    annotations = {keys.ANNOTATION_CACHE_REUSE: "one", keys.ANNOTATION_CACHE_LOOKUP: "false"}
    assert earlier_output.reuses_from({"metadata": {"annotations": annotations}}) == ""
    assert earlier_output.reuses_from({"metadata": {"annotations": {keys.ANNOTATION_CACHE_REUSE: " one "}}}) == "one"
    assert earlier_output.reuses_from({"metadata": {}}) == ""
