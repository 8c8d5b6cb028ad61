"""Each effect happens once: leases, take-overs, crashes, rivals."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bubu_contract.submission import claim_name
from bubu_sdk import effects
from bubu_sdk.claims import holder_identity
from bubu_sdk.contract import Identity
from bubu_sdk.effects import EffectLease, EffectOutcome, Effects
from bubu_sdk.errors import EffectInProgressError, EffectLostError, EngramError, ExitClass
from bubu_sdk.kube import StatusError, UnreachableError, status_error
from bubu_sdk.steprun import StepRunClient
from bubu_sdk.testing.cluster import InMemoryCluster
from bubu_sdk.timing import Timing
from tests.unit.sdk.simulated_processes import BEGINNING, CLAIM, STEP_RUN, Container, Simulation

KEY = "charge-card"


class Charge:
    """An effect that counts how often it happened."""

    def __init__(self, *, seconds: float = 0.0, crash: BaseException | None = None, returns: Any = None) -> None:
        self.leases: list[EffectLease] = []
        self._seconds = seconds
        self._crash = crash
        self._returns = {"chargeId": "ch_1"} if returns is None else returns

    def by(self, container: Container) -> Callable[[EffectLease], Any]:
        def effect(lease: EffectLease) -> Any:
            self.leases.append(lease)
            if self._seconds:
                container.sleep(self._seconds)
            if self._crash is not None:
                raise self._crash
            return self._returns

        return effect


class Scene:
    """Containers of one step, and what became of their calls."""

    def __init__(self) -> None:
        self.simulation = Simulation()
        self.outcomes: dict[str, EffectOutcome] = {}
        self.errors: dict[str, Exception] = {}

    def starts(self, name: str, charge: Charge, *, key: str = KEY, at: float = 0.0, **options: Any) -> Container:
        """A container that wants the effect ``at`` this second."""

        def work(container: Container) -> None:
            try:
                self.outcomes[name] = container.effects.execute_once(key, charge.by(container), **options)
            except Exception as error:
                self.errors[name] = error

        container = self.simulation.container(name)
        container.start(work, at=at)
        return container

    def run(self, name: str, charge: Charge, **options: Any) -> EffectOutcome:
        """The outcome of a container alone.

        Raises:
            Exception: its error.
        """
        self.errors.pop(name, None)
        self.starts(name, charge, **options)
        self.simulation.run()
        if name in self.errors:
            raise self.errors[name]
        return self.outcomes[name]

    def claimed(self, **spec: Any) -> None:
        """A claim that another client has written."""
        given = {"stepRunRef": {"name": "sr-1-charge", "uid": "uid-1"}, "effectKey": KEY, "idempotencyKey": "idem"}
        metadata = {"name": CLAIM.rpartition("/")[2], "namespace": "default"}
        self.simulation.cluster.add(CLAIM, {"metadata": metadata, "spec": {**given, **spec}})

    @property
    def claim(self) -> dict[str, Any]:
        return self.simulation.claim

    @property
    def cluster(self) -> InMemoryCluster:
        return self.simulation.cluster


@pytest.fixture
def scene() -> Scene:
    return Scene()


def times(spec: dict[str, Any]) -> list[datetime]:
    return [datetime.fromisoformat(spec[name]) for name in ("acquireTime", "renewTime", "completedAt")]


# Once.


def test_the_first_caller_runs_the_effect_and_leaves_a_completed_claim(scene: Scene) -> None:
    charge = Charge(seconds=0.5)

    outcome = scene.run("pod-1", charge)

    assert (outcome.executed, outcome.details) == (True, {"chargeId": "ch_1"})
    assert charge.leases[0].idempotency_key == "ns/default/storyrun/run-1/steprun/sr-1-charge/effect/charge-card"
    created = next(sent.body for sent in scene.cluster.requests if sent.method == "POST")
    assert created["spec"].pop("holderIdentity").startswith("pod-1:")
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
            "effectKey": KEY,
            "idempotencyKey": "idem",
            "acquireTime": "2026-01-01T10:00:00.250000Z",
            "renewTime": "2026-01-01T10:00:00.250000Z",
            "leaseDurationSeconds": 600,
        },
    }
    assert scene.claim["completionStatus"] == "completed"
    assert scene.claim["details"] == {"chargeId": "ch_1"}
    assert [(entry["key"], entry["status"]) for entry in scene.simulation.recorded] == [(KEY, "succeeded")]


def test_completion_and_last_renewal_are_exactly_the_same_instant(scene: Scene) -> None:
    scene.run("pod-1", Charge(seconds=0.123456))

    assert scene.claim["completedAt"] == "2026-01-01T10:00:00.373456Z"
    assert scene.claim["renewTime"] == scene.claim["completedAt"]


def test_a_second_attempt_gets_the_details_of_the_first(scene: Scene) -> None:
    charge = Charge()
    scene.run("pod-1", charge)

    outcome = scene.run("pod-2", charge, key=f" {KEY} ")

    assert (outcome.executed, outcome.details) == (False, {"chargeId": "ch_1"})
    assert len(charge.leases) == 1


def test_a_claim_that_the_go_sdk_completed_counts(scene: Scene) -> None:
    done = {"acquireTime": "2026-01-01T09:00:00.123456Z", "renewTime": "2026-01-01T09:00:41.987654Z"}
    done |= {"completedAt": "2026-01-01T09:00:41Z", "completionStatus": "completed"}
    scene.claimed(holderIdentity="default:sr-1-charge:charge-card:u", details={"providerId": "abc"}, **done)

    assert scene.run("pod-1", Charge()) == EffectOutcome(False, {"providerId": "abc"})


def test_two_threads_of_one_process_take_turns(scene: Scene) -> None:
    identity = Identity(namespace="default", story_run="run-1", step_run="sr-1-charge")
    process = Effects(scene.cluster, StepRunClient(scene.cluster, identity), identity)
    outcomes: list[bool] = []
    performed: list[EffectLease] = []

    def call() -> None:
        outcomes.append(process.execute_once(KEY, lambda lease: performed.append(lease)).executed)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False, False, False, True]
    assert len(performed) == 1


@pytest.mark.parametrize("length", [1, 200, 219, 220, 240, 253])
def test_two_processes_never_hold_a_claim_under_one_identity(scene: Scene, length: int) -> None:
    """This holds for Pods with names of any length.

    Otherwise the second process takes the active claim of the first for its own.
    """
    pod, charge = "p" * length, Charge(seconds=1)
    first = scene.simulation.container(pod)
    first.start(lambda container: container.effects.execute_once(KEY, charge.by(container)))

    scene.simulation.run(until=0.5)
    second = scene.simulation.container(pod)
    second.start(lambda container: container.effects.execute_once(KEY, charge.by(container)))
    scene.simulation.run()

    assert [type(error) for error in scene.simulation.errors] == [EffectInProgressError]
    assert len(charge.leases) == 1


def test_an_identity_fits_the_schema_and_ends_with_its_random_part() -> None:
    for length in range(1, 400):
        identity = holder_identity("p" * length, "5f0c" * 8)
        assert len(identity) <= 253
        assert identity.endswith(":" + "5f0c" * 8)


# Failures and crashes.


def test_a_failed_effect_releases_its_claim_so_that_a_retry_runs_it(scene: Scene) -> None:
    with pytest.raises(ConnectionError):
        scene.run("pod-1", Charge(seconds=1, crash=ConnectionError("down")))
    assert scene.claim == {
        "stepRunRef": {"name": "sr-1-charge", "uid": "uid-1"},
        "effectKey": KEY,
        "idempotencyKey": "idem",
        "leaseDurationSeconds": 600,
        "completionStatus": "released",
    }

    scene.starts("pod-2", Charge(seconds=1))
    scene.simulation.run(until=scene.simulation.seconds + 0.5)
    assert "completionStatus" not in scene.claim
    scene.simulation.run()
    assert scene.outcomes["pod-2"].executed
    assert "leaseTransitions" not in scene.claim


def test_a_release_that_admission_refuses_still_frees_the_claim(scene: Scene) -> None:
    def reference_admission(method: str, _: str, body: Any) -> None:
        if method == "PUT" and ("completionStatus" in body["spec"]) != ("completedAt" in body["spec"]):
            raise StatusError(403, "completedAt and completionStatus only together")

    scene.cluster.before = reference_admission
    with pytest.raises(ConnectionError):
        scene.run("pod-1", Charge(crash=ConnectionError("down")))

    assert scene.run("pod-2", Charge()).executed


def test_a_release_survives_another_write_and_a_server_that_is_away(scene: Scene) -> None:
    refused = iter([status_error(500, "away"), UnreachableError("reset")])

    def away(method: str, _: str, __: Any) -> None:
        if method == "PUT" and (error := next(refused, None)):
            raise error

    scene.starts("pod-1", Charge(seconds=2, crash=ConnectionError("down")))
    scene.simulation.run(until=1)
    scene.cluster.add(CLAIM, {**scene.cluster.objects[CLAIM], "status": {"phase": "Reserved"}})
    scene.cluster.before = away
    scene.simulation.run()

    assert scene.claim["completionStatus"] == "released"


def test_a_crash_before_the_completion_is_taken_over_when_the_lease_expires(scene: Scene) -> None:
    killed = scene.starts("pod-1", Charge(seconds=10))
    scene.simulation.run(until=5)
    killed.kill()

    with pytest.raises(EffectInProgressError):
        scene.run("pod-2", Charge(), at=599.9)
    outcome = scene.run("pod-3", Charge(), at=600)

    assert outcome.executed
    assert scene.claim["leaseTransitions"] == 1


def test_a_crash_after_the_completion_is_made_good_by_the_next_attempt(scene: Scene) -> None:
    def refused(method: str, path: str, _: Any) -> None:
        if path.endswith("/status"):
            raise StatusError(403, "not now")

    scene.cluster.before = refused
    assert scene.run("pod-1", Charge()).executed  # the list in the status is for people
    assert scene.simulation.recorded == []
    scene.cluster.before = None

    outcome = scene.run("pod-2", Charge())

    assert (outcome.executed, outcome.details) == (False, {"chargeId": "ch_1"})
    assert [entry["key"] for entry in scene.simulation.recorded] == [KEY]


# Rivals.


def test_a_live_claim_of_a_rival_is_told_apart_from_a_recorded_effect(scene: Scene) -> None:
    scene.starts("pod-1", Charge(seconds=10))
    scene.starts("pod-2", Charge(), at=5)
    scene.simulation.run()

    error = scene.errors["pod-2"]
    assert isinstance(error, EffectInProgressError)
    assert error.exit_class is ExitClass.RETRY
    assert error.code == "EffectInProgress"
    assert error.details is not None
    assert error.details["effect"] == KEY
    assert str(error.details["holder"]).startswith("pod-1:")
    assert error.details["leaseUntil"] == "2026-01-01T10:10:00.250000Z"
    assert not scene.run("pod-3", Charge()).executed


def test_a_claim_that_the_go_sdk_took_after_a_release_is_held(scene: Scene) -> None:
    at = "2026-01-01T10:00:00.000000Z"
    held = {"holderIdentity": "default:sr-1-charge:charge-card:u", "acquireTime": at, "renewTime": at}
    scene.claimed(completionStatus="released", leaseDurationSeconds=60, **held)

    with pytest.raises(EffectInProgressError):
        scene.run("pod-1", Charge())
    assert scene.run("pod-1", Charge(), at=60).executed


def test_a_waiting_caller_sees_the_end_of_its_rival(scene: Scene) -> None:
    charge = Charge(seconds=10)
    scene.starts("pod-1", charge)
    scene.starts("pod-2", charge, at=5, wait_seconds=20)
    scene.simulation.run()

    assert not scene.outcomes["pod-2"].executed
    assert scene.simulation.seconds <= 11
    assert len(charge.leases) == 1


def test_a_waiting_caller_takes_over_from_a_rival_that_has_vanished(scene: Scene) -> None:
    scene.starts("pod-1", Charge(seconds=10), lease_seconds=30).start(lambda container: container.kill(), at=5)
    scene.starts("pod-2", Charge(), at=6, wait_seconds=60)
    scene.simulation.run()

    assert scene.outcomes["pod-2"].executed
    assert 30 <= scene.simulation.seconds <= 31


def test_a_cancellation_ends_the_wait_for_a_rival(scene: Scene) -> None:
    at = "2026-01-01T10:00:00.000000Z"
    scene.claimed(holderIdentity="pod-0:1", acquireTime=at, renewTime=at, leaseDurationSeconds=600)
    cancelled = threading.Event()
    cancelled.set()
    identity = Identity(namespace="default", story_run="run-1", step_run="sr-1-charge")
    timing = Timing(lambda: BEGINNING)
    process = Effects(scene.cluster, StepRunClient(scene.cluster, identity), identity, timing=timing, stop=cancelled)

    with pytest.raises(EffectInProgressError):
        process.execute_once(KEY, lambda _: None, wait_seconds=600)


# The lease.


def test_a_lease_is_renewed_as_long_as_the_effect_runs(scene: Scene) -> None:
    scene.starts("pod-1", Charge(seconds=3600))
    scene.starts("pod-2", Charge(), at=3000)
    scene.simulation.run()

    assert scene.outcomes["pod-1"].executed
    assert isinstance(scene.errors["pod-2"], EffectInProgressError)
    assert times(scene.claim) == [BEGINNING, *[BEGINNING + timedelta(hours=1)] * 2]
    assert len([sent for sent in scene.cluster.requests if sent.method == "PUT"]) == 120


def test_a_conflict_does_not_lose_the_lease(scene: Scene) -> None:
    """For example with the operator, which adds its owner reference or writes the status."""
    charge = Charge(seconds=100)
    scene.starts("pod-1", charge)
    for second in range(1, 100):
        scene.simulation.run(until=second)
        scene.cluster.add(CLAIM, {**scene.cluster.objects[CLAIM], "status": {"seen": second}})
    scene.simulation.run()

    assert scene.outcomes["pod-1"].executed
    assert not charge.leases[0].lost.is_set()


def away(method: str, path: str, _: Any) -> None:
    raise UnreachableError(f"{method} {path}")


def test_an_api_server_that_is_away_for_less_than_the_lease_loses_nothing(scene: Scene) -> None:
    charge = Charge(seconds=100)
    scene.starts("pod-1", charge, lease_seconds=60)
    scene.simulation.run(until=10)
    scene.cluster.before = away
    scene.simulation.run(until=50)
    scene.cluster.before = None
    scene.simulation.run()

    assert scene.outcomes["pod-1"].executed
    assert not charge.leases[0].lost.is_set()


def test_an_effect_is_stopped_before_its_lease_ends_and_completed_if_it_succeeds_all_the_same(scene: Scene) -> None:
    charge, lost_at = Charge(seconds=100), []
    scene.starts("pod-1", charge, lease_seconds=60, on_lost=lambda: lost_at.append(scene.simulation.seconds))
    scene.simulation.run(until=10)
    scene.cluster.before = away
    scene.simulation.run(until=90)
    scene.cluster.before = None
    scene.simulation.run()

    assert charge.leases[0].lost.is_set()
    assert len(lost_at) == 1
    assert 48 < lost_at[0] < 60
    assert scene.outcomes["pod-1"].executed
    assert scene.claim["completionStatus"] == "completed"


def stopped_while_it_takes_the_claim(scene: Scene, seconds: float, *, lose: bool = False) -> None:
    """The answer to the first create comes so much later, or is lost then."""
    creates: list[str] = []

    def stop(method: str, path: str) -> None:
        if method == "POST" and not creates:
            creates.append(path)
            scene.simulation.pause(None, seconds)
            if lose:
                raise UnreachableError("reset")

    scene.simulation.after = stop


def test_a_container_that_was_stopped_for_longer_than_its_lease_leaves_the_effect_to_the_next(scene: Scene) -> None:
    stopped_while_it_takes_the_claim(scene, 100)
    charge = Charge(seconds=5)
    scene.starts("pod-1", charge, lease_seconds=60)
    scene.starts("pod-2", charge, at=70)
    scene.simulation.run()

    assert len(charge.leases) == 1
    assert (scene.outcomes["pod-1"].executed, scene.outcomes["pod-2"].executed) == (False, True)
    assert scene.claim["leaseTransitions"] == 1


def test_a_lease_that_has_ended_before_the_effect_begins_is_renewed_first(scene: Scene) -> None:
    stopped_while_it_takes_the_claim(scene, 100)
    charge = Charge(seconds=30)
    scene.starts("pod-1", charge, lease_seconds=60)
    scene.starts("pod-2", charge, at=101)
    scene.simulation.run()

    assert len(charge.leases) == 1
    assert isinstance(scene.errors["pod-2"], EffectInProgressError)
    assert "leaseTransitions" not in scene.claim


def test_a_lease_counts_from_the_request_that_took_it(scene: Scene) -> None:
    stopped_while_it_takes_the_claim(scene, 8, lose=True)
    charge = Charge(seconds=5)
    scene.starts("pod-1", charge, lease_seconds=10)
    scene.starts("pod-2", charge, at=10.5)
    scene.simulation.run()

    assert len(charge.leases) == 1
    assert scene.outcomes["pod-1"].executed
    assert isinstance(scene.errors["pod-2"], EffectInProgressError)


def test_answers_that_take_longer_than_the_lease_make_the_step_try_again(scene: Scene) -> None:
    scene.simulation.after = lambda method, path: scene.simulation.pause(None, 1.5)

    with pytest.raises(EffectInProgressError, match="longer than its lease of 1 s"):
        scene.run("pod-1", Charge(), lease_seconds=1)


def test_an_effect_whose_claim_was_taken_over_fails_the_call_and_leaves_the_claim_alone(scene: Scene) -> None:
    scene.starts("pod-1", Charge(seconds=100), lease_seconds=60)
    scene.simulation.run(until=10)
    at = "2026-01-01T10:02:00.000000Z"
    rival = {"holderIdentity": "pod-2:1", "acquireTime": at, "renewTime": at}
    scene.claimed(leaseDurationSeconds=600, leaseTransitions=1, **rival)
    scene.simulation.run()

    error = scene.errors["pod-1"]
    assert isinstance(error, EffectLostError)
    assert (error.code, error.exit_class) == ("EffectLost", ExitClass.RETRY)
    assert "pod-2:1" in str(error)
    assert scene.claim["holderIdentity"] == "pod-2:1"
    assert scene.simulation.recorded == []


def test_an_effect_that_fails_after_its_lease_was_lost_says_both(scene: Scene) -> None:
    scene.starts("pod-1", Charge(seconds=100, crash=ConnectionError("card declined")), lease_seconds=60)
    scene.simulation.run(until=10)
    scene.claimed(holderIdentity="pod-2:1", leaseDurationSeconds=600)
    scene.simulation.run()

    error = scene.errors["pod-1"]
    assert isinstance(error, EffectLostError)
    assert "another process has taken it over" in str(error)
    assert "card declined" in str(error)
    assert scene.claim["holderIdentity"] == "pod-2:1"


def test_a_clock_that_is_set_back_moves_no_time_of_the_claim_back(scene: Scene) -> None:
    identity = Identity(namespace="default", story_run="run-1", step_run="sr-1-charge")
    clock = [BEGINNING]
    timing = Timing(lambda: clock[0])
    process = Effects(scene.cluster, StepRunClient(scene.cluster, identity), identity, timing=timing)

    def effect(_: EffectLease) -> None:
        clock[0] -= timedelta(hours=1)

    process.execute_once(KEY, effect)

    assert times(scene.claim) == [BEGINNING] * 3


# Lost answers and other writers.


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_write_whose_answer_is_lost_is_found_by_the_holder(scene: Scene, method: str) -> None:
    lost: list[str] = []

    def lose(asked: str, path: str) -> None:
        if asked == method and path.startswith(CLAIM.rpartition("/")[0]) and not lost:
            lost.append(path)
            raise UnreachableError("reset")

    scene.simulation.after = lose
    charge = Charge()

    assert scene.run("pod-1", charge).executed
    assert len(lost) == 1
    assert len(charge.leases) == 1
    assert scene.claim["completionStatus"] == "completed"


@pytest.mark.parametrize("begins", [0.0, 1.0])
def test_an_effect_happens_once_although_the_disk_of_the_api_server_is_full(scene: Scene, begins: float) -> None:
    """Full before the claim is stored, or while the effect runs: its completion is kept until it can be stored."""

    def full(method: str, _: str, __: Any) -> None:
        if method != "GET" and begins <= scene.simulation.seconds < begins + 300:
            raise status_error(507, "no space left; free some disk space and try again")

    scene.cluster.before = full
    scene.simulation.patient_until = 600.0
    charge = Charge(seconds=2)

    assert scene.run("pod-1", charge).executed
    assert len(charge.leases) == 1
    assert (scene.claim["completionStatus"], scene.claim["details"]) == ("completed", {"chargeId": "ch_1"})


@pytest.mark.parametrize(("patient_until", "full_until"), [(0.0, 15.0), (600.0, 300.0)])
def test_an_explicit_record_is_kept_while_the_disk_of_the_api_server_is_full(
    scene: Scene, patient_until: float, full_until: float
) -> None:
    def full(method: str, _: str, __: Any) -> None:
        if method != "GET" and scene.simulation.seconds < full_until:
            raise status_error(507, "no space left; free some disk space and try again")

    scene.cluster.before = full
    scene.simulation.patient_until = patient_until
    container = scene.simulation.container("pod-1")
    container.start(lambda container: container.effects.record("mail", "succeeded", {"id": 7}))
    scene.simulation.run()

    (entry,) = scene.cluster.objects[STEP_RUN]["status"]["effects"]
    assert (entry["key"], entry["details"]) == ("mail", {"id": 7})
    assert full_until <= scene.simulation.seconds <= full_until + 8


def test_a_completed_effect_does_not_wait_until_it_can_be_listed(scene: Scene) -> None:
    """The claim is the truth; the next attempt lists the effect."""

    def refuse(method: str, path: str, _: Any) -> None:
        if method == "PATCH" and path.startswith(STEP_RUN):
            raise status_error(507, "no space left; free some disk space and try again")

    scene.cluster.before = refuse
    scene.simulation.patient_until = 600.0

    assert scene.run("pod-1", Charge()).executed
    assert scene.simulation.seconds < 5


def test_a_takeover_whose_answer_is_lost_is_found_by_the_holder(scene: Scene) -> None:
    scene.claimed(completionStatus="released")
    lost: list[str] = []

    def lose(asked: str, path: str) -> None:
        if asked == "PUT" and not lost:
            lost.append(path)
            raise UnreachableError("reset")

    scene.simulation.after = lose

    assert scene.run("pod-1", Charge()).executed


def test_a_claim_that_is_deleted_while_the_effect_runs_is_stored_completed(scene: Scene) -> None:
    scene.starts("pod-1", Charge(seconds=10))
    scene.simulation.run(until=5)
    del scene.cluster.objects[CLAIM]
    scene.simulation.run()

    assert scene.outcomes["pod-1"].executed
    assert scene.claim["completionStatus"] == "completed"
    assert not scene.run("pod-2", Charge()).executed


def test_a_claim_of_a_deleted_step_run_is_waited_for_until_it_is_gone(scene: Scene) -> None:
    stale = {"stepRunRef": {"name": "sr-1-charge", "uid": "uid-0"}, "idempotencyKey": "before"}
    scene.claimed(completionStatus="completed", completedAt="2026-01-01T09:00:00Z", **stale)
    charge = Charge()
    scene.starts("pod-1", charge)
    scene.simulation.run(until=5)
    assert charge.leases == []
    del scene.cluster.objects[CLAIM]
    scene.simulation.run()

    assert scene.outcomes["pod-1"].executed


def test_a_claim_of_a_deleted_step_run_that_stays_makes_the_step_try_again(scene: Scene) -> None:
    scene.claimed(stepRunRef={"name": "sr-1-charge", "uid": "uid-0"}, completionStatus="completed")

    with pytest.raises(EffectInProgressError, match="a StepRun that was deleted"):
        scene.run("pod-1", Charge())
    assert 15 <= scene.simulation.seconds < 17


@pytest.mark.parametrize("other", [{"effectKey": "refund"}, {"idempotencyKey": "other"}])
def test_a_claim_of_another_effect_is_refused_for_good(scene: Scene, other: dict[str, Any]) -> None:
    scene.claimed(**other)

    with pytest.raises(EngramError, match=f"belongs to another effect: {next(iter(other))} is ") as caught:
        scene.run("pod-1", Charge())
    assert (caught.value.code, caught.value.exit_class) == ("EffectClaimMismatch", ExitClass.TERMINAL)


def test_a_completion_is_repeated_until_a_server_that_has_just_started_knows_the_rights(scene: Scene) -> None:
    """For seconds after its start, a kube-apiserver refuses every account whose roles it has not read yet."""
    refusals = iter([status_error(403, "no such right", details={"kind": "effectclaims"}) for _ in range(4)])

    def forbidden(method: str, _: str, __: Any) -> None:
        if method == "PUT" and (refusal := next(refusals, None)):
            raise refusal

    scene.cluster.before = forbidden

    assert scene.run("pod-1", Charge()).executed
    assert scene.claim["completionStatus"] == "completed"
    assert (scene.run("pod-2", Charge()).executed, scene.claim["details"]) == (False, {"chargeId": "ch_1"})


def test_a_completion_that_is_refused_for_good_is_reported(scene: Scene) -> None:
    def forbidden(method: str, _: str, __: Any) -> None:
        if method == "PUT":
            raise StatusError(403, "no such right")

    scene.cluster.before = forbidden

    with pytest.raises(StatusError, match="no such right"):
        scene.run("pod-1", Charge())


# The record for people.


def test_the_list_in_the_status_does_not_decide(scene: Scene) -> None:
    container = scene.simulation.container("pod-1")
    container.start(lambda container: container.effects.record(KEY, "failed", {"id": 1}))
    scene.simulation.run()

    assert scene.run("pod-2", Charge()).executed


def test_an_effect_that_was_pushed_out_of_the_list_still_counts(scene: Scene) -> None:
    scene.run("pod-1", Charge())
    scene.cluster.objects[STEP_RUN]["status"]["effects"] = []

    assert not scene.run("pod-2", Charge()).executed


def test_an_effect_has_happened_if_it_is_completed_or_recorded(scene: Scene) -> None:
    answers: dict[str, bool] = {}
    scene.run("pod-1", Charge())
    scene.cluster.objects[STEP_RUN]["status"]["effects"] = [{"seq": 1, "key": "mailed"}]

    def ask(container: Container) -> None:
        answers.update({key: container.effects.has(key) for key in (f" {KEY} ", "mailed", "other")})

    scene.simulation.container("pod-2").start(ask)
    scene.simulation.run()

    assert answers == {f" {KEY} ": True, "mailed": True, "other": False}


# Details.


class Strange:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    ("returned", "details"),
    [
        pytest.param([1, "a"], {"value": [1, "a"]}, id="list"),
        pytest.param("ch_1", {"value": "ch_1"}, id="string"),
        pytest.param(7, {"value": 7}, id="number"),
        pytest.param(float("nan"), {"unserializable": True, "type": "float"}, id="nan"),
        pytest.param(b"raw", {"unserializable": True, "type": "bytes"}, id="bytes"),
        pytest.param(Strange(), {"unserializable": True, "type": "Strange"}, id="object"),
        pytest.param({1: 2}, {"unserializable": True, "type": "dict"}, id="keys-that-are-no-strings"),
    ],
)
def test_no_form_of_a_result_keeps_an_effect_from_being_completed(
    scene: Scene, returned: Any, details: dict[str, Any]
) -> None:
    assert scene.run("pod-1", Charge(returns=returned)) == EffectOutcome(True, details)
    assert scene.run("pod-2", Charge()) == EffectOutcome(False, details)


def test_a_result_that_contains_itself_does_not_keep_an_effect_from_being_completed(scene: Scene) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless

    assert scene.run("pod-1", Charge(returns=endless)).details == {"unserializable": True, "type": "dict"}


def test_details_that_the_server_refuses_do_not_keep_an_effect_from_being_completed(scene: Scene) -> None:
    def strict(method: str, _: str, body: Any) -> None:
        if method == "PUT" and "chargeId" in body["spec"].get("details", {}):
            raise StatusError(422, "details: no")

    scene.cluster.before = strict

    assert scene.run("pod-1", Charge()) == EffectOutcome(True, {"refused": True})


def test_large_details_are_summarised() -> None:
    details = {"a": "x" * 9000}

    assert effects.bounded(details, 8192) == {
        "truncated": True,
        "sizeBytes": 9008,
        "sha256": hashlib.sha256(json.dumps(details, separators=(",", ":")).encode()).hexdigest(),
        "type": "map",
        "details": {"len": 1},
    }


# Names and arguments.


@pytest.mark.parametrize(
    ("namespace", "step_run", "key", "name"),
    [
        ("default", "sr-1-charge", "charge-card", "sr-1-charge-effect-1ceea1f6cb4e8bee"),
        ("default", "run-1-charge", "deliver-webhook", "run-1-charge-effect-8329de16458124ff"),
        ("default", "example-step", "deliver-webhook", "example-step-effect-f593b593cad9418d"),
        ("ns-a", "run1-step-notify", "provider.call", "run1-step-notify-effect-3cba18bf9177d558"),
        ("default", "s" * 250, "k", "s" * 229 + "-effect-1fad3d218bdb2ef3"),
        (
            "github-pr-review",
            "pr-review-assistant-abc123-review-code",
            "github.review.comment",
            "pr-review-assistant-abc123-review-code-effect-fa6f0d543c0d0583",
        ),
    ],
)
def test_claims_have_the_documented_names(namespace: str, step_run: str, key: str, name: str) -> None:
    assert claim_name(namespace, step_run, key) == name


def test_a_long_name_is_cut_and_still_names_the_effect() -> None:
    name = claim_name("ns", "s" * 228 + "-" * 20, "k")

    assert len(name) <= 253
    assert "-effect-" in name
    assert "--effect" not in name


@pytest.mark.parametrize("key", ["", "  ", "k" * 257])
def test_a_blank_key_and_one_that_is_too_long_are_refused(scene: Scene, key: str) -> None:
    with pytest.raises(ValueError, match="needs a key of 1 to 256 characters"):
        scene.run("pod-1", Charge(), key=key)


def test_a_lease_has_at_least_a_second(scene: Scene) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        scene.run("pod-1", Charge(), lease_seconds=0)
