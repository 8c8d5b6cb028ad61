"""Status updates under contention and failure."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from bubu_sdk import Context, effects, signals
from bubu_sdk.contract import Identity
from bubu_sdk.kube import KubeError, StatusError, UnreachableError, status_error
from bubu_sdk.status import StatusUpdate
from bubu_sdk.steprun import EndedError, FencedError, StepRunClient, TransitionError
from bubu_sdk.testing import EngramEnvironment
from bubu_sdk.testing.cluster import InMemoryCluster, refusing, step_run_path

PATH = step_run_path("ns", "sr")
NOW = datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def cluster() -> InMemoryCluster:
    cluster = InMemoryCluster()
    cluster.add(PATH, {"status": {"phase": "Running", "retries": 0}})
    return cluster


def client(cluster: InMemoryCluster, *, pod: str = "pod-1", sleeps: list[float] | None = None) -> StepRunClient:
    recorded = [] if sleeps is None else sleeps
    return StepRunClient(cluster, Identity(namespace="ns", step_run="sr", pod=pod), sleep=recorded.append)


def full(is_full: bool, method: str) -> None:
    """Refuse as an API server whose disk is full: reads are answered."""
    if is_full and method != "GET":
        raise status_error(507, "no space left; free some disk space and try again")


def status(cluster: InMemoryCluster) -> Any:
    return cluster.objects[PATH]["status"]


def test_a_patch_carries_the_version_it_was_computed_from(cluster: InMemoryCluster) -> None:
    version = cluster.objects[PATH]["metadata"]["resourceVersion"]

    client(cluster).update(StatusUpdate({"phase": "Failed"}))

    assert cluster.status_patches == [{"metadata": {"resourceVersion": version}, "status": {"phase": "Failed"}}]


def test_a_change_of_nothing_writes_nothing(cluster: InMemoryCluster) -> None:
    client(cluster).update(StatusUpdate({"phase": "Running"}))

    assert cluster.status_patches == []


def test_a_conflict_is_solved_by_reading_again(cluster: InMemoryCluster) -> None:
    rival_writes = iter([{"phase": "Running", "retries": 0, "signals": {"theirs": {}}}])

    def rival(method: str, *_: Any) -> None:
        if method == "PATCH" and (written := next(rival_writes, None)):
            cluster.add(PATH, {"status": written})

    cluster.before = rival
    client(cluster).update(StatusUpdate(signals={"ours": {}}))

    assert status(cluster)["signals"] == {"theirs": {}, "ours": {}}
    assert len(cluster.status_patches) == 2


def test_the_second_change_starts_from_the_answer_to_the_first(cluster: InMemoryCluster) -> None:
    methods: list[str] = []
    cluster.before = lambda method, *_: methods.append(method)
    mine = client(cluster)

    mine.claim(lambda _: StatusUpdate({"podName": "pod-1"}))
    mine.update(StatusUpdate({"phase": "Succeeded"}))

    assert methods == ["GET", "PATCH", "PATCH"]
    assert (status(cluster)["podName"], status(cluster)["phase"]) == ("pod-1", "Succeeded")


def test_an_answer_that_is_out_of_date_is_read_again(cluster: InMemoryCluster) -> None:
    mine = client(cluster)
    mine.update(StatusUpdate(signals={"first": {}}))
    cluster.add(PATH, {"status": {"phase": "Running", "retries": 0, "signals": {"theirs": {}}}})

    mine.update(StatusUpdate(signals={"second": {}}))

    assert status(cluster)["signals"] == {"theirs": {}, "second": {}}


def test_another_pod_that_has_taken_over_is_found_in_spite_of_an_earlier_answer(cluster: InMemoryCluster) -> None:
    mine = client(cluster)
    mine.claim(lambda _: StatusUpdate({"podName": "pod-1"}))
    cluster.add(PATH, {"status": {"phase": "Running", "retries": 0, "podName": "pod-2"}})

    with pytest.raises(FencedError):
        mine.update(StatusUpdate({"phase": "Succeeded"}))

    assert status(cluster)["podName"] == "pod-2"


def test_a_step_run_that_runs_again_is_not_judged_by_an_earlier_answer(cluster: InMemoryCluster) -> None:
    mine = client(cluster)
    mine.update(StatusUpdate({"phase": "Succeeded"}))
    cluster.add(PATH, {"status": {"phase": "Running", "retries": 1}})

    mine.update(StatusUpdate({"phase": "Failed"}))

    assert status(cluster)["phase"] == "Failed"


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 507, 599])
def test_server_failures_are_tried_again_with_growing_pauses(cluster: InMemoryCluster, code: int) -> None:
    sleeps: list[float] = []
    cluster.fail(code, times=3)

    client(cluster, sleeps=sleeps).update(StatusUpdate({"phase": "Failed"}))

    assert status(cluster)["phase"] == "Failed"
    assert len(sleeps) == 3
    for pause, nominal in zip(sleeps, (0.1, 0.2, 0.4), strict=True):
        assert nominal * 0.75 <= pause <= nominal * 1.25


def test_after_six_attempts_the_failure_is_told(cluster: InMemoryCluster) -> None:
    cluster.fail(503, times=99)

    with pytest.raises(StatusError, match="503"):
        client(cluster).update(StatusUpdate({"phase": "Failed"}))

    assert len(cluster.status_patches) == 6


@pytest.mark.parametrize("patient_until", [0.0, 300.0])
def test_an_outcome_is_kept_while_the_disk_of_the_api_server_is_full(
    cluster: InMemoryCluster, patient_until: float
) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    cluster.before = lambda method, *_: full(clock[0] < max(29.0, patient_until) - 10, method)
    mine = StepRunClient(
        cluster, Identity(namespace="ns", step_run="sr", pod="pod-1"), sleep=sleep, monotonic=lambda: clock[0]
    )
    mine.report(StatusUpdate({"phase": "Succeeded", "output": {"n": 1}}), patient_until=patient_until)

    assert (status(cluster)["phase"], status(cluster)["output"]) == ("Succeeded", {"n": 1})
    assert clock[0] <= max(30.0, patient_until)


def test_an_outcome_is_not_sent_for_ever(cluster: InMemoryCluster) -> None:
    clock = [0.0]
    cluster.before = lambda method, *_: full(True, method)
    mine = StepRunClient(
        cluster,
        Identity(namespace="ns", step_run="sr", pod="pod-1"),
        sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds),
        monotonic=lambda: clock[0],
    )

    with pytest.raises(StatusError, match="507"):
        mine.report(StatusUpdate({"phase": "Succeeded"}), patient_until=100)

    assert 90 < clock[0] < 100


def test_a_thread_that_waits_for_an_outage_does_not_keep_others_from_writing(cluster: InMemoryCluster) -> None:
    others: list[threading.Thread] = []

    def meanwhile(_: float) -> None:
        if not others:
            cluster.before = None
            others.append(threading.Thread(target=lambda: mine.update(StatusUpdate(signals={"b": {}})), daemon=True))
            others[0].start()
            others[0].join(20)
            assert not others[0].is_alive()

    cluster.before = lambda method, *_: full(True, method)
    mine = StepRunClient(cluster, Identity(namespace="ns", step_run="sr", pod="pod-1"), sleep=meanwhile)
    mine.update(StatusUpdate(signals={"a": {}}), patient_until=10**9)

    assert list(status(cluster)["signals"]) == ["b", "a"]


@pytest.mark.parametrize("code", [413, 422, 501])
def test_an_outcome_that_is_refused_for_what_it_is_is_sent_once(cluster: InMemoryCluster, code: int) -> None:
    cluster.fail(code, times=99)

    with pytest.raises(StatusError):
        client(cluster).report(StatusUpdate({"phase": "Succeeded"}), patient_until=10**9)

    assert len(cluster.status_patches) == 1


@pytest.mark.parametrize("code", [400, 403, 404, 422])
def test_a_refusal_is_not_tried_again(cluster: InMemoryCluster, code: int) -> None:
    cluster.fail(code, times=99)

    with pytest.raises(StatusError):
        client(cluster).update(StatusUpdate({"phase": "Failed"}))

    assert len(cluster.status_patches) == 1


def test_an_unreachable_server_is_tried_again(cluster: InMemoryCluster) -> None:
    sleeps: list[float] = []
    cluster.before = refusing(UnreachableError("refused"))

    with pytest.raises(KubeError, match="refused"):
        client(cluster, sleeps=sleeps).update(StatusUpdate({"phase": "Failed"}))

    assert len(sleeps) == 5


def test_the_time_for_one_update_is_bounded(cluster: InMemoryCluster) -> None:
    sleeps: list[float] = []
    cluster.fail(503, times=99)

    with pytest.raises(StatusError):
        client(cluster, sleeps=sleeps).update(StatusUpdate({"phase": "Failed"}), timeout_seconds=0.05)

    assert sleeps == []


@pytest.mark.parametrize(
    "update",
    [
        StatusUpdate({"phase": "Succeeded"}),
        signals.update("progress", 50, now=NOW),
        effects.record("charge", "succeeded", None, now=NOW),
    ],
    ids=["phase", "signal", "effect"],
)
def test_another_pods_step_run_is_not_touched(cluster: InMemoryCluster, update: StatusUpdate) -> None:
    cluster.add(PATH, {"status": {"phase": "Running", "retries": 0, "podName": "pod-2"}})

    with pytest.raises(FencedError, match="owned by Pod 'pod-2'"):
        client(cluster).update(update)

    assert cluster.status_patches == []


def test_an_ended_step_run_stays_ended(cluster: InMemoryCluster) -> None:
    cluster.add(PATH, {"status": {"phase": "Canceled", "retries": 0}})

    with pytest.raises(TransitionError, match="is Canceled and may not become Succeeded"):
        client(cluster).update(StatusUpdate({"phase": "Succeeded"}))


@pytest.mark.parametrize("conditions", [[], [{"type": "Progressing", "status": "False"}]])
def test_what_the_operator_has_recorded_is_not_reported_again(cluster: InMemoryCluster, conditions: list[Any]) -> None:
    """A report of the same phase may still be the SDK's own, whose answer was lost."""
    cluster.add(PATH, {"status": {"phase": "Timeout", "retries": 0, "conditions": conditions}})
    again = StatusUpdate({"phase": "Timeout", "exitCode": 124})

    if conditions:
        with pytest.raises(EndedError, match="the StepRun is Timeout"):
            client(cluster).report(again)
    else:
        client(cluster).report(again)
    assert len(cluster.status_patches) == (0 if conditions else 1)


def test_a_refused_write_from_an_old_state_is_judged_by_the_new_one(cluster: InMemoryCluster) -> None:
    """Admission looks at a write before the API server compares versions."""
    writer = client(cluster)
    writer.update(StatusUpdate({"startedAt": "2026-01-01T10:00:00Z"}))
    cluster.add(PATH, {"status": {"phase": "Timeout", "retries": 0}})
    refuse = refusing(StatusError(403, "the operator has recorded the end of the step"))
    cluster.before = lambda method, *rest: refuse(method, *rest) if method == "PATCH" else None

    with pytest.raises(EndedError, match="the StepRun is Timeout and may not become Failed"):
        writer.report(StatusUpdate({"phase": "Failed"}))


def test_a_lost_answer_to_a_patch_does_no_harm(cluster: InMemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = iter([True])
    serve = cluster.request

    def losing(method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = serve(method, path, body, **options)
        if method == "PATCH" and next(lost, False):
            raise UnreachableError("the answer was lost")
        return answer

    monkeypatch.setattr(cluster, "request", losing)
    client(cluster).update(StatusUpdate({"phase": "Succeeded"}))

    assert status(cluster)["phase"] == "Succeeded"
    assert len(cluster.status_patches) == 1


def test_an_output_with_nulls_arrives_with_its_nulls(cluster: InMemoryCluster) -> None:
    client(cluster).update(StatusUpdate({"output": {"result": None, "list": [None]}}))

    assert status(cluster)["output"] == {"result": None, "list": [None]}


def test_a_status_that_was_never_written_gets_its_required_fields(cluster: InMemoryCluster) -> None:
    cluster.objects[PATH].pop("status")

    client(cluster).update(StatusUpdate({"phase": "Succeeded", "output": {"x": None}}))

    assert status(cluster) == {"phase": "Succeeded", "output": {"x": None}, "retries": 0}


def test_a_conflict_on_a_json_patch_is_solved_too(cluster: InMemoryCluster) -> None:
    rivals = iter([1])

    def rival(method: str, *_: Any) -> None:
        if method == "PATCH" and next(rivals, None):
            cluster.add(PATH, {"status": {"phase": "Running", "retries": 1}})

    cluster.before = rival
    client(cluster).update(StatusUpdate({"output": {"x": None}}))

    assert status(cluster) == {"phase": "Running", "retries": 1, "output": {"x": None}}


HAS_ENDED = "the step has already ended (Timeout); this result is not recorded"
RECORDED = {"conditions": [{"type": "Progressing", "status": "False", "reason": "TimedOut"}]}


@pytest.mark.parametrize(
    ("step_timeout", "stored", "said"),
    [
        ("30s", {"phase": "Timeout", **RECORDED}, HAS_ENDED),
        ("100ms", {"phase": "Timeout", **RECORDED}, HAS_ENDED),
        ("30s", {"phase": "Running", "podName": "other"}, "another attempt of the step has begun"),
    ],
    ids=["ended", "timed out at the same time", "at its next attempt"],
)
def test_a_late_result_is_no_error(step_timeout: str, stored: dict[str, Any], said: str) -> None:
    """Admission refuses it, too: it is no matter of rights."""
    environment = EngramEnvironment(step_timeout=step_timeout)

    def late(ctx: Context[Any]) -> None:
        ctx.cancelled.wait(0.2)
        environment.cluster.add(environment.step_run_path, {"status": {"retries": 0, **stored}})
        environment.cluster.before = lambda method, *_: refuse(method)

    def refuse(method: str) -> None:
        if method != "GET":
            raise StatusError(403, "status.phase: the operator has recorded the end of the step")

    outcome = environment.run(late)

    lines = [(line["level"], line["msg"]) for line in outcome.logs if line["logger"] == "bubu_sdk"]
    assert [level for level, text in lines if text.startswith(said)] == ["warning"]
    assert "error" not in [level for level, text in lines if "recorded" in text or "reported" in text]
    assert outcome.phase == stored["phase"]
