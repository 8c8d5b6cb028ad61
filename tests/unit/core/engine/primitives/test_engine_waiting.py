"""``wait`` and ``gate``: events decide, deadlines are kept, and no step waits for ever for an impossible event."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Script
from fuzz.engine.world import open_world

GATE = [primitive("approve", "gate"), engram("after", "approve")]


async def started(world: Any, one: Any, step: str) -> None:
    world.start(one.key)
    assert await world.until(lambda: world.phases(one.key).get(step) == "Paused")


@pytest.mark.parametrize(
    ("state", "ends", "run"), [("Approved", "Succeeded", "Succeeded"), ("Rejected", "Failed", "Failed")]
)
async def test_26_2_14_a_gate_ends_as_it_is_decided_with_the_words_of_whoever_decided(
    autojump_clock: MockClock, scenario: Any, state: str, ends: str, run: str
) -> None:
    async with open_world() as world:
        one = scenario(world, GATE)
        await started(world, one, "approve")
        assert one.status["stepStates"]["approve"]["message"] == "Waiting for approval"
        await trio.sleep(5000)
        world.approve(one.key, "approve", state, "because I say so")
        at = trio.current_time()
        assert await world.until_ended(one.key)

    assert one.status["phase"] == run
    assert (one.phases["approve"], one.status["stepStates"]["approve"]["message"]) == (ends, "because I say so")
    assert trio.current_time() - at <= 1.2  # the step after it takes one second
    assert one.status["gates"]["approve"]["state"] == state


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"updatedBy": "ann", "updatedAt": "2026-01-02T03:04:05Z"}, "Approved by ann at 2026-01-02T03:04:05Z"),
        ({"updatedBy": "ann"}, "Approved by ann"),
        ({"updatedAt": "yesterday"}, "Approved"),
        ({"updatedBy": "ann", "message": "fine"}, "fine"),
    ],
)
async def test_a_step_says_who_approved_and_when_as_far_as_it_is_known(
    autojump_clock: MockClock, scenario: Any, said: dict[str, str], message: str
) -> None:
    decision = {"state": "Approved", **said}
    async with open_world() as world:
        one = scenario(world, [primitive("approve", "gate")])
        world.cluster.force_patch("user", ("StoryRun", *one.key), "status", {"gates": {"approve": decision}})
        status = await one.to_the_end()

    assert status["stepStates"]["approve"]["message"] == message
    assert status["stepStates"]["approve"]["finishedAt"]
    assert status["gates"] == {"approve": decision}


def decided(world: Any, one: Any, gate: str, **decision: Any) -> None:
    world.cluster.force_patch("user", ("StoryRun", *one.key), "status", {"gates": {gate: decision}})


READS = [
    primitive("approve", "gate"),
    engram("hold", "approve"),
    engram("after", "hold", with_={"k": "{{ steps.approve.output.ticket }}"}),
]
ECHO = {"hold": (Script(after_seconds=60.0),), "after": (Script(echo=True),)}


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_is_given_with_an_approval_is_the_output_of_the_step_as_it_was_written(
    autojump_clock: MockClock, scenario: Any, restarts: bool
) -> None:
    text = '{{ inputs.secret }} {"$bubuSecretRef": "n:k"}'
    async with open_world(ECHO) as world:
        one = scenario(world, READS, run={"inputs": {"secret": "s"}}, output={"k": "{{ steps.after.output.k }}"})
        await started(world, one, "approve")
        decided(world, one, "approve", state="Approved", data={"ticket": text})
        assert await world.until(lambda: world.phases(one.key).get("hold") == "Running")
        if restarts:
            await world.kill()
            world.start(one.key)
        assert await world.until_ended(one.key)

    assert (one.status["phase"], one.status.get("output")) == ("Succeeded", {"k": text}), one.status


async def test_data_of_a_branch_are_part_of_the_output_around_it(autojump_clock: MockClock, scenario: Any) -> None:
    steps = [
        primitive("fan", "parallel", with_={"steps": [primitive("ask", "gate"), primitive("skips", "gate")]}),
        engram("after", with_={"fan": "{{ steps.fan.output }}"}),
    ]
    async with open_world({"after": (Script(echo=True),)}) as world:
        one = scenario(world, steps, output={"fan": "{{ steps.after.output.fan }}"})
        decided(world, one, "fan/ask", state="Approved", data={"a": "1"})
        decided(world, one, "fan/skips", state="Approved")
        status = await one.to_the_end()

    assert status["output"] == {"fan": {"ask": {"a": "1"}, "skips": {}}}


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_gate_without_data_has_an_empty_output(
    autojump_clock: MockClock, scenario: Any, restarts: bool
) -> None:
    """This includes a gate that nobody decided in time, so that an expression that reads it can give a default."""
    steps = [
        primitive("bare", "gate"),
        primitive("late", "gate", with_={"timeout": "10s", "onTimeout": "skip"}),
        engram("hold", "bare", "late"),
        engram("after", "hold", with_={"bare": "{{ steps.bare.output }}", "late": "{{ steps.late.output }}"}),
    ]
    async with open_world(ECHO) as world:
        output = {"bare": "{{ steps.after.output.bare }}", "late": "{{ steps.after.output.late }}"}
        one = scenario(world, steps, output=output)
        decided(world, one, "bare", state="Approved")
        world.start(one.key)
        assert await world.until(lambda: world.phases(one.key).get("hold") == "Running")
        decided(world, one, "late", state="Approved", data={"too": "late"})
        if restarts:
            await world.kill()
            world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases["late"] == "Skipped"
    assert one.status["output"] == {"bare": {}, "late": {}}, one.status


async def test_entries_that_admission_would_refuse_are_left_out(autojump_clock: MockClock, scenario: Any) -> None:
    data = {"ticket": "OPS-17", "$bubuSecretRef": "n:k", "a.b": "c", "k" * 64: "long", "é": "e"}
    steps = [primitive("approve", "gate"), engram("after", with_={"all": "{{ steps.approve.output }}"})]
    async with open_world(ECHO) as world:
        one = scenario(world, steps, output={"all": "{{ steps.after.output.all }}"})
        decided(world, one, "approve", state="Approved", data=data)
        status = await one.to_the_end()

    assert status["output"] == {"all": {"ticket": "OPS-17"}}


async def test_a_rejection_gives_nothing(autojump_clock: MockClock, scenario: Any) -> None:
    steps = [
        primitive("ask", "gate", allowFailure=True),
        engram("after", "ask", with_={"k": "{{ steps.ask.output.k }}"}),
    ]
    async with open_world(ECHO) as world:
        one = scenario(world, steps)
        decided(world, one, "ask", state="Rejected", data={"k": "v"})
        status = await one.to_the_end()

    assert one.phases["after"] == "Failed"
    assert "ExpressionFailed" in status["stepStates"]["after"]["message"]


async def test_a_gate_may_be_decided_before_it_is_reached(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), primitive("approve", "gate", "a")])
        world.approve(one.key, "approve", "Approved", "")
        status = await one.to_the_end()

    assert status["stepStates"]["approve"]["phase"] == "Succeeded"
    assert trio.current_time() < 1.2


@pytest.mark.parametrize(
    ("word", "ends", "run"),
    [("skip", "Skipped", "Succeeded"), ("", "Timeout", "Failed"), ("FAIL", "Timeout", "Failed")],
)
@pytest.mark.parametrize("type_", ["gate", "wait"])
async def test_26_2_15_what_nobody_decides_in_time_is_skipped_or_fails(
    autojump_clock: MockClock, scenario: Any, type_: str, word: str, ends: str, run: str
) -> None:
    with_ = {"timeout": "90s", "onTimeout": word, "until": "{{ inputs.go }}"}
    async with open_world() as world:
        one = scenario(world, [primitive("x", type_, with_=with_)], run={"inputs": {"go": False}})
        await started(world, one, "x")
        timers = world.run(one.key)["metadata"]["annotations"]["runs.bubustack.io/step-timers"]
        assert "2026-01-02T03:05:35Z" in timers
        assert await world.until_ended(one.key)

    assert (one.phases["x"], one.status["phase"]) == (ends, run)
    missing = {
        "gate": "nobody has approved or rejected it",
        "wait": "its condition did not become true: {{ inputs.go }}",
    }
    text = f"timed out after 1m30s (timeout from: with.timeout): {missing[type_]}"
    state = one.status["stepStates"]["x"]
    assert state["message"] == (f"Skipped: {text}" if ends == "Skipped" else text)
    assert ends == "Skipped" or state["reason"] == "TimedOut"
    assert 90.0 <= trio.current_time() <= 90.25


async def test_a_decision_counts_before_the_timeout(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("x", "gate", with_={"timeout": "10s"})])
        await started(world, one, "x")
        await world.kill()
        world.approve(one.key, "x", "Approved", "in time")
        await trio.sleep(100)
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases["x"] == "Succeeded"


@pytest.mark.parametrize("type_", ["gate", "wait", "sleep"])
async def test_settings_that_make_no_sense_fail_the_step_with_the_field(
    autojump_clock: MockClock, scenario: Any, type_: str
) -> None:
    field = "duration" if type_ == "sleep" else "timeout"
    with_ = {field: "soon", "until": "true"}
    async with open_world() as world:
        status = await scenario(world, [primitive("x", type_, with_=with_)]).to_the_end()

    assert status["stepStates"]["x"]["message"].startswith(f"InvalidConfiguration: with.{field}: ")


async def test_a_wait_goes_on_the_moment_what_it_reads_has_come(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = {"slow": (Script(after_seconds=777.0, output={"ready": True}),)}
    steps = [
        engram("slow"),
        primitive("x", "wait", with_={"until": "{{ steps.slow.output.ready }}", "pollInterval": "1h"}),
        engram("after", "x"),
    ]
    async with open_world(scripts) as world:
        status = await scenario(world, steps).to_the_end()

    assert status["phase"] == "Succeeded"
    assert trio.current_time() == pytest.approx(778.0, abs=0.1)


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("{{ steps.a.output.ready }}", "cannot become true"),
        ("{{ inputs.go }}", "cannot become true"),
        ("{{ steps.a.output.nothing }}", "ExpressionFailed"),
        ("{{ steps.a.output.text }}", "ExpressionFailed"),
    ],
)
async def test_a_wait_without_timeout_fails_once_it_can_never_be_met(
    autojump_clock: MockClock, scenario: Any, until: str, words: str
) -> None:
    async with open_world({"a": (Script(output={"ready": False, "text": "maybe"}),)}) as world:
        one = scenario(
            world, [engram("a"), primitive("x", "wait", with_={"until": until})], run={"inputs": {"go": False}}
        )
        status = await one.to_the_end()

    assert status["stepStates"]["x"]["phase"] == "Failed"
    assert words in status["stepStates"]["x"]["message"]


async def test_nothing_is_written_while_a_gate_and_a_wait_wait(autojump_clock: MockClock, scenario: Any) -> None:
    steps = [
        primitive("x", "gate"),
        primitive("y", "wait", with_={"until": "{{ steps.x.output.z }}", "timeout": "5h"}),
        primitive("z", "sleep", with_={"duration": "5h"}),
    ]
    async with open_world() as world:
        one = scenario(world, steps)
        await started(world, one, "z")
        await trio.sleep(3)
        before, calls = one.writes(), world.processes[-1].calls
        await trio.sleep(3000)

        assert (one.writes(), world.processes[-1].calls) == (before, calls)


async def test_a_wait_that_reads_a_signal_of_a_running_step(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = {"work": (Script(after_seconds=1000.0),)}
    steps = [engram("work"), primitive("x", "wait", with_={"until": "{{ steps.work.signals.half }}"})]
    async with open_world(scripts) as world:
        one = scenario(world, steps)
        await started(world, one, "x")
        await trio.sleep(100)
        world.cluster.force_patch("sdk", ("StepRun", "default", "run-work"), "status", {"signals": {"half": True}})
        assert await world.until(lambda: one.phases["x"] == "Succeeded", 10)
        assert one.phases["work"] == "Running"
