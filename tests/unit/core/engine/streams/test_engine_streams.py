"""How streams begin, are shown, fail, drain and end. Source: streaming contract 3, StepRun contract 22."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.api.objects import NamespacedName, Object
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import CONTINUE, engram, primitive
from fuzz.engine.model_hub import RENEWS_SECONDS, SILENCE_SECONDS, is_drained, is_finished
from fuzz.engine.streams import FRAIL, STREAMS, realtime, stream
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

RUNS_ON = Script(Act.HANG)
CHAIN = (stream("a"), stream("b", "a"), stream("c", "b"))
SWEEP = {"finally": [engram("sweep")]}
FAILS = Script(Act.EXIT, 0.4, exit_code=137)


class Realtime:
    """One realtime Story and one run of it."""

    def __init__(self, world: World, *steps: Any, **spec: Any) -> None:
        self.world = world
        world.add_story("story", realtime(*steps, **spec))
        self.key: NamespacedName = world.add_run("run", "story", inputs={"n": 7})

    @property
    def status(self) -> Object:
        return self.world.status(self.key)

    @property
    def phases(self) -> dict[str, str]:
        return self.world.phases(self.key)

    def step_run(self, step: str) -> Object:
        found = self.world.step_run(self.key, step)
        assert found is not None
        return found

    def said(self, step: str) -> tuple[str, str]:
        """Phase of the StepRun, and status of ``TransportReady``."""
        status = self.step_run(step)["status"]
        ready = find_condition(status["conditions"], "TransportReady") or {}
        return status["phase"], ready.get("status", "")

    def binding(self, step: str) -> Object:
        return self.world.cluster.objects["TransportBinding", "default", f"run-{step}-transport"]

    def has_workload(self, step: str) -> bool:
        return ("Deployment", "default", f"run-{step}") in self.world.cluster.objects

    def condition(self, type_: str) -> tuple[str, str]:
        found = find_condition(self.status["conditions"], type_) or {}
        return found["status"], found["reason"]

    async def ended(self, seconds: float = 600.0) -> Object:
        assert await self.world.until_ended(self.key, seconds=seconds), self.status
        await self.world.quiet()
        assert self.world.crashes == []
        return self.status


@asynccontextmanager
async def world_of(scripts: Mapping[str, tuple[Script, ...]] | None = None) -> AsyncIterator[World]:
    async with open_world(scripts or {}, engrams={"work": Engram(), **STREAMS}) as world:
        yield world


def forever(*steps: str) -> dict[str, tuple[Script, ...]]:
    return dict.fromkeys(steps, (RUNS_ON,))


async def test_streams_run_side_by_side_and_show_how_they_are_connected(autojump_clock: MockClock) -> None:
    async with world_of(forever("ear", "mind", "mouth")) as world:
        one = Realtime(world, stream("ear"), stream("mind", "ear"), stream("mouth", "mind"))
        world.start(one.key)
        await trio.sleep(30)
        states = one.status["stepStates"]
        started = [one.step_run(step)["status"]["startedAt"] for step in ("ear", "mind", "mouth")]
        writes = len(world.cluster.history)
        await trio.sleep(3600)

        assert one.phases == dict.fromkeys(("ear", "mind", "mouth"), "Running")
        assert {one.said(step) for step in ("ear", "mind", "mouth")} == {("Running", "True")}
        assert all("message" not in state for state in states.values())
        assert started == ["2026-01-02T03:04:05Z"] * 3
        assert len(world.cluster.history) == writes
        assert "deadlineAt" not in one.step_run("ear")["status"]["attempt"]


async def test_a_step_starts_when_the_step_run_of_its_need_is_there(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b", "c")) as world:
        one = Realtime(world, stream("c", "b"), stream("b", "p"), primitive("p", "condition", "a"), stream("a"))
        world.start(one.key)
        await trio.sleep(5)
        made = [w.place[2] for w in world.cluster.history if w.verb == "create" and w.place[0] == "StepRun"]

        assert made == ["run-a", "run-b", "run-c"]
        assert one.status["stepsTotal"] == 3
        assert set(one.phases) == {"a", "b", "c"}


async def test_a_step_without_needs_ends_when_it_has_everything_of_those_before_it(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(after_seconds=2.0),), "b": (RUNS_ON,), "other": (Script(after_seconds=60.0),)}
    async with world_of(scripts) as world:
        one = Realtime(world, stream("a"), stream("b"), stream("other", needs=[]))
        world.start(one.key)
        await trio.sleep(30)
        assert one.phases == {"a": "Succeeded", "b": "Succeeded", "other": "Running"}
        assert (await one.ended())["phase"] == "Succeeded"


async def test_a_stream_waits_for_a_need_whose_engram_is_missing(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a", ref="late"), stream("b", "a"))
        world.start(one.key)
        await trio.sleep(3)
        before = one.phases
        world.engrams["late"] = STREAMS["live"]
        world.cluster.create(
            "user",
            {"apiVersion": "x", "kind": "Engram", "metadata": {"name": "late", "namespace": "default"}, "spec": {}},
        )
        await trio.sleep(3)

        assert before == {"a": "Pending"}
        assert one.phases == {"a": "Running", "b": "Running"}


async def test_limits_on_steps_do_not_keep_streams_from_each_other(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a"), stream("b", "a"), policy={"concurrency": 1})
        world.start(one.key)
        await trio.sleep(3)
        await world.kill()
        world.start(one.key)
        await trio.sleep(3)

        assert one.phases == {"a": "Running", "b": "Running"}
        assert world.slots is not None
        assert not world.slots.steps_holding(world.run(one.key)["metadata"]["uid"])


async def test_a_restarted_operator_counts_no_slot_for_a_stream(autojump_clock: MockClock) -> None:
    async with world_of(forever("a")) as world:
        one = Realtime(world, stream("a"))
        world.start(one.key)
        await trio.sleep(3)
        await world.kill()
        world.start()  # without the run, which would release its slots
        await trio.sleep(3)

        assert one.phases == {"a": "Running"}
        assert world.slots is not None
        assert not world.slots.running()


async def test_the_if_of_a_stream_is_not_asked_and_its_with_reads_inputs_only(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        step = stream(
            "b", "a", if_="{{ packet.loud }}", with_={"n": "{{ inputs.n }}"}, runtime={"x": "{{ steps.a.x }}"}
        )
        one = Realtime(world, stream("a"), step)
        world.start(one.key)
        await trio.sleep(3)

        assert one.phases == {"a": "Running", "b": "Running"}
        assert world.cluster.objects["Deployment", "default", "run-b"]["spec"]["inputs"] == {"n": 7}


async def test_defaults_of_an_engram_that_read_steps_fail_the_step_and_name_the_remedy(
    autojump_clock: MockClock,
) -> None:
    async with world_of(forever("a")) as world:
        world.engrams["live"] = Engram(executor="stream", timeout_seconds=None, default_with={"x": "{{ steps.a.x }}"})
        one = Realtime(world, stream("a"))
        world.start(one.key)
        status = await one.ended()

        assert status["stepStates"]["a"]["message"].startswith("ExpressionFailed: with is evaluated once")
        assert "runtime" in status["stepStates"]["a"]["message"]


async def test_a_story_that_cannot_stream_is_refused_with_all_its_problems(autojump_clock: MockClock) -> None:
    async with world_of() as world:
        one = Realtime(world, stream("a"), primitive("ask", "gate"), {"name": "s", "run": "true"})
        world.start(one.key)
        status = await one.ended()

        assert one.condition("Ready") == ("False", "InvalidConfiguration")
        assert "spec.steps[1] (ask)" in status["message"]
        assert "spec.steps[2] (s)" in status["message"]


async def test_the_end_of_the_sources_runs_through_the_graph_and_the_run_succeeds(autojump_clock: MockClock) -> None:
    scripts = {"a": (Script(after_seconds=4.0),), "b": (Script(Act.HANG, exit_lag_seconds=2.0),), "c": (RUNS_ON,)}
    async with world_of(scripts) as world:
        one = Realtime(
            world,
            stream("a"),
            stream("b", "a"),
            stream("c", "b"),
            **{"finally": [engram("sweep")]},
            output={"n": "{{ inputs.n }}"},
        )
        world.start(one.key)
        status = await one.ended()
        ends = {step: one.step_run(step)["status"]["finishedAt"] for step in "abc"}

        assert (status["phase"], status["output"]) == ("Succeeded", {"n": 7})
        assert one.phases == dict.fromkeys(("a", "b", "c", "sweep"), "Succeeded")
        assert ends["a"] < ends["b"] <= ends["c"]
        assert not any(map(one.has_workload, "abc"))
        assert all(is_finished(one.binding(step)) and is_drained(one.binding(step)) for step in "abc")
        assert {one.said(step) for step in "abc"} == {("Succeeded", "False")}


async def test_a_container_that_ends_is_started_again_and_the_stream_shows_that_it_is_away(
    autojump_clock: MockClock,
) -> None:
    async with world_of({"a": (Script(Act.EXIT, 3.0, exit_code=1), RUNS_ON)}) as world:
        one = Realtime(world, stream("a", ref=FRAIL))
        world.start(one.key)
        await trio.sleep(2)
        before = one.said("a")
        await trio.sleep(1.4)

        assert (before, one.said("a")) == (("Running", "True"), ("Paused", "False"))
        assert one.phases == {"a": "Paused"}
        assert one.status["stepStates"]["a"]["reason"] == "AwaitingTransport"
        assert one.status["stepStates"]["a"]["message"] == "Waiting for the connection to the hub"
        await trio.sleep(1.5)
        assert (one.said("a"), one.phases) == (("Running", "True"), {"a": "Running"})
        assert "message" not in one.status["stepStates"]["a"]


async def test_a_retry_is_a_new_workload_of_the_next_generation(autojump_clock: MockClock) -> None:
    async with world_of({"a": (FAILS, RUNS_ON)}) as world:
        one = Realtime(world, stream("a", ref=FRAIL))
        world.start(one.key)
        await trio.sleep(20)
        status = one.step_run("a")["status"]

        assert (status["retries"], status["attempt"]["number"], one.said("a")) == (1, 1, ("Running", "True"))
        assert one.binding("a")["metadata"]["annotations"]["bubustack.io/connector-generation"] == "2"
        assert one.binding("a")["status"]["stream"]["generation"] == 2
        assert not is_finished(one.binding("a"))
        assert world.streams.unfenced == []
        assert world.hub.doubled == []


async def test_a_stream_that_fails_for_good_ends_the_others_and_the_run_cleans_up(autojump_clock: MockClock) -> None:
    async with world_of({"a": (RUNS_ON,), "b": (FAILS,), "c": (RUNS_ON,)}) as world:
        one = Realtime(
            world,
            stream("a"),
            stream("b", "a"),
            stream("c", "b"),
            compensations=[engram("undo")],
            **{"finally": [engram("sweep")]},
        )
        world.start(one.key)
        status = await one.ended()
        order = [w.place[2] for w in world.cluster.history if w.place[0] == "Job" and w.verb == "create"]

        assert (status["phase"], order) == ("Compensated", ["run-undo", "run-sweep"])
        assert one.phases["b"] == "Failed"
        assert {one.phases["a"], one.phases["c"]} == {"Canceled"}
        assert "step b failed" in status["message"]
        assert status["stepStates"]["a"]["message"] == "Ended: step 'b' failed"
        assert not any(map(one.has_workload, "abc"))


async def test_with_continue_on_failure_the_other_streams_go_on(autojump_clock: MockClock) -> None:
    async with world_of({"a": (FAILS,), "b": (RUNS_ON,), "c": (Script(after_seconds=9.0),)}) as world:
        one = Realtime(world, stream("a"), stream("b", "a"), stream("c", needs=[]), policy=CONTINUE)
        world.start(one.key)
        status = await one.ended()

        assert one.phases == {"a": "Failed", "b": "Succeeded", "c": "Succeeded"}
        assert (status["phase"], status["message"]) == (
            "Failed",
            "step a failed: the container exited with code 137",
        )


async def test_a_stream_behind_one_that_failed_and_may_fail_is_drained(autojump_clock: MockClock) -> None:
    async with world_of({"a": (FAILS,), "b": (RUNS_ON,)}) as world:
        one = Realtime(world, stream("a", allowFailure=True), stream("b", "a"))
        world.start(one.key)
        status = await one.ended()

        assert (one.phases, status["phase"]) == ({"a": "Failed", "b": "Succeeded"}, "Succeeded")


def packet_run(one: Realtime, name: str) -> None:
    """A StoryRun that a packet has started, as the hub writes it; it never ends here."""
    owner = {"kind": "StoryRun", "name": "run", "uid": one.world.run(one.key)["metadata"]["uid"]}
    metadata: Object = {"name": name, "namespace": "default", "labels": {"bubustack.io/parent-step": "call"}}
    metadata["ownerReferences"] = [owner]
    spec = {"storyRef": {"name": "child"}}
    manifest = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun", "metadata": metadata, "spec": spec}
    assert one.world.cluster.create("hub", manifest) is not None


async def test_a_cancel_asks_the_runs_of_packets_to_end_also_those_that_come_late(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a"), primitive("call", "executeStory", "a"), stream("b", "call"))
        world.start(one.key)
        await trio.sleep(5)
        packet_run(one, "early")
        await trio.sleep(1)
        assert set(one.phases) == {"a", "b"}, "it is no step of the run"
        world.cancel_run(one.key)
        await trio.sleep(0.2)
        packet_run(one, "late")
        status = await one.ended()

        assert (status["phase"], set(one.phases)) == ("Finished", {"a", "b"})
        runs = [world.cluster.objects["StoryRun", "default", name] for name in ("early", "late")]
        assert [run["spec"].get("cancelRequested") for run in runs] == [True, True]


async def test_a_run_that_ends_by_itself_leaves_the_runs_of_its_packets_alone(autojump_clock: MockClock) -> None:
    async with world_of() as world:
        one = Realtime(world, stream("a"), stream("b", "a"))
        world.start(one.key)
        packet_run(one, "begun")
        assert (await one.ended())["phase"] == "Succeeded"

        assert "cancelRequested" not in world.cluster.objects["StoryRun", "default", "begun"]["spec"]


async def test_a_cancel_ends_the_sources_and_drains_the_rest(autojump_clock: MockClock) -> None:
    scripts = {"a": (RUNS_ON,), "b": (Script(Act.HANG, exit_lag_seconds=5.0),), "c": (RUNS_ON,)}
    async with world_of(scripts) as world:
        one = Realtime(world, *CHAIN, drain_seconds=40, **SWEEP)
        world.start(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        await trio.sleep(1)
        at_first = [one.has_workload(step) for step in "abc"]
        status = await one.ended()
        gone = [w.place[2] for w in world.cluster.history if w.place[0] == "Deployment" and w.verb == "delete"]

        assert at_first == [False, True, True]
        assert gone == ["run-a", "run-b", "run-c"]
        assert all(is_drained(one.binding(step)) for step in "bc")
        assert status["phase"] == "Finished"
        assert one.phases == {"a": "Canceled", "b": "Canceled", "c": "Canceled", "sweep": "Succeeded"}


@pytest.mark.parametrize(("seconds", "policy"), [(30, {}), (0, {"timeouts": {"gracefulShutdownTimeout": "7s"}})])
async def test_what_is_not_drained_in_time_is_ended(
    autojump_clock: MockClock, seconds: int, policy: dict[str, Any]
) -> None:
    scripts = {"a": (RUNS_ON,), "b": (Script(Act.HANG, exit_lag_seconds=900.0, grace_seconds=2.0),)}
    async with world_of(scripts) as world:
        one = Realtime(world, stream("a"), stream("b", "a"), drain_seconds=seconds, policy=policy)
        world.start(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        canceled_at = trio.current_time()
        await one.ended()

        assert trio.current_time() - canceled_at == pytest.approx((seconds or 7) + 2.0, abs=0.2)
        assert one.phases == {"a": "Canceled", "b": "Canceled"}
        assert not is_drained(one.binding("b"))
        assert is_finished(one.binding("b"))
        assert not one.has_workload("b")


async def test_a_terminated_topology_is_honoured(autojump_clock: MockClock) -> None:
    async with world_of({"a": (RUNS_ON,), "b": (RUNS_ON,), "c": (Script(after_seconds=1.0),)}) as world:
        one = Realtime(world, stream("a"), stream("b", "a"), stream("c", needs=[]), **SWEEP)
        world.start(one.key)
        await trio.sleep(9)
        world.terminate_topology(one.key)
        status = await one.ended()

        assert one.phases == {"a": "Failed", "b": "Failed", "c": "Succeeded", "sweep": "Succeeded"}
        assert status["stepStates"]["b"]["message"] == "realtime topology terminated"
        assert (status["phase"], one.condition("Degraded")) == ("Failed", ("True", "DependencyFailed"))
        assert not any(map(one.has_workload, "abc"))


async def test_the_word_about_the_topology_stays_while_the_run_is_written(autojump_clock: MockClock) -> None:
    """The operator must not take back what another program has said, before the run has followed it."""
    async with world_of({"a": (Script(Act.HANG, grace_seconds=6.0),)}) as world:
        one = Realtime(world, stream("a"))
        world.start(one.key)
        await trio.sleep(3)
        world.terminate_topology(one.key)
        await trio.sleep(3)
        during = one.condition("Degraded")
        await one.ended()

        assert during == ("True", "TopologyTerminated")


async def test_a_batch_run_does_not_heed_a_word_about_streams(autojump_clock: MockClock) -> None:
    async with world_of({"a": (Script(after_seconds=5.0),)}) as world:
        world.add_story("story", {"steps": [engram("a")]})
        key = world.add_run("run", "story")
        world.start(key)
        await trio.sleep(2)
        world.terminate_topology(key)
        assert await world.until_ended(key)

        assert world.status(key)["phase"] == "Succeeded"


async def test_a_run_without_any_connection_shows_it_after_a_while_and_goes_on(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a"), stream("b", "a"))
        world.start(one.key)
        await trio.sleep(10)
        world.hub.go_down()
        await trio.sleep(59)
        early = one.condition("Degraded")
        await trio.sleep(2)
        late, message = one.condition("Degraded"), one.status["message"]
        await world.kill()
        world.start(one.key)
        await trio.sleep(30)
        restarted = one.condition("Degraded")
        writes = len(world.cluster.history)
        await trio.sleep(3600)
        silent = len(world.cluster.history) == writes
        world.hub.come_up()
        await trio.sleep(2)

        assert early == ("False", "StartingExecution")
        assert late == restarted == ("True", "TopologyDegraded")
        since = "No stream of the run has been connected since 2026-01-02T03:04:15Z"
        assert message == f"{since}: Waiting for the connection to the hub"
        assert silent
        assert one.condition("Degraded") == ("False", "StartingExecution")
        assert one.phases == {"a": "Running", "b": "Running"}
        assert [told[1] for told in world.events.told].count("TopologyDegraded") == 1


async def test_a_hub_that_is_killed_degrades_its_runs_although_it_has_written_nothing(
    autojump_clock: MockClock,
) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a"), stream("b", "a"))
        world.start(one.key)
        await trio.sleep(10)
        writes = len(world.cluster.history)
        world.hub.die()
        await trio.sleep(SILENCE_SECONDS - 1)
        nothing_is_written = len(world.cluster.history) == writes
        before = one.phases
        await trio.sleep(2)
        silent, early = one.phases, one.condition("Degraded")
        await trio.sleep(SILENCE_SECONDS)
        late, message = one.condition("Degraded"), one.status["message"]
        writes = len(world.cluster.history)
        await world.kill()
        world.start(one.key)
        await trio.sleep(3600)
        stays = len(world.cluster.history) == writes
        world.hub.come_up()
        await trio.sleep(RENEWS_SECONDS - 1)  # what the new hub has written counts before it renews

        assert nothing_is_written
        assert (before, early) == ({"a": "Running", "b": "Running"}, ("False", "StartingExecution"))
        assert silent == {"a": "Paused", "b": "Paused"}
        assert late == ("True", "TopologyDegraded")
        since = "2026-01-02T03:04:15Z"
        why = f"no hub has renewed the Lease bobrapet-hub since {since}"
        assert message == f"No stream of the run has been connected since {since}: {why}"
        assert stays
        assert one.condition("Degraded") == ("False", "StartingExecution")
        assert one.phases == {"a": "Running", "b": "Running"}


async def test_a_hub_that_is_back_in_time_degrades_nothing(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a"), stream("b", "a"))
        world.start(one.key)
        await trio.sleep(10)
        world.hub.die()
        await trio.sleep(SILENCE_SECONDS - 1)
        world.hub.come_up()
        await trio.sleep(600)

        assert world.hub.silences == []
        assert one.phases == {"a": "Running", "b": "Running"}
        assert "TopologyDegraded" not in [told[1] for told in world.events.told]


async def test_declared_timeouts_end_streams_and_runs(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b")) as world:
        one = Realtime(world, stream("a"), stream("b", "a"), policy={"timeouts": {"story": "1m"}})
        world.start(one.key)
        status = await one.ended()

        assert (status["phase"], one.phases) == ("Timeout", {"a": "Timeout", "b": "Timeout"})


async def test_a_workload_that_somebody_deletes_comes_back(autojump_clock: MockClock) -> None:
    async with world_of(forever("a")) as world:
        one = Realtime(world, stream("a"))
        world.start(one.key)
        await trio.sleep(3)
        world.delete_job(one.key, "a")
        await trio.sleep(3)

        assert one.has_workload("a")
        assert one.said("a") == ("Running", "True")
        assert "the workload of run-a is missing" in str(
            [told for told in world.events.told if told[1] == "JobRestarted"]
        )


async def test_a_restarted_operator_finds_the_streams_as_they_are(autojump_clock: MockClock) -> None:
    async with world_of({"a": (Script(after_seconds=9.0),), "b": (RUNS_ON,)}) as world:
        one = Realtime(world, stream("a"), stream("b", "a"))
        world.start(one.key)
        await trio.sleep(4)
        await world.kill()
        writes = len(world.cluster.history)
        world.start(one.key)
        await trio.sleep(4)
        assert len(world.cluster.history) == writes
        await world.kill()
        await trio.sleep(60)
        world.start(one.key)
        status = await one.ended()

        assert (status["phase"], one.phases) == ("Succeeded", {"a": "Succeeded", "b": "Succeeded"})


async def test_a_realtime_run_runs_again_from_a_step_and_as_a_whole(autojump_clock: MockClock) -> None:
    async with world_of({"a": (Script(after_seconds=4.0),), "b": (RUNS_ON,)}) as world:
        one = Realtime(world, stream("a"), stream("b", "a"))
        world.start(one.key)
        await one.ended()
        before = [one.step_run(step)["metadata"]["uid"] for step in "ab"]
        world.redrive_from(one.key, "b", "t1")
        await trio.sleep(1)
        await one.ended()
        between = [one.step_run(step)["metadata"]["uid"] for step in "ab"]
        world.redrive(one.key, "t2")
        await trio.sleep(3)
        running = one.phases
        await one.ended()

        assert (before[0] == between[0], before[1] == between[1]) == (True, False)
        assert running == {"a": "Running", "b": "Running"}
        assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


async def test_a_redrive_of_a_running_stream_replaces_it_and_what_is_behind_it(autojump_clock: MockClock) -> None:
    async with world_of(forever("a", "b", "c")) as world:
        one = Realtime(world, stream("a"), stream("b", "a"), stream("c", "b"))
        world.start(one.key)
        await trio.sleep(3)
        before = [one.step_run(step)["metadata"]["uid"] for step in "abc"]
        world.redrive_from(one.key, "b", "t1")
        await trio.sleep(5)
        after = [one.step_run(step)["metadata"]["uid"] for step in "abc"]

        assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
        assert {one.said(step) for step in "abc"} == {("Running", "True")}


async def test_a_primitive_of_each_packet_is_no_step_to_run_again_from(autojump_clock: MockClock) -> None:
    async with world_of({"a": (Script(after_seconds=4.0),)}) as world:
        one = Realtime(world, stream("a"), primitive("p", "condition", "a"))
        world.start(one.key)
        await one.ended()
        world.redrive_from(one.key, "p", "t1")
        await trio.sleep(3)

        assert one.condition("Redrive") == ("False", "RedriveInvalid")
        refused = find_condition(one.status["conditions"], "Redrive") or {}
        assert "runs for each packet" in refused["message"]


async def test_only_the_operator_starts_a_run_of_a_story_that_is_always_on(autojump_clock: MockClock) -> None:
    async with world_of() as world:
        one = Realtime(world, *CHAIN, streamingStrategy="PerStory")
        world.start(one.key)
        status = await one.ended()

    assert (status["phase"], one.condition("Ready")) == ("Failed", ("False", "InvalidConfiguration"))
    assert "set streamingStrategy: PerStoryRun" in status["message"]
    assert "startedAt" not in status
    assert world.step_run(one.key, "a") is None


async def test_a_stream_that_the_go_operator_has_left_fails_its_step_and_starts_nothing(
    autojump_clock: MockClock,
) -> None:
    async with world_of(forever("ear")) as world:
        one = Realtime(world, stream("ear"))
        run = world.cluster.objects["StoryRun", *one.key]
        owner = {"apiVersion": run["apiVersion"], "kind": "StoryRun", "name": "run", "uid": run["metadata"]["uid"]}
        metadata = {"name": "run-ear", "namespace": "default", "finalizers": ["steprun.bubustack.io/finalizer"]}
        step_run = {
            "apiVersion": "runs.bubustack.io/v1alpha1",
            "kind": "StepRun",
            "metadata": {**metadata, "ownerReferences": [{**owner, "controller": True}]},
            "spec": {"storyRunRef": {"name": "run"}, "stepId": "ear", "engramRef": {"name": "ear"}},
        }
        world.cluster.create("go", step_run)
        world.cluster.force_patch("go", ("StepRun", "default", "run-ear"), "status", {"phase": "Running", "retries": 0})
        world.start(one.key)
        status = await one.ended()

        assert status["phase"] == "Failed"
        assert "from the Go operator" in status["stepStates"]["ear"]["message"]
        assert not one.has_workload("ear")
        assert ("Job", "default", "run-ear") not in world.cluster.objects
