from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.api.phases import Phase, Reason
from core.engine.plan import StepPlan
from core.engine.ports import LiveStream
from core.engine.streams.connections import Streams
from core.story.kinds import StepKind

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HERE = LiveStream(Phase.RUNNING, Reason.RUNNING, "", True)


def stream(name: str) -> StepPlan:
    return StepPlan(name, StepKind.ENGRAM, {"name": name}, serves_stream=True)


def away(since: datetime | None = None) -> LiveStream:
    return LiveStream(Phase.PAUSED, Reason.AWAITING_TRANSPORT, "", False, since)


def test_a_stream_begins_once_and_whoever_listens_is_told() -> None:
    streams, notified = Streams(), list[str]()
    streams.begin(stream("a"))
    with streams.notifying(notified.append):
        for step in "abb":
            streams.begin(stream(step))
    streams.begin(stream("c"))

    assert (notified, set(streams.begun)) == (["b"], {"a", "b", "c"})


def test_a_step_that_serves_no_stream_does_not_count() -> None:
    streams, batch = Streams(), StepPlan("a", StepKind.ENGRAM, {"name": "a"})
    streams.begin(batch)
    streams.saw(batch, HERE, NOW)

    assert (set(streams.begun), streams.any_connected) == (set(), False)


def test_nobody_is_lost_who_was_never_there() -> None:
    streams = Streams()
    streams.saw(stream("a"), None, NOW)
    streams.saw(stream("b"), away(), NOW)

    assert (streams.any_connected, streams.all_lost_since) == (False, None)


def test_one_connection_is_enough() -> None:
    streams = Streams()
    streams.saw(stream("a"), away(NOW), NOW)
    streams.saw(stream("b"), HERE, NOW)

    assert (streams.any_connected, streams.all_lost_since) == (True, None)


def test_a_step_that_the_hub_serves_does_not_hide_that_the_streams_are_away() -> None:
    streams = Streams()
    streams.saw(stream("jobs"), replace(HERE, has_client=False), NOW)
    assert not streams.any_connected
    streams.saw(stream("a"), away(NOW), NOW)
    assert streams.all_lost_since == NOW


def test_all_are_lost_since_the_last_one_was() -> None:
    streams, later = Streams(), NOW + timedelta(seconds=7)
    streams.saw(stream("a"), away(NOW), later)
    streams.saw(stream("b"), away(later), later)
    streams.saw(stream("c"), away(), later)

    assert streams.all_lost_since == later


def test_a_stream_without_a_workload_is_lost_since_then() -> None:
    streams, later = Streams(), NOW + timedelta(seconds=7)
    streams.saw(stream("a"), HERE, NOW)
    streams.saw(stream("a"), None, later)
    streams.saw(stream("a"), away(), later + timedelta(seconds=1))

    assert streams.all_lost_since == later


def test_a_stream_that_has_ended_does_not_count() -> None:
    streams, later = Streams(), NOW + timedelta(seconds=7)
    streams.saw(stream("a"), away(NOW), NOW)
    streams.saw(stream("b"), away(later), later)
    streams.ended("b")

    assert streams.all_lost_since == NOW


def woken(streams: Streams) -> bool:
    was = streams.changed.is_set
    streams.changed.clear()
    return was


def test_only_what_changes_wakes() -> None:
    streams = Streams()
    streams.saw(stream("a"), HERE, NOW)
    assert woken(streams)
    streams.saw(stream("a"), HERE, NOW + timedelta(seconds=1))
    streams.ended("b")
    assert not woken(streams)
    streams.ended("a")
    assert woken(streams)
