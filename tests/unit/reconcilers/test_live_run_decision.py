"""What is done about the run of a Story that is always on, by what is stored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.api.objects import Object
from core.api.phases import LiveReason
from reconcilers.live_run_decision import LiveDecision, LiveSuccessor, decide, is_record_of_rest
from tests.unit.reconcilers.live_run_samples import always_on, live_run, replaced
from tests.unit.reconcilers.reconciler_samples import NOW

SHORT, LONG = timedelta(seconds=1), timedelta(minutes=10)
HOUR = timedelta(hours=1)


def uid(run: Object) -> str:
    found: str = run["metadata"]["uid"]
    return found


def deleted(run: Object) -> Object:
    return {**run, "metadata": {**run["metadata"], "deletionTimestamp": "2025-01-02T03:04:05Z"}}


def decided(story: Object, *runs: Object, has_errors: bool = False) -> LiveDecision:
    return decide(story, runs, NOW, has_errors=has_errors)


def ended(decision: LiveDecision) -> list[str]:
    return [run["metadata"]["name"] for run, _ in decision.end]


def name(run: Object) -> str:
    found: str = run["metadata"]["name"]
    return found


def test_without_a_run_the_first_is_started() -> None:
    assert decided(always_on()).start == LiveSuccessor("", 0)


def test_a_live_run_of_this_generation_is_left_alone() -> None:
    story = always_on()
    run = live_run(story)
    decision = decided(story, run)
    assert (decision.reason, decision.run, decision.end, decision.start) == (LiveReason.RUNNING, run, (), None)


def test_a_run_that_has_not_begun_yet_is_the_run() -> None:
    story = always_on()
    assert decided(story, live_run(story, phase="")).reason is LiveReason.RUNNING


def test_a_changed_story_ends_the_run_of_the_old_one_once_and_waits_for_its_end() -> None:
    old, new = always_on(1), always_on(2)
    run = live_run(old)
    first = decided(new, run)
    assert (first.reason, ended(first), first.start) == (LiveReason.ENDING, [name(run)], None)
    second = decided(new, replaced(run))
    assert (second.reason, ended(second), second.start) == (LiveReason.ENDING, [], None)
    third = decided(new, {**replaced(run), "status": {"phase": "Finished"}})
    assert third.start == LiveSuccessor(uid(run), 0)


def test_another_story_of_that_name_ends_the_run_of_the_former_one() -> None:
    run = live_run(always_on(1, uid="s-0"))
    decision = decided(always_on(1, uid="s-1"), run)
    assert (ended(decision), decision.start) == ([name(run)], None)
    gone = {**replaced(run), "status": {"phase": "Finished"}}
    assert decided(always_on(1, uid="s-1"), gone).start == LiveSuccessor("", 0)


@pytest.mark.parametrize(
    ("restarts", "lived", "pause", "next_restarts"),
    [
        (0, SHORT, timedelta(seconds=10), 1),
        (1, SHORT, timedelta(seconds=20), 2),
        (2, SHORT, timedelta(seconds=40), 3),
        (5, SHORT, timedelta(minutes=5), 6),
        (500, SHORT, timedelta(minutes=5), 501),
        (7, LONG, timedelta(seconds=10), 0),
        (7, LONG - SHORT, timedelta(minutes=5), 8),
    ],
)
@pytest.mark.parametrize("phase", ["Failed", "Timeout", "Compensated", "Aborted"])
def test_a_run_that_fails_has_a_successor_after_a_pause(
    restarts: int, lived: timedelta, pause: timedelta, next_restarts: int, phase: str
) -> None:
    story = always_on()
    due = live_run(story, restarts=restarts, phase=phase, made=NOW.replace(microsecond=0) - lived - pause, lived=lived)
    assert decided(story, due).start == LiveSuccessor(uid(due), next_restarts)
    made = NOW.replace(microsecond=0) - lived - pause + timedelta(seconds=1)
    early = live_run(story, restarts=restarts, phase=phase, made=made, lived=lived)
    decision = decided(story, early)
    assert (decision.start, decision.reason) == (None, LiveReason.RESTARTING)
    assert decision.until == made + lived + pause


def test_the_story_rests_when_its_sources_have_finished() -> None:
    story = always_on()
    run = live_run(story, phase="Succeeded", made=NOW - HOUR, lived=SHORT)
    decision = decided(story, run)
    assert (decision.reason, decision.run, decision.start, decision.until) == (LiveReason.FINISHED, run, None, None)


@pytest.mark.parametrize("phase", ["Finished", "Failed"])
def test_the_story_rests_when_a_person_has_canceled_the_run(phase: str) -> None:
    story = always_on()
    run = live_run(story, phase=phase, made=NOW - HOUR, lived=SHORT, cancelRequested=True)
    decision = decided(story, run)
    assert (decision.reason, decision.start, decision.until) == (LiveReason.CANCELED, None, None)


def test_a_change_of_the_story_ends_the_rest() -> None:
    run = live_run(always_on(1), phase="Succeeded", made=NOW - HOUR, lived=SHORT)
    assert decided(always_on(2), run).start == LiveSuccessor(uid(run), 0)


def test_a_deleted_run_is_followed_by_another_one_when_it_is_gone() -> None:
    story = always_on()
    run = deleted(live_run(story))
    decision = decided(story, run)
    assert (decision.reason, decision.end, decision.start) == (LiveReason.ENDING, (), None)
    over = deleted(live_run(story, phase="Succeeded", lived=SHORT))
    assert decided(story, over).start is None
    assert decided(story).start == LiveSuccessor("", 0)


def test_a_story_with_errors_starts_nothing_and_ends_nothing() -> None:
    old = always_on(1)
    run = live_run(old)
    alive = decided(always_on(2), run, has_errors=True)
    assert (alive.reason, alive.end, alive.start, alive.run) == (LiveReason.NOT_STARTED, (), None, run)
    assert decided(old, has_errors=True).start is None


def test_of_several_runs_the_last_of_the_chain_is_kept() -> None:
    """A run that somebody has run again, after it had a successor."""
    story = always_on()
    first = live_run(story)
    second = live_run(story, first)
    decision = decided(story, first, second)
    assert (decision.run, ended(decision), decision.start) == (second, [name(first)], None)


def test_runs_of_one_second_are_told_apart_by_the_chain() -> None:
    story = always_on()
    first = live_run(story, phase="Failed", made=NOW - HOUR, lived=SHORT)
    second = live_run(story, first, restarts=1, phase="Succeeded", made=NOW - HOUR, lived=SHORT)
    third = live_run(story, second, phase="Finished", made=NOW - HOUR, lived=SHORT, cancelRequested=True)
    for order in ((first, second, third), (third, second, first), (second, third, first)):
        assert decided(story, *order).run == third


def test_only_the_newest_ended_run_of_this_generation_is_kept() -> None:
    story = always_on()
    first = live_run(story, phase="Failed", made=NOW - HOUR, lived=SHORT)
    assert is_record_of_rest(first, story, [first])
    second = live_run(story, first, restarts=1)
    assert not is_record_of_rest(first, story, [first, second])
    assert not is_record_of_rest(first, always_on(2), [first])
    assert not is_record_of_rest(first, always_on(1, uid="another"), [first])
    assert not is_record_of_rest(first, always_on(1, streamingStrategy="PerStoryRun"), [first])
    assert not is_record_of_rest(first, None, [first])
    assert not is_record_of_rest(replaced(first), story, [first])
