from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcluster.node.podstatus import LISTENING, PodPhase, PodView, RestartPolicy, Verdict, pod_phase, pod_status
from localcluster.node.records import ContainerRecord, Running, Terminated, Waiting, from_status, lost

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FRESH = ContainerRecord("c", "i")
RUNS = FRESH.running(NOW, "id", ready=True)
DONE = RUNS.terminated(Terminated(0, "Completed", started_at=NOW, finished_at=NOW))
FAILED = RUNS.terminated(Terminated(3, "Error", message="why", started_at=NOW, finished_at=NOW, container_id="id"))
CRASHED = FAILED.waiting("CrashLoopBackOff", "back-off")


def view(
    policy: RestartPolicy, main: Sequence[ContainerRecord], init: Sequence[ContainerRecord] = (), stopped: bool = False
) -> PodView:
    return PodView(policy, init, main, NOW, "127.0.0.1", "127.0.0.1", stopped=stopped)


def test_a_pod_says_where_it_listens_while_it_runs() -> None:
    def shown(record: ContainerRecord, previous: dict[str, Any]) -> list[Any]:
        status = pod_status(view(RestartPolicy.ALWAYS, [record]), previous, NOW)
        return [each["message"] for each in status["conditions"] if each["type"] == LISTENING]

    listens = FRESH.running(NOW, "id", ready=True, ports={8080: 8082, 8081: 8081})
    previous = pod_status(view(RestartPolicy.ALWAYS, [listens]), {}, NOW)

    assert shown(listens, {}) == ["port 8080 is 127.0.0.1:8082, port 8081 is 127.0.0.1:8081"]
    ended = listens.terminated(Terminated(1, "Error"))
    assert shown(ended, previous) == shown(ended.waiting("CrashLoopBackOff"), previous) == shown(RUNS, previous) == []


@pytest.mark.parametrize(
    ("policy", "init", "main", "expected"),
    [
        (RestartPolicy.NEVER, [], [FRESH], PodPhase.PENDING),
        (RestartPolicy.NEVER, [], [RUNS], PodPhase.RUNNING),
        (RestartPolicy.NEVER, [], [DONE], PodPhase.SUCCEEDED),
        (RestartPolicy.NEVER, [], [FAILED], PodPhase.FAILED),
        (RestartPolicy.NEVER, [], [FAILED, RUNS], PodPhase.RUNNING),
        (RestartPolicy.NEVER, [], [DONE, FAILED], PodPhase.FAILED),
        (RestartPolicy.ON_FAILURE, [], [FAILED], PodPhase.RUNNING),
        (RestartPolicy.ON_FAILURE, [], [CRASHED], PodPhase.RUNNING),
        (RestartPolicy.ON_FAILURE, [], [DONE], PodPhase.SUCCEEDED),
        (RestartPolicy.ALWAYS, [], [DONE], PodPhase.RUNNING),
        (RestartPolicy.NEVER, [RUNS], [FRESH], PodPhase.PENDING),
        (RestartPolicy.NEVER, [FAILED], [FRESH], PodPhase.FAILED),
        (RestartPolicy.ALWAYS, [FAILED], [FRESH], PodPhase.PENDING),
        (RestartPolicy.ALWAYS, [DONE], [RUNS], PodPhase.RUNNING),
    ],
)
def test_the_phase_follows_from_the_containers(
    policy: RestartPolicy, init: list[ContainerRecord], main: list[ContainerRecord], expected: PodPhase
) -> None:
    assert pod_phase(view(policy, main, init)) is expected


def test_a_stopped_pod_restarts_nothing_and_ends_as_its_containers_did() -> None:
    assert pod_phase(view(RestartPolicy.ALWAYS, [FAILED], stopped=True)) is PodPhase.FAILED
    assert pod_phase(view(RestartPolicy.ALWAYS, [DONE], stopped=True)) is PodPhase.SUCCEEDED


def test_a_verdict_fails_the_pod_and_says_why() -> None:
    verdict = Verdict("DeadlineExceeded", "too long")

    status = pod_status(replace(view(RestartPolicy.NEVER, [RUNS]), verdict=verdict), {}, NOW)

    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")


@pytest.mark.parametrize(
    ("main", "phase"), [([FRESH], "Pending"), ([FRESH, RUNS], "Running"), ([CRASHED], "Running"), ([DONE], "Running")]
)
def test_a_verdict_is_not_told_while_containers_may_be_running(main: list[ContainerRecord], phase: str) -> None:
    ending = replace(view(RestartPolicy.NEVER, main, stopped=True), verdict=Verdict("DeadlineExceeded", "too long"))

    status = pod_status(replace(ending, at_work=True), {}, NOW)

    assert (status["phase"], status.get("reason")) == (phase, None)
    assert pod_status(ending, {}, NOW)["phase"] == "Failed"


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry.get("reason", "")) for entry in status["conditions"]}


def test_conditions_tell_where_the_pod_stands() -> None:
    ready = conditions(pod_status(view(RestartPolicy.NEVER, [RUNS]), {}, NOW))
    done = conditions(pod_status(view(RestartPolicy.NEVER, [DONE]), {}, NOW))
    unready = conditions(pod_status(view(RestartPolicy.NEVER, [RUNS.running_ready(False)]), {}, NOW))

    assert ready["Ready"] == ready["ContainersReady"] == ("True", "")
    assert done["Ready"] == ("False", "PodCompleted")
    assert unready["Ready"] == ("False", "ContainersNotReady")


def test_an_unchanged_condition_keeps_its_instant() -> None:
    before = pod_status(view(RestartPolicy.NEVER, [RUNS]), {}, NOW)

    after = pod_status(view(RestartPolicy.NEVER, [DONE]), before, NOW + timedelta(minutes=1))

    since = {entry["type"]: entry["lastTransitionTime"] for entry in after["conditions"]}
    assert since["PodScheduled"] == "2026-01-02T03:04:05Z"
    assert since["Ready"] == "2026-01-02T03:05:05Z"


def test_the_stored_status_gives_the_record_back() -> None:
    for record in (RUNS, DONE, FAILED, CRASHED, FRESH.waiting("ErrImagePull", "no")):
        assert from_status(record.to_status()) == record


def test_a_container_of_an_earlier_node_is_reported_killed() -> None:
    record = lost(RUNS, NOW)

    assert isinstance(record.state, Terminated)
    assert (record.state.exit_code, record.state.reason) == (137, "ContainerStatusUnknown")
    assert record.state.started_at == NOW


def test_a_restart_is_never_counted_without_the_end_of_the_run_before() -> None:
    again = FAILED.restarted()

    assert (again.restarts, again.last, again.state) == (1, FAILED.state, Waiting("ContainerCreating"))
    assert CRASHED.restarted().last == FAILED.state


def test_states_are_told_apart_on_the_wire() -> None:
    assert FRESH.to_status()["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert RUNS.to_status()["state"] == {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    assert CRASHED.to_status()["lastState"]["terminated"]["exitCode"] == 3
    assert isinstance(CRASHED.state, Waiting)
    assert isinstance(RUNS.state, Running)
