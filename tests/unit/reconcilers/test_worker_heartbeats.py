"""Heartbeats of warm workers: only changes that were seen count, never the clock of another machine."""

from __future__ import annotations

from core.api.objects import Object
from reconcilers.adapters.worker_heartbeats import LOST_AFTER_SECONDS, Heartbeats


def lease(renewed: str, state: str = "ready", holder: str = "u1") -> Object:
    return {
        "metadata": {"namespace": "team", "name": "w1", "annotations": {"bubustack.io/worker-state": state}},
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }


def uids(beats: Heartbeats, now: float) -> list[str]:
    return [uid for uid, _ in beats.suspects(now)]


def test_a_worker_is_usable_while_it_says_so() -> None:
    beats = Heartbeats()
    assert not beats.is_usable("u1")
    assert beats.heard(lease("1"), 0.0)
    assert beats.is_usable("u1")
    assert not beats.heard(lease("2", "draining"), 1.0)
    assert not beats.is_usable("u1")
    assert not beats.is_lost("u1")
    assert not beats.heard(lease("3", holder=""), 1.0)


def test_silence_makes_a_suspect_and_the_next_beat_clears_it() -> None:
    beats = Heartbeats()
    beats.heard(lease("1"), 0.0)
    beats.heard(lease("1"), 15.0)
    assert uids(beats, LOST_AFTER_SECONDS - 0.1) == []
    assert uids(beats, LOST_AFTER_SECONDS) == ["u1"]
    beats.lose("u1")
    assert beats.is_lost("u1")
    assert not beats.is_usable("u1")
    assert uids(beats, 1000.0) == []
    assert beats.heard(lease("2"), 1000.0)
    assert not beats.is_lost("u1")


def test_a_lease_far_in_the_past_or_the_future_makes_no_difference() -> None:
    beats = Heartbeats()
    beats.heard(lease("1999-01-01T00:00:00Z"), 0.0)
    assert beats.next_due == LOST_AFTER_SECONDS
    beats.heard(lease("2999-01-01T00:00:00Z"), 5.0)
    assert beats.next_due == 5.0 + LOST_AFTER_SECONDS


def test_a_pod_without_a_heartbeat_is_suspected_too() -> None:
    beats = Heartbeats()
    beats.expect("u1", "team", "w1", 3.0)
    beats.expect("u1", "team", "w1", 9.0)
    assert uids(beats, 3.0 + LOST_AFTER_SECONDS) == ["u1"]
    beats.ask_later("u1", 40.0)
    assert uids(beats, 39.0) == []
    beats.pod_gone("u1")
    assert beats.next_due == float("inf")
    assert uids(beats, 1000.0) == []


def test_without_its_lease_a_worker_takes_nothing_and_is_lost_in_time() -> None:
    beats = Heartbeats()
    beats.heard(lease("1"), 0.0)
    beats.lease_gone(lease("1"))
    assert not beats.is_usable("u1")
    assert uids(beats, LOST_AFTER_SECONDS) == ["u1"]
