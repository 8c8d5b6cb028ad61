"""Each effect happens once: leases, take-overs, crashes, rivals."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_sdk import effects
from bubu_sdk.contract import Identity
from bubu_sdk.effects import EffectLease, Effects, holder_identity
from bubu_sdk.errors import EffectInProgressError, EffectLostError, EngramError
from bubu_sdk.kube import StatusError
from bubu_sdk.steprun import StepRunClient
from bubu_sdk.testing.cluster import InMemoryCluster, step_run_path

IDENTITY = Identity(namespace="default", story_run="run-1", step_run="sr-1-charge")
STEP_RUN = step_run_path("default", "sr-1-charge")
CLAIM = "/apis/runs.bubustack.io/v1alpha1/namespaces/default/effectclaims/sr-1-charge-effect-1ceea1f6cb4e8bee"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2025, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster() -> InMemoryCluster:
    cluster = InMemoryCluster()
    cluster.add(
        STEP_RUN,
        {
            "metadata": {"uid": "uid-1"},
            "spec": {"idempotencyKey": "idem"},
            "status": {"phase": "Running", "retries": 0},
        },
    )
    return cluster


@pytest.fixture
def new_process(cluster: InMemoryCluster, clock: Clock) -> Callable[[], Effects]:
    """The effects of a container that has just started."""
    return lambda: Effects(cluster, StepRunClient(cluster, IDENTITY, sleep=lambda _: None), IDENTITY, now=clock)


class Charge:
    """An effect that counts how often it happened."""

    def __init__(self, *, crash: BaseException | None = None) -> None:
        self.leases: list[EffectLease] = []
        self._crash = crash

    def __call__(self, lease: EffectLease) -> dict[str, Any]:
        self.leases.append(lease)
        if self._crash is not None:
            raise self._crash
        return {"chargeId": "ch_1"}


class PodKilled(BaseException):
    """The process disappears. Nothing after this is executed."""


def spec(cluster: InMemoryCluster) -> Any:
    return cluster.objects[CLAIM]["spec"]


def recorded(cluster: InMemoryCluster) -> list[Any]:
    return list(cluster.objects[STEP_RUN]["status"].get("effects", []))


def test_the_first_caller_runs_the_effect_and_leaves_a_completed_claim(
    cluster: InMemoryCluster, new_process: Callable[[], Effects]
) -> None:
    charge = Charge()

    outcome = new_process().execute_once("charge-card", charge)

    assert (outcome.executed, outcome.details) == (True, {"chargeId": "ch_1"})
    assert charge.leases[0].idempotency_key == "ns/default/storyrun/run-1/steprun/sr-1-charge/effect/charge-card"
    created = next(sent.body for sent in cluster.requests if sent.method == "POST")
    holder = created["spec"].pop("holderIdentity")
    assert holder.startswith("default:sr-1-charge:charge-card:")
    assert created == {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "EffectClaim",
        "metadata": {
            "name": "sr-1-charge-effect-1ceea1f6cb4e8bee",
            "namespace": "default",
            "ownerReferences": [
                {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StepRun", "name": "sr-1-charge", "uid": "uid-1"}
            ],
        },
        "spec": {
            "stepRunRef": {"name": "sr-1-charge", "uid": "uid-1"},
            "effectKey": "charge-card",
            "idempotencyKey": "idem",
            "acquireTime": "2025-01-01T00:00:00.250000Z",
            "renewTime": "2025-01-01T00:00:00.250000Z",
            "leaseDurationSeconds": 600,
        },
    }
    assert spec(cluster)["completionStatus"] == "completed"
    assert spec(cluster)["details"] == {"chargeId": "ch_1"}
    assert [(entry["key"], entry["status"]) for entry in recorded(cluster)] == [("charge-card", "succeeded")]


def test_a_completion_passes_an_admission_that_compares_seconds_with_microseconds(
    cluster: InMemoryCluster, new_process: Callable[[], Effects]
) -> None:
    new_process().execute_once("charge-card", Charge())

    times = {name: datetime.fromisoformat(spec(cluster)[name]) for name in ("acquireTime", "renewTime", "completedAt")}
    assert spec(cluster)["completedAt"] == "2025-01-01T00:00:01Z"
    assert times["completedAt"] >= times["renewTime"] >= times["acquireTime"]


def test_a_second_attempt_gets_the_details_of_the_first(new_process: Callable[[], Effects]) -> None:
    charge = Charge()
    new_process().execute_once("charge-card", charge)

    outcome = new_process().execute_once("charge-card", charge)

    assert (outcome.executed, outcome.details) == (False, {"chargeId": "ch_1"})
    assert len(charge.leases) == 1


@pytest.mark.parametrize("length", [1, 200, 219, 220, 240, 256])
def test_two_processes_never_hold_a_claim_under_one_identity(new_process: Callable[[], Effects], length: int) -> None:
    """This holds for keys of any length.

    Otherwise the second process takes the active claim of the first for its own.
    """
    key = "k" * length

    def meanwhile(_: Any) -> dict[str, Any]:
        with pytest.raises(EffectInProgressError):
            new_process().execute_once(key, Charge())
        return {}

    assert new_process().execute_once(key, meanwhile).executed


def test_an_identity_fits_the_schema_and_ends_with_its_random_part() -> None:
    for length in range(1, 400):
        identity = holder_identity("default", "sr-1", "k" * length, "5f0c" * 8)
        assert len(identity) <= 253
        assert identity.endswith(":" + "5f0c" * 8)


def test_a_failed_effect_releases_its_claim_so_that_a_retry_runs_it(
    cluster: InMemoryCluster, new_process: Callable[[], Effects]
) -> None:
    with pytest.raises(ConnectionError):
        new_process().execute_once("charge-card", Charge(crash=ConnectionError("down")))
    assert spec(cluster)["completionStatus"] == "released"
    assert "holderIdentity" not in spec(cluster)

    assert new_process().execute_once("charge-card", Charge()).executed


def test_a_release_that_admission_refuses_still_frees_the_claim(
    cluster: InMemoryCluster, new_process: Callable[[], Effects]
) -> None:
    def reference_admission(method: str, _: str, body: Any) -> None:
        if method == "PUT" and ("completionStatus" in body["spec"]) != ("completedAt" in body["spec"]):
            raise StatusError(403, "completedAt and completionStatus only together")

    cluster.before = reference_admission
    with pytest.raises(ConnectionError):
        new_process().execute_once("charge-card", Charge(crash=ConnectionError("down")))

    assert new_process().execute_once("charge-card", Charge()).executed


def test_a_crash_between_claim_and_effect_is_taken_over_when_the_lease_expires(
    cluster: InMemoryCluster, new_process: Callable[[], Effects], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Effects, "_release", lambda *_: None)  # a killed process releases nothing
    with pytest.raises(PodKilled):
        new_process().execute_once("charge-card", Charge(crash=PodKilled()))
    monkeypatch.undo()

    with pytest.raises(EffectInProgressError) as caught:
        new_process().execute_once("charge-card", Charge())
    assert caught.value.retryable
    clock.advance(600)
    outcome = new_process().execute_once("charge-card", Charge())

    assert outcome.executed
    assert spec(cluster)["leaseTransitions"] == 1


def test_a_crash_after_the_completion_is_made_good_by_the_next_attempt(
    cluster: InMemoryCluster, new_process: Callable[[], Effects], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise PodKilled

    monkeypatch.setattr(Effects, "record", killed)
    with pytest.raises(PodKilled):
        new_process().execute_once("charge-card", Charge())
    monkeypatch.undo()
    assert recorded(cluster) == []

    outcome = new_process().execute_once("charge-card", Charge())

    assert (outcome.executed, outcome.details) == (False, {"chargeId": "ch_1"})
    assert [entry["key"] for entry in recorded(cluster)] == ["charge-card"]


def test_a_live_claim_of_a_rival_is_told_apart_from_a_recorded_effect(
    new_process: Callable[[], Effects],
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(_: EffectLease) -> None:
        inside.set()
        go_on.wait(5)

    rival = threading.Thread(target=lambda: new_process().execute_once("charge-card", slow))
    rival.start()
    inside.wait(5)
    try:
        with pytest.raises(EffectInProgressError, match="whose result is not known yet"):
            new_process().execute_once("charge-card", Charge())
    finally:
        go_on.set()
        rival.join()

    assert not new_process().execute_once("charge-card", Charge()).executed


def test_a_waiting_caller_sees_the_end_of_its_rival(
    new_process: Callable[[], Effects], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "_POLL_SECONDS", 0.01)
    inside = threading.Event()

    def slow(_: EffectLease) -> None:
        inside.set()
        threading.Event().wait(0.05)

    rival = threading.Thread(target=lambda: new_process().execute_once("charge-card", slow))
    rival.start()
    inside.wait(5)

    outcome = new_process().execute_once("charge-card", Charge(), wait_seconds=5)
    rival.join()

    assert not outcome.executed


def test_two_threads_of_one_process_take_turns(new_process: Callable[[], Effects]) -> None:
    process, charge = new_process(), Charge()
    outcomes: list[bool] = []

    def call() -> None:
        outcomes.append(process.execute_once("charge-card", charge).executed)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False, False, False, True]
    assert len(charge.leases) == 1


def test_a_lease_is_renewed_while_the_effect_runs(
    cluster: InMemoryCluster, new_process: Callable[[], Effects], clock: Clock
) -> None:
    renewed = threading.Event()

    def watch(method: str, _: str, body: Any) -> None:
        if method == "PUT" and "completionStatus" not in body["spec"]:
            renewed.set()

    def slow(_: EffectLease) -> None:
        clock.advance(5)
        assert renewed.wait(5)

    cluster.before = watch
    new_process().execute_once("charge-card", slow, lease_seconds=1)

    assert spec(cluster)["completionStatus"] == "completed"


def test_a_lost_lease_stops_the_effect_and_fails_the_call(
    cluster: InMemoryCluster, new_process: Callable[[], Effects]
) -> None:
    def stolen(method: str, _: str, __: Any) -> None:
        if method == "PUT":
            raise StatusError(403, "stolen")

    def slow(lease: EffectLease) -> None:
        assert lease.lost.wait(5)

    cluster.before = stolen
    with pytest.raises(EffectLostError, match="stolen"):
        new_process().execute_once("charge-card", slow, lease_seconds=1)

    assert recorded(cluster) == []


def test_a_claim_of_something_else_is_refused(cluster: InMemoryCluster, new_process: Callable[[], Effects]) -> None:
    cluster.add(CLAIM, {"spec": {"stepRunRef": {"name": "sr-1-charge", "uid": "other"}, "effectKey": "charge-card"}})

    with pytest.raises(EngramError, match=r"another StepRun: stepRunRef\.uid is 'other'"):
        new_process().execute_once("charge-card", Charge())


def test_an_effect_recorded_in_the_status_needs_no_claim(
    cluster: InMemoryCluster, new_process: Callable[[], Effects]
) -> None:
    new_process().record("charge-card", "succeeded", {"id": 1})

    outcome = new_process().execute_once("charge-card", Charge())

    assert (outcome.executed, outcome.details) == (False, {"id": 1})
    assert CLAIM not in cluster.objects
    assert new_process().has(" charge-card ")


def test_large_details_are_summarised() -> None:
    details = {"a": "x" * 9000}

    summary = effects.bounded(details, 8192)

    assert summary == {
        "truncated": True,
        "sizeBytes": 9008,
        "sha256": hashlib.sha256(json.dumps(details, separators=(",", ":")).encode()).hexdigest(),
        "type": "map",
        "details": {},
    }


@pytest.mark.parametrize(
    ("namespace", "step_run", "key", "name"),
    [
        ("default", "sr-1-charge", "charge-card", "sr-1-charge-effect-1ceea1f6cb4e8bee"),
        ("default", "run-1-charge", "deliver-webhook", "run-1-charge-effect-8329de16458124ff"),
    ],
)
def test_claims_have_the_documented_names(namespace: str, step_run: str, key: str, name: str) -> None:
    assert effects.claim_name(namespace, step_run, key) == name


def test_a_long_name_is_cut_and_still_names_the_effect() -> None:
    name = effects.claim_name("ns", "s" * 228 + "-" * 20, "k")

    assert len(name) <= 253
    assert "-effect-" in name
    assert "--effect" not in name


@pytest.mark.parametrize("key", ["", "  "])
def test_a_blank_key_is_refused(new_process: Callable[[], Effects], key: str) -> None:
    with pytest.raises(ValueError, match="needs a key"):
        new_process().execute_once(key, Charge())
