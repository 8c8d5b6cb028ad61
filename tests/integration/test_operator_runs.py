"""Stories from their creation to their end, through the whole operator and real programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, JOB, POD, SECRET, STEP_RUN, STORY, STORY_RUN
from core.policy.settings import JobSettings, OperatorSettings
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OperatorCluster,
    eventually,
    status_of,
    step,
    step_phases,
)


async def test_a_diamond_runs_to_its_end(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story(
        "diamond",
        step("a", "noop"),
        step("b", "noop", needs=["a"]),
        step("c", "noop", needs=["a"]),
        step("d", "noop", needs=["b", "c"]),
    )
    async with world.operator():
        await world.run("one", "diamond", annotations={"bubustack.io/correlation-id": "Order 42"})
        run = await world.finished("one")
        await world.until(STORY, "diamond", lambda story: status_of(story).get("triggers") == 1)
        engram = await world.until(ENGRAM, "noop", lambda engram: status_of(engram).get("totalExecutions") == 4)
    assert status_of(run)["phase"] == "Succeeded"
    assert step_phases(run) == dict.fromkeys("abcd", "Succeeded")
    assert await world.names(STEP_RUN) == ["one-a", "one-b", "one-c", "one-d"]
    assert await world.names(JOB) == ["one-a", "one-b", "one-c", "one-d"]
    assert "finalizers" not in run["metadata"]
    assert run["metadata"]["labels"] == {
        "bubustack.io/queue": "default",
        "bubustack.io/queue-priority": "0",
        "bubustack.io/correlation-id": "order-42",
    }
    assert (status_of(engram)["failedExecutions"], status_of(engram)["usageCount"]) == (0, 1)


@pytest.mark.parametrize("name", ["n" * 253, "my--run"])
async def test_every_name_that_admission_lets_in_carries_a_run_to_its_end(world: OperatorCluster, name: str) -> None:
    await world.engram("noop")
    await world.story("plain", step("s" * 63, "noop"))
    async with world.operator():
        await world.run(name, "plain")
        run = await world.finished(name)
    assert status_of(run)["phase"] == "Succeeded"
    [job] = await world.names(JOB)
    assert len(job) <= 63


async def test_a_run_with_a_dot_in_its_name_which_admission_refuses_says_why_it_fails(world: OperatorCluster) -> None:
    """In a cluster without admission."""
    await world.engram("noop")
    await world.story("plain", step("a", "noop"))
    async with world.operator():
        await world.run("my.run", "plain")
        run = await world.finished("my.run")
    assert status_of(run)["phase"] == "Failed"
    assert "spec.storyRunRef.name" in status_of(run)["stepStates"]["a"]["message"]


async def test_every_write_of_a_run_has_its_reason_and_an_idle_operator_sends_nothing(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("chain", step("a", "noop"), step("b", "noop", needs=["a"]), step("c", "noop", needs=["b"]))
    async with world.operator() as traffic:
        await world.until(STORY, "chain", lambda story: status_of(story).get("validationStatus") == "valid")
        await world.until(ENGRAM, "noop", lambda engram: status_of(engram).get("usageCount") == 1)
        before = traffic.writes
        await world.run("one", "chain")
        await world.finished("one")
        await world.until(ENGRAM, "noop", lambda engram: status_of(engram).get("totalExecutions") == 3)
        await world.until(STORY, "chain", lambda story: status_of(story).get("triggers") == 1)
        spent = traffic.writes - before
        sent = len(traffic.requests)
        await trio.sleep(1.5)
        assert traffic.requests[sent:] == []
    counts = {request: spent.pop(request, 0) for request in ("PATCH engrams/status", "PATCH stories/status")}
    assert all(1 <= number <= 2 for number in counts.values()), counts  # counters, at most every two seconds
    assert 1 <= spent.pop("PATCH storyruns/status") <= 5  # begin, end, and at most one a wave; neighbors share
    assert 3 <= spent.pop("PATCH stepruns/status") <= 6  # results, and "running" unless a step ended at once
    assert spent == {
        "POST controllerrevisions": 1,  # the copy of the Story, for all runs that begin with it
        "POST serviceaccounts": 1,
        "POST rolebindings": 1,
        "POST stepruns": 3,
        "POST jobs": 3,
        "POST events": 2,  # start and end
    }


async def test_a_result_of_the_program_decides_the_step(world: OperatorCluster) -> None:
    await world.engram("bad", "echo oops >&2; exit 3")
    await world.engram("slow", "sleep 60")
    await world.engram("noop")
    await world.story(
        "mixed",
        step("bad"),
        step("after", "noop", needs=["bad"]),
        step("slow", execution={"timeout": "300ms", "retry": {"maxRetries": 0}}),
        policy={"continueOnStepFailure": True},
    )
    async with world.operator():
        await world.run("one", "mixed")
        run = await world.finished("one")
        bad, slow = await world.step("one-bad", "Failed"), await world.step("one-slow", "Timeout")
    assert step_phases(run) == {"after": "Skipped", "bad": "Failed", "slow": "Timeout"}
    assert (status_of(bad)["exitCode"], status_of(bad)["exitClass"], status_of(bad)["retries"]) == (3, "terminal", 0)
    assert (status_of(slow)["exitCode"], status_of(slow)["error"]["type"]) == (124, "timeout")
    assert status_of(run)["phase"] == "Failed"


async def test_a_step_is_tried_again_until_it_succeeds(world: OperatorCluster, tmp_path: Path) -> None:
    count = tmp_path / "attempts"
    await world.engram("flaky", f"echo x >> {count}; test $(wc -l < {count}) -ge 3 || exit 137")
    await world.story("flaky", step("flaky", execution={"retry": {"maxRetries": 5, "delay": "10ms"}}))
    async with world.operator():
        await world.run("one", "flaky")
        run = await world.finished("one")
        step_run = await world.step("one-flaky", "Succeeded")
    assert status_of(run)["phase"] == "Succeeded"
    assert status_of(step_run)["retries"] == 2
    assert count.read_text() == "x\n" * 3


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
async def test_a_job_that_may_try_again_by_itself_is_one_attempt(
    world: OperatorCluster, tmp_path: Path, policy: str
) -> None:
    count = tmp_path / "tries"
    await world.engram("flaky", f"echo x >> {count}; test $(wc -l < {count}) -ge 3")
    job = {"backoffLimit": 5, "restartPolicy": policy}
    await world.story("flaky", step("flaky"), policy={"execution": {"job": job}})
    async with world.operator():
        await world.run("one", "flaky")
        run = await world.finished("one")
        step_run = await world.step("one-flaky", "Succeeded")
    assert status_of(run)["phase"] == "Succeeded"
    assert status_of(step_run)["retries"] == 0
    assert count.read_text() == "x\n" * 3


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
async def test_a_container_that_fails_for_good_is_told_by_its_own_code(world: OperatorCluster, policy: str) -> None:
    await world.engram("bad", "exit 7")
    job = {"backoffLimit": 0, "restartPolicy": policy}
    await world.story("bad", step("bad"), policy={"execution": {"job": job}})
    async with world.operator():
        await world.run("one", "bad")
        await world.finished("one")
        step_run = await world.step("one-bad", "Failed")
    assert (status_of(step_run)["exitCode"], status_of(step_run)["exitClass"]) == (7, "terminal")
    assert status_of(step_run)["retries"] == 0


async def test_an_operator_that_dies_again_and_again_still_brings_a_run_to_its_end(
    world: OperatorCluster, tmp_path: Path
) -> None:
    count = tmp_path / "executions"
    await world.engram("noop", f"echo $BUBU_STEP_NAME >> {count}")
    names = "abcdef"
    needs = {"b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"], "f": ["e"]}
    await world.story("long", *(step(name, "noop", needs=needs.get(name, [])) for name in names))
    await world.run("one", "long")
    lives = 0
    run: dict[str, Any] = {}
    while not status_of(run).get("finishedAt"):
        lives += 1
        assert lives < 60
        async with world.operator():
            with trio.move_on_after((0.04 + 0.01 * (lives % 7)) * (1 + lives / 20)):  # for a busy machine
                run = await world.finished("one")
    assert lives > 1
    assert status_of(run)["phase"] == "Succeeded"
    assert step_phases(run) == dict.fromkeys(names, "Succeeded")
    assert sorted(count.read_text().split()) == list(names)  # nothing was executed twice


async def test_a_killed_pod_counts_as_an_attempt(world: OperatorCluster, tmp_path: Path) -> None:
    mark = tmp_path / "second"
    await world.engram("victim", f"test -e {mark} && exit 0; touch {mark}; exec sleep 60")
    await world.story("victim", step("victim", execution={"retry": {"maxRetries": 1, "delay": "10ms"}}))
    async with world.operator():
        await world.run("one", "victim")
        await _wait_for(mark)
        [pod] = (await world.client.list(POD, NAMESPACE_NAME)).items
        await world.client.delete(POD, pod["metadata"]["name"], NAMESPACE_NAME)
        run = await world.finished("one")
        step_run = await world.step("one-victim", "Succeeded")
    assert status_of(run)["phase"] == "Succeeded"
    assert status_of(step_run)["retries"] == 1


async def test_an_operator_that_was_away_takes_up_what_it_finds(world: OperatorCluster, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    await world.engram("waits", f"echo x >> {started}; until test -e {go}; do sleep 0.05; done")
    await world.engram("noop")
    await world.story("waits", step("waits"), step("after", "noop", needs=["waits"]))
    async with world.operator():
        await world.run("one", "waits")
        await _wait_for(started)
        await world.until(STORY_RUN, "one", lambda run: "startedAt" in status_of(run))
    go.touch()
    await world.until(JOB, "one-waits", lambda job: status_of(job).get("succeeded") == 1)
    async with world.operator() as traffic:
        run = await world.finished("one")
    assert step_phases(run) == {"after": "Succeeded", "waits": "Succeeded"}
    assert started.read_text() == "x\n"
    assert traffic.writes["POST jobs"] == 1
    assert traffic.writes["POST serviceaccounts"] == 0


async def test_what_a_step_refers_to_must_exist(world: OperatorCluster) -> None:
    await world.engram("noop")
    schema = {"api": {"expectedKeys": ["token", "org"]}}
    await world.engram("secretive", secretSchema=schema, engram={"secrets": {"api": "openai"}})
    await world.create(SECRET, "openai", {"token": "s3cr3t"})
    await world.story(
        "gaps",
        {**step("lost", "nobody"), "execution": {"timeout": "300ms"}},
        step("secret", "secretive"),
        step("fine", "noop"),
        policy={"continueOnStepFailure": True},
    )
    async with world.operator():
        await world.run("one", "gaps")
        run = await world.finished("one")
    assert step_phases(run) == {"fine": "Succeeded", "lost": "Timeout", "secret": "Failed"}
    states = status_of(run)["stepStates"]
    assert "Engram team/nobody of step 'lost' does not exist" in states["lost"]["message"]
    assert "Secret 'openai' lacks org" in states["secret"]["message"]
    assert "s3cr3t" not in str(run)


async def test_engram_and_template_may_be_applied_after_the_run(world: OperatorCluster) -> None:
    """``kubectl apply -f folder/`` applies files in the order of their names, so the run may come first."""
    await world.engram("noop")
    await world.story("early", step("one", "late"))
    async with world.operator():
        await world.run("one", "early")
        await world.until(STORY_RUN, "one", lambda run: _reason_of(run, "one") == "EngramNotFound")
        await world.create(ENGRAM, "late", {"version": "1.0.0", "templateRef": {"name": "late"}})
        await world.until(STORY_RUN, "one", lambda run: _reason_of(run, "one") == "TemplateNotFound")
        template = {"version": "1.0.0", "image": "test/noop", "supportedModes": ["job"]}
        await world.create(ENGRAM_TEMPLATE, "late", template, namespaced=False)
        run = await world.finished("one")
    assert step_phases(run) == {"one": "Succeeded"}


def _reason_of(run: Object, name: str) -> str:
    return str((status_of(run).get("stepStates") or {}).get(name, {}).get("reason"))


async def test_secrets_reach_the_program(world: OperatorCluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f'echo "$api_token $BUBU_SECRET_api $BUBU_TRIGGER_DATA" > {seen}'
    schema = {"api": {"expectedKeys": ["token"]}}
    await world.engram("secretive", script, secretSchema=schema, engram={"secrets": {"api": "openai"}})
    await world.create(SECRET, "openai", {"token": "s3cr3t"})
    given: Object = {"with": {"text": "$(BUBU_STEP_NAME) $$ <b>"}}
    await world.story("secretive", step("secretive", **given))
    async with world.operator():
        await world.run("one", "secretive")
        run = await world.finished("one")
    assert status_of(run)["phase"] == "Succeeded"
    assert seen.read_text() == 's3cr3t env:api_ {"text":"$(BUBU_STEP_NAME) $$ \\u003cb\\u003e"}\n'


async def test_a_deleted_run_leaves_nothing_behind(world: OperatorCluster, tmp_path: Path) -> None:
    started = tmp_path / "started"
    await world.engram("slow", f"touch {started}; exec sleep 60")
    await world.story("slow", step("slow"))
    async with world.operator():
        await world.run("one", "slow")
        await _wait_for(started)
        await world.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
        await world.gone(STORY_RUN, "one")
        await world.gone(STEP_RUN, "one-slow")
        await world.gone(JOB, "one-slow")
        await world.none_left(POD)


async def test_finished_runs_and_their_children_are_kept_as_long_as_the_story_says(world: OperatorCluster) -> None:
    await world.engram("noop")
    for name, job in {
        "children-go": {"ttlSecondsAfterFinished": 0, "storyRunRetentionSeconds": 0},
        "run-goes": {"storyRunRetentionSeconds": -1},
        "all-stay": {},
    }.items():
        await world.story(name, step("a", "noop"), policy={"execution": {"job": job}})
    async with world.operator(replace(OperatorSettings(), job=JobSettings(ttl_seconds_after_finished=3600))):
        for name in ("children-go", "run-goes", "all-stay"):
            await world.run(name, name)
        await world.gone(STORY_RUN, "run-goes")
        run = await world.until(STORY_RUN, "children-go", lambda run: "childrenCleanedAt" in status_of(run))
        await world.finished("all-stay")
    assert status_of(run)["phase"] == "Succeeded"
    assert await world.names(STEP_RUN) == ["all-stay-a"]
    assert await world.names(STORY_RUN) == ["all-stay", "children-go"]


async def test_a_job_of_somebody_else_is_neither_adopted_nor_removed(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("taken", step("a", "noop"))
    container: dict[str, Any] = {"name": "x", "image": "test/noop"}
    foreign = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    created = await world.create(JOB, "one-a", foreign)
    async with world.operator():
        await world.run("one", "taken")
        run = await world.finished("one")
    assert step_phases(run) == {"a": "Failed"}
    assert "does not belong to this step" in status_of(run)["stepStates"]["a"]["message"]
    assert (await world.client.get(JOB, "one-a", NAMESPACE_NAME))["metadata"]["uid"] == created["metadata"]["uid"]


async def _wait_for(path: Path) -> None:
    await eventually(trio.Path(path).exists)
