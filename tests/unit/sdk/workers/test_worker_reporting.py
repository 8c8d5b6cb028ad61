"""The one patch that reports an attempt, whatever the API server answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bubu_sdk.kube import UnreachableError, status_error
from bubu_sdk.status import StatusUpdate
from bubu_sdk.workers.assignment import assigned_to
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.reporting import ExitReporter
from bubu_sdk.workers.settings import WorkerSettings
from tests.unit.sdk.workers.worker_stand import NAMESPACE, POD, POD_UID, WatchableCluster, WorkerStand

SUCCESS = AttemptOutcome(0, StatusUpdate({"phase": "Succeeded", "exitCode": 0, "output": {"n": 1}}, ("error",)))


class Case:
    def __init__(self, cluster: WatchableCluster, stand: WorkerStand) -> None:
        self.cluster = cluster
        self.stand = stand
        environ = {
            "BUBU_WORKER_POOL": "pool-a",
            "BUBU_POD_NAME": POD,
            "BUBU_POD_UID": POD_UID,
            "BUBU_POD_NAMESPACE": NAMESPACE,
        }
        self.stopped = threading.Event()
        self.reporter = ExitReporter(cluster, WorkerSettings.of(environ), stop=self.stopped)
        self.known = stand.assign("step")
        found = assigned_to(self.known, POD_UID)
        assert found is not None
        self.attempt = found

    def report(self, outcome: AttemptOutcome = SUCCESS) -> None:
        self.reporter.report(self.attempt, outcome, self.known)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.cluster.requests]

    @property
    def status(self) -> Any:
        return self.stand.status("step")


@pytest.fixture
def case(cluster: WatchableCluster, stand: WorkerStand) -> Case:
    return Case(cluster, stand)


def test_a_result_takes_one_request(case: Case) -> None:
    case.report()

    assert case.methods == ["PATCH"]
    assert case.status["output"] == {"n": 1}
    assert case.status["workerExit"]["exitCode"] == 0
    assert case.cluster.requests[0].body["metadata"] == {
        "uid": case.known["metadata"]["uid"],
        "resourceVersion": case.known["metadata"]["resourceVersion"],
    }


def test_a_result_with_null_is_kept_as_it_is(case: Case) -> None:
    case.report(AttemptOutcome(0, StatusUpdate({"phase": "Succeeded", "output": {"n": None}})))

    assert case.status["output"] == {"n": None}
    assert case.methods == ["PATCH"]
    assert case.cluster.requests[0].body[0] == {
        "op": "replace",
        "path": "/metadata/uid",
        "value": case.known["metadata"]["uid"],
    }


def test_the_write_of_another_is_read_and_kept(case: Case) -> None:
    case.stand.change("step", status={"phase": "Running", "startedAt": "2026-01-01T00:00:00Z"})
    started = AttemptOutcome(0, StatusUpdate({**SUCCESS.update.fields, "startedAt": "2026-02-02T00:00:00Z"}))  # type: ignore[union-attr]

    case.report(started)

    assert case.methods == ["PATCH", "GET", "PATCH"]
    assert case.status["startedAt"] == "2026-01-01T00:00:00Z"
    assert case.status["phase"] == "Succeeded"


@pytest.mark.parametrize("how", ["retry", "final"])
def test_the_result_of_an_attempt_that_is_over_is_not_written_but_its_end_is(case: Case, how: str) -> None:
    if how == "retry":
        case.stand.change("step", status={"retries": 1, "phase": "Pending"})
    else:
        case.stand.finish("step", "Timeout")

    case.report()

    assert "output" not in case.status
    assert case.status["phase"] == {"retry": "Pending", "final": "Timeout"}[how]
    assert case.status["workerExit"]["attempt"] == 0


@pytest.mark.parametrize("how", ["next attempt", "released", "another object", "gone"])
def test_nothing_is_written_about_what_is_not_this_workers_any_more(case: Case, how: str) -> None:
    path = f"/apis/runs.bubustack.io/v1alpha1/namespaces/{NAMESPACE}/stepruns/step"
    if how == "next attempt":
        case.stand.assign("step", attempt=1)
    elif how == "released":
        case.stand.change("step", status={"workerExit": {"attempt": 0, "exitCode": 9}})
    else:
        case.cluster.remove(path)
        if how == "another object":
            case.stand.assign("step")
    before = case.cluster.objects.get(path)

    case.report()

    assert case.cluster.objects.get(path) == before


def test_a_lost_answer_is_handled_by_reading(case: Case) -> None:
    lost = iter([True])

    def lose(method: str, *_: Any) -> None:
        if method == "PATCH" and next(lost, False):
            raise UnreachableError("the answer was lost")

    case.cluster.after = lose

    case.report()

    assert case.methods == ["PATCH", "GET"]
    assert case.status["output"] == {"n": 1}


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_failure_of_the_server_is_waited_for(case: Case, code: int) -> None:
    case.cluster.fail(code, times=2)

    case.report()

    assert case.methods == ["PATCH", "GET", "PATCH", "GET", "PATCH"]
    assert case.status["output"] == {"n": 1}


def test_a_result_that_is_refused_for_ever_is_replaced_by_a_failure(case: Case) -> None:
    def refuse(method: str, _: str, body: Any) -> None:
        if method == "PATCH" and "output" in body["status"]:
            raise status_error(422, "the output is invalid")

    case.cluster.before = refuse

    case.report()

    assert "output" not in case.status
    assert case.status["workerExit"]["exitCode"] == 1


def test_a_refusal_of_what_follows_from_an_old_state_is_judged_by_the_new_one(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator has recorded the end meanwhile, so admission refuses the result: that is no error."""
    refusals = iter([True])

    def refuse(method: str, *_: Any) -> None:
        if method == "PATCH" and next(refusals, False):
            raise status_error(403, "status.phase: the operator has recorded the end of the step")

    case.cluster.before = refuse

    case.report()

    assert case.methods[:3] == ["PATCH", "GET", "PATCH"]
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_a_worker_that_ends_gives_up(case: Case) -> None:
    case.cluster.fail(503, times=10_000)
    case.reporter.stop()

    case.report()

    assert case.status == {}
