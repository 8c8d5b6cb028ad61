"""Heartbeats of warm workers: only changes that were seen count, never the clock of another machine."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from reconcilers.adapters.worker_heartbeats import LOST_AFTER_SECONDS, Heartbeats


def lease(renewed: str, state: str = "ready", holder: str = "u1", **metadata: Any) -> Object:
    return {
        "metadata": {
            "namespace": "team",
            "name": "w1",
            "labels": {"bubustack.io/worker-pool": "pool"},
            "annotations": {"bubustack.io/worker-state": state},
            **metadata,
        },
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }


def pod(uid: str = "u1", name: str = "w1") -> Object:
    return {"metadata": {"namespace": "team", "name": name, "uid": uid, "labels": {"bubustack.io/worker-pool": "pool"}}}


def uids(beats: Heartbeats, now: float) -> list[str]:
    return [uid for uid, _ in beats.suspects(now)]


@pytest.fixture
def beats() -> Heartbeats:
    """Those of one worker, whose Pod has just appeared."""
    made = Heartbeats()
    assert made.expect(pod(), 0.0)
    return made


def test_a_worker_is_usable_while_it_says_so(beats: Heartbeats) -> None:
    assert not beats.is_usable("u1")
    assert beats.heard(lease("1"), 0.0)
    assert beats.is_usable("u1")
    assert not beats.heard(lease("2", "draining"), 1.0)
    assert not beats.is_usable("u1")
    assert not beats.is_lost("u1")
    assert not beats.heard(lease("3", holder=""), 1.0)


def test_silence_makes_a_suspect_and_the_next_beat_clears_it(beats: Heartbeats) -> None:
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


def test_a_lease_far_in_the_past_or_the_future_makes_no_difference(beats: Heartbeats) -> None:
    beats.heard(lease("1999-01-01T00:00:00Z"), 0.0)
    assert beats.next_due == LOST_AFTER_SECONDS
    beats.heard(lease("2999-01-01T00:00:00Z"), 5.0)
    assert beats.next_due == 5.0 + LOST_AFTER_SECONDS


def test_a_pod_without_a_heartbeat_is_suspected_too() -> None:
    beats = Heartbeats()
    assert beats.expect(pod(), 3.0)
    assert not beats.expect(pod(), 9.0)
    assert uids(beats, 3.0 + LOST_AFTER_SECONDS) == ["u1"]
    beats.ask_later("u1", 40.0)
    assert uids(beats, 39.0) == []
    beats.pod_gone("u1")
    assert beats.next_due == float("inf")
    assert uids(beats, 1000.0) == []


def test_without_its_lease_a_worker_takes_nothing_and_is_lost_in_time(beats: Heartbeats) -> None:
    beats.heard(lease("1"), 0.0)
    beats.lease_gone(lease("1"))
    assert not beats.is_usable("u1")
    assert uids(beats, LOST_AFTER_SECONDS) == ["u1"]


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param({"name": "w2"}, id="of another name"),
        pytest.param({"namespace": "other"}, id="of another namespace"),
        pytest.param({"labels": {"bubustack.io/worker-pool": "other"}}, id="of another pool"),
        pytest.param({"labels": None}, id="of no pool"),
    ],
)
def test_only_its_own_lease_keeps_a_worker_alive(beats: Heartbeats, foreign: Object) -> None:
    beats.expect(pod("u2", "w2"), 0.0)
    assert not beats.heard(lease("1", **foreign), 15.0)
    assert not beats.is_usable("u1")
    assert not beats.is_usable("u2")
    assert "u1" in uids(beats, LOST_AFTER_SECONDS)


def test_the_lease_of_another_makes_no_worker_draining(beats: Heartbeats) -> None:
    beats.heard(lease("1"), 0.0)
    beats.expect(pod("u2", "w2"), 0.0)
    beats.heard(lease("2", "draining", name="w2"), 1.0)
    beats.heard(lease("2", "draining", namespace="other"), 1.0)
    beats.lease_gone(lease("2", name="w2"))
    assert beats.is_usable("u1")


def test_a_worker_with_a_foreign_holder_takes_nothing_until_it_has_its_lease_back(beats: Heartbeats) -> None:
    beats.heard(lease("1"), 0.0)
    for number in range(10_000):
        beats.heard(lease(f"x{number}", holder=f"holder-{number}"), 10.0)
    assert not beats.is_usable("u1")
    assert uids(beats, 1000.0) == ["u1"], "nothing is remembered of the others, and the worker is as silent as before"
    assert beats.heard(lease("2"), 11.0)
    assert beats.is_usable("u1")


def test_a_lease_without_a_pod_is_not_remembered(beats: Heartbeats) -> None:
    beats.heard(lease("1"), 0.0)
    beats.pod_gone("u1")
    assert not beats.heard(lease("2"), 1.0)
    beats.lease_gone(lease("2"))
    assert beats.next_due == float("inf")
    assert not beats.is_usable("u1")


def test_another_pod_of_that_name_has_its_own_heartbeats(beats: Heartbeats) -> None:
    beats.heard(lease("1"), 0.0)
    assert beats.expect(pod("u3"), 1.0)
    assert not beats.is_usable("u1")
    assert uids(beats, 1000.0) == ["u3"]
    beats.pod_gone("u1")
    assert beats.heard(lease("2", holder="u3"), 2.0)
