"""Each trigger of an Impulse counts once, whatever is removed, and whoever else writes the numbers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract.instants import format_instant
from core.api.objects import Object
from reconcilers.impulse_counts import SETTLING, CountedRun, CountedTrigger, impulse_counts
from tests.unit.reconcilers.reconciler_samples import NOW


def at(seconds_ago: float) -> str:
    return format_instant(NOW - timedelta(seconds=seconds_ago))


def trigger(decision: str = "Created", seconds_ago: float = 60, *, accepted: float | None = None) -> CountedTrigger:
    first = seconds_ago if accepted is None else accepted
    status = {"decision": decision, "acceptedAt": at(first), "completedAt": at(seconds_ago)}
    return CountedTrigger.of({"metadata": {"creationTimestamp": at(first)}, "status": status})


UNDECIDED = CountedTrigger.of({"metadata": {"creationTimestamp": at(5)}, "spec": {}})
PENDING = CountedTrigger.of({"metadata": {"creationTimestamp": at(5)}, "status": {"decision": "Pending"}})


def run(
    phase: str = "Running", seconds_ago: float = 60, *, by_trigger: bool = False, finished: float = 30
) -> CountedRun:
    annotations = {"storyrun.bubustack.io/trigger-request-name": "t"} if by_trigger else {}
    status = {"phase": phase, **({"finishedAt": at(finished)} if phase == "Succeeded" else {})}
    metadata = {"creationTimestamp": at(seconds_ago), "annotations": annotations}
    return CountedRun.of({"metadata": metadata, "status": status})


def totals(status: Object) -> tuple[int, int, int]:
    return status["triggersReceived"], status["storiesLaunched"], status["failedTriggers"]


@pytest.mark.parametrize(
    ("triggers", "runs", "counted"),
    [
        pytest.param([], [], (0, 0, 0), id="nothing"),
        pytest.param([UNDECIDED, PENDING], [], (2, 0, 0), id="undecided"),
        pytest.param([trigger(), trigger("Reused"), trigger("Rejected")], [], (3, 2, 1), id="decided"),
        pytest.param([trigger(seconds_ago=1)], [], (1, 1, 0), id="at-once"),
        pytest.param([trigger(seconds_ago=-30)], [], (1, 1, 0), id="a-clock-that-is-ahead"),
        pytest.param([trigger()], [run(by_trigger=True)], (1, 1, 0), id="a-run-of-a-trigger-counts-once"),
        pytest.param([], [run(), run("Failed")], (2, 2, 0), id="runs-without-triggers"),
    ],
)
def test_received_launched_and_failed_are_those_of_the_triggers(
    triggers: list[CountedTrigger], runs: list[CountedRun], counted: tuple[int, int, int]
) -> None:
    assert totals(impulse_counts({}, triggers, runs, NOW).status) == counted


def test_what_was_counted_stays_when_it_is_removed() -> None:
    old = [trigger(seconds_ago=100), trigger("Rejected", 90)]
    first = impulse_counts({}, old, [run(seconds_ago=80)], NOW).status
    assert first["counted"] == {"received": 3, "launched": 2, "failed": 1, "through": at(80)}
    later = impulse_counts(first, [trigger(seconds_ago=50)], [], NOW).status
    assert totals(later) == (4, 3, 1)
    assert totals(impulse_counts(later, [], [], NOW).status) == (4, 3, 1)


def test_what_is_too_recent_is_counted_now_and_becomes_a_part_of_the_base_later() -> None:
    recent = [trigger(seconds_ago=1)]
    first = impulse_counts({}, recent, [], NOW)
    assert (totals(first.status), first.status["counted"]["received"], first.more_to_come) == ((1, 1, 0), 0, True)
    second = impulse_counts(first.status, recent, [], NOW + SETTLING + timedelta(seconds=2))
    assert (totals(second.status), second.status["counted"]["received"]) == ((1, 1, 0), 1)
    assert not second.more_to_come
    third = impulse_counts(second.status, recent, [], NOW + timedelta(hours=1))
    assert third.status == second.status


def test_a_trigger_that_the_cache_shows_late_counts_nevertheless() -> None:
    """The watch was cut after the first of two decisions within one second, and the cache is still as it was then."""
    first = impulse_counts({}, [trigger(seconds_ago=60)], [], NOW - timedelta(seconds=60)).status
    assert (totals(first), first["counted"]["received"]) == ((1, 1, 0), 0)
    both = [trigger(seconds_ago=60), trigger("Rejected", seconds_ago=60)]
    assert totals(impulse_counts(first, both, [], NOW).status) == (2, 1, 1)


def test_nothing_becomes_a_part_of_the_base_before_the_caches_have_been_filled() -> None:
    found = impulse_counts({}, [trigger(seconds_ago=100)], [], None)
    assert (totals(found.status), found.status["counted"]["received"], found.more_to_come) == ((1, 1, 0), 0, True)


def test_an_undecided_trigger_needs_no_second_look_by_the_clock() -> None:
    assert not impulse_counts({}, [UNDECIDED], [], NOW).more_to_come


def test_a_trigger_that_is_decided_again_is_received_once() -> None:
    rejected = impulse_counts({}, [trigger("Rejected", 90)], [], NOW).status
    again = impulse_counts(rejected, [trigger("Created", 30, accepted=90)], [], NOW).status
    assert totals(again) == (1, 1, 1)


def test_what_an_sdk_adds_to_the_counters_is_overwritten() -> None:
    first = impulse_counts({}, [trigger()], [], NOW).status
    touched = {**first, "triggersReceived": 9, "storiesLaunched": 9, "failedTriggers": 9}
    assert totals(impulse_counts(touched, [trigger()], [], NOW).status) == (1, 1, 0)


def test_what_another_operator_has_counted_is_where_it_begins() -> None:
    stored = {"triggersReceived": 50, "storiesLaunched": 40, "failedTriggers": 3}
    assert totals(impulse_counts(stored, [trigger(), UNDECIDED], [], NOW).status) == (50, 40, 3)
    assert totals(impulse_counts({"triggersReceived": 1}, [trigger(), UNDECIDED], [], NOW).status) == (2, 1, 0)


def test_instants_only_move_forward() -> None:
    found = impulse_counts({}, [trigger(seconds_ago=50)], [run("Succeeded", 60, finished=40)], NOW).status
    assert (found["lastTrigger"], found["lastSuccess"]) == (at(50), at(40))
    stored = {"lastTrigger": at(10), "lastSuccess": at(10)}
    kept = impulse_counts(stored, [trigger(seconds_ago=50)], [run("Succeeded", 60, finished=40)], NOW).status
    assert (kept["lastTrigger"], kept["lastSuccess"]) == (at(10), at(10))
    exact = at(50).replace("Z", ".000000Z")  # SDKs write fractions of seconds; as texts they cannot be compared
    for newest, text in ((at(50), at(55).replace("Z", ".500000Z")), (exact, at(50))):
        other = CountedTrigger.of({"metadata": {"creationTimestamp": text}, "status": {"decision": "Pending"}})
        assert impulse_counts({"lastTrigger": newest}, [other], [], NOW).status["lastTrigger"] == newest
    by_trigger = impulse_counts({}, [], [run("Succeeded", 60, by_trigger=True, finished=40)], NOW).status
    assert (by_trigger["lastTrigger"], by_trigger["lastSuccess"]) == (None, at(40))


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["Created", "Reused", "Rejected"])), max_size=30),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 90)), min_size=1, max_size=12),
    st.integers(148, 175),
)
def test_however_often_and_late_it_is_counted_each_trigger_counts_once(
    ends: list[tuple[int, str]], looks: list[tuple[int, int]], kept: int
) -> None:
    """Triggers are decided at ``ends`` (seconds) and removed ``kept`` seconds later.

    The counter looks at later and later instants. Each time its cache may lag behind, and sees some of what is newer
    than that, but not all. Triggers are kept for longer than the longest lag, a pause and the time to settle together:
    one that was removed before it had settled would not count any more.
    """
    status: Object = {}
    at_second, current, seen = 0.0, 0.0, (0, 0, 0)
    for pause, lag in [*looks, *([(10, 0)] * 18)]:
        at_second += pause + 0.4
        current = max(current, at_second - lag)
        kept_now = [(end, decision) for end, decision in ends if end <= at_second and current < end + kept]
        visible = [trigger(decision, -end) for end, decision in kept_now if end <= current or end % 2]
        counted = impulse_counts(status, visible, [], NOW + timedelta(seconds=current))
        status = {key: value for key, value in counted.status.items() if value}
        found = (status.get("triggersReceived", 0), status.get("storiesLaunched", 0), status.get("failedTriggers", 0))
        assert all(new >= old for new, old in zip(found, seen, strict=True)) or lag
        seen = found
    launched = sum(decision != "Rejected" for _, decision in ends)
    assert seen == (len(ends), launched, len(ends) - launched)
