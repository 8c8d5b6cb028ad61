from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubewire import Object
from localcluster.controllers.job_decision import job_actions

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTED = {"startTime": "2026-01-02T03:04:05Z"}


def job(status: Object | None = None, *, restart_policy: str = "Never", **spec: Any) -> Object:
    defaults: Object = {"parallelism": 1, "completions": 1, "backoffLimit": 2}
    template = {"spec": {"restartPolicy": restart_policy, "containers": []}}
    return {"metadata": {"name": "j"}, "spec": {**defaults, "template": template, **spec}, "status": status or {}}


def pod(phase: str, *, restarts: int = 0, leaving: bool = False, ended: datetime = NOW) -> Object:
    state = {"terminated": {"finishedAt": ended.isoformat()}} if phase in ("Failed", "Succeeded") else {"running": {}}
    metadata: Object = {"name": phase, "creationTimestamp": NOW.isoformat()}
    if leaving:
        metadata["deletionTimestamp"] = NOW.isoformat()
    ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
    status = {
        "phase": phase,
        "conditions": [ready],
        "containerStatuses": [{"name": "c", "restartCount": restarts, "state": state}],
    }
    return {"metadata": metadata, "status": status}


def ends(status: Object | None) -> dict[str, str]:
    assert status is not None
    return {entry["type"]: entry["reason"] for entry in status.get("conditions", []) if entry["status"] == "True"}


def test_a_new_job_gets_its_pods_and_a_start_time_at_once() -> None:
    decision = job_actions(job(parallelism=3, completions=5), [], NOW)

    assert decision.create == 3
    assert decision.status is not None
    assert (decision.status["startTime"], decision.status["active"]) == ("2026-01-02T03:04:05Z", 3)
    assert not decision.urgent


def test_no_more_pods_than_completions_are_missing() -> None:
    running = job(STARTED, parallelism=3, completions=3)

    assert job_actions(running, [pod("Succeeded"), pod("Running")], NOW).create == 1


def test_a_succeeded_pod_completes_the_job_in_one_write() -> None:
    decision = job_actions(job(STARTED), [pod("Succeeded")], NOW)

    assert ends(decision.status) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert decision.status is not None
    assert (decision.status["succeeded"], decision.status["completionTime"]) == (1, "2026-01-02T03:04:05Z")
    assert decision.urgent
    assert "active" not in decision.status


def test_surplus_pods_are_deleted_before_completion_is_confirmed() -> None:
    survivor = pod("Running")

    announced = job_actions(job(STARTED, parallelism=2), [pod("Succeeded"), survivor], NOW)

    assert announced.delete == [survivor]
    assert ends(announced.status) == {"SuccessCriteriaMet": "CompletionsReached"}
    leaving = [pod("Succeeded"), pod("Running", leaving=True)]
    assert job_actions(job(announced.status), leaving, NOW).status is None
    assert "Complete" in ends(job_actions(job(announced.status), [pod("Succeeded")], NOW).status)


def test_a_failed_pod_is_replaced_after_a_pause_that_doubles() -> None:
    one = job_actions(job(STARTED), [pod("Failed")], NOW, failure_delay_seconds=10)
    two = job_actions(job(STARTED), [pod("Failed"), pod("Failed")], NOW, failure_delay_seconds=10)
    after = job_actions(job(STARTED), [pod("Failed")], NOW + timedelta(seconds=10), failure_delay_seconds=10)

    assert (one.create, one.wake_at) == (0, NOW + timedelta(seconds=10))
    assert (two.create, two.wake_at) == (0, NOW + timedelta(seconds=20))
    assert after.create == 1


def test_more_failures_than_the_limit_fail_the_job() -> None:
    decision = job_actions(job(STARTED, backoffLimit=0), [pod("Failed")], NOW)

    assert ends(decision.status) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert decision.create == 0


def test_a_pod_that_somebody_deletes_has_failed_before_it_has_ended() -> None:
    """Otherwise its replacement could complete a Job that allows no retries, before it has ended itself."""
    decision = job_actions(job(STARTED, backoffLimit=0), [pod("Running", leaving=True)], NOW)

    assert ends(decision.status) == {"FailureTarget": "BackoffLimitExceeded"}
    assert decision.create == 0
    assert decision.status is not None
    assert (decision.status["failed"], decision.status["terminating"]) == (1, 1)
    ended = job_actions(job(decision.status, backoffLimit=0), [pod("Failed", leaving=True)], NOW)
    assert ended.status is not None
    assert (ends(ended.status)["Failed"], ended.status["failed"]) == ("BackoffLimitExceeded", 1)


def test_a_deleted_pod_is_replaced_after_a_pause_while_it_ends() -> None:
    leaving = pod("Running", leaving=True)
    assert job_actions(job(STARTED), [leaving], NOW).create == 0
    assert job_actions(job(STARTED), [leaving], NOW + timedelta(seconds=10)).create == 1
    only_ended = job(STARTED, podReplacementPolicy="Failed", backoffLimit=0)
    decision = job_actions(only_ended, [leaving], NOW + timedelta(seconds=10))
    assert (decision.create, ends(decision.status)) == (0, {})


def test_pods_that_the_controller_itself_deletes_have_not_failed() -> None:
    fewer = job_actions(job(STARTED, backoffLimit=0), [pod("Running"), pod("Running", leaving=True)], NOW)
    suspended = job_actions(job(STARTED, backoffLimit=0, suspend=True), [pod("Running", leaving=True)], NOW)
    condition = {"type": "Suspended", "status": "False", "lastTransitionTime": NOW.isoformat()}
    resumed = job({**STARTED, "conditions": [condition]}, backoffLimit=0)
    found = [
        decision.status or {}
        for decision in (fewer, suspended, job_actions(resumed, [pod("Running", leaving=True)], NOW))
    ]

    assert [status.get("failed", 0) for status in found] == [0, 0, 0]
    last = job({**STARTED, "succeeded": 2}, parallelism=3, completions=3, backoffLimit=0)
    assert ends(job_actions(last, [pod("Running"), pod("Running", leaving=True)], NOW).status) == {}


@pytest.mark.parametrize(("limit", "restarts", "fails"), [(0, 1, True), (0, 0, False), (2, 1, False), (2, 2, True)])
def test_restarts_in_place_count_against_the_limit(limit: int, restarts: int, fails: bool) -> None:
    running = job(STARTED, restart_policy="OnFailure", backoffLimit=limit)

    decision = job_actions(running, [pod("Running", restarts=restarts)], NOW)

    assert ("FailureTarget" in ends(decision.status)) is fails
    assert bool(decision.delete) is fails


def test_a_deadline_ends_the_job_whatever_runs() -> None:
    running, survivor = job(STARTED, activeDeadlineSeconds=60), pod("Running")

    before = job_actions(running, [survivor], NOW + timedelta(seconds=59))
    after = job_actions(running, [survivor], NOW + timedelta(seconds=60))

    assert before.wake_at == NOW + timedelta(seconds=60)
    assert (after.delete, ends(after.status)) == ([survivor], {"FailureTarget": "DeadlineExceeded"})


def test_a_decided_failure_stands_although_a_pod_succeeds_late() -> None:
    target = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "m"}

    decision = job_actions(job({**STARTED, "conditions": [target]}), [pod("Succeeded")], NOW)

    assert ends(decision.status)["Failed"] == "DeadlineExceeded"


def test_suspension_deletes_pods_and_resumption_starts_the_clock_anew() -> None:
    survivor = pod("Running")
    suspended = job_actions(job(STARTED, suspend=True), [survivor], NOW)

    assert suspended.delete == [survivor]
    assert suspended.status is not None
    assert "startTime" not in suspended.status
    assert ends(suspended.status) == {"Suspended": "JobSuspended"}

    later = NOW + timedelta(hours=1)
    resumed = job_actions(job(suspended.status), [], later)

    assert resumed.create == 1
    assert resumed.status is not None
    assert resumed.status["startTime"] == "2026-01-02T04:04:05Z"
    assert {entry["type"]: entry["status"] for entry in resumed.status["conditions"]} == {"Suspended": "False"}


def test_a_work_queue_job_is_done_with_its_first_success_and_its_last_pod() -> None:
    queue = job(STARTED, parallelism=2, completions=None)

    still = job_actions(queue, [pod("Succeeded"), pod("Running")], NOW)

    assert (still.create, list(still.delete)) == (0, [])
    assert "Complete" in ends(job_actions(queue, [pod("Succeeded"), pod("Succeeded")], NOW).status)


def test_an_ended_job_is_left_alone_until_its_time_to_live_is_over() -> None:
    complete = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    kept = job({"conditions": [complete]})
    expiring = job({"conditions": [complete]}, ttlSecondsAfterFinished=30)

    assert job_actions(kept, [pod("Failed")], NOW + timedelta(days=1)).wake_at is None
    assert job_actions(expiring, [], NOW).wake_at == NOW + timedelta(seconds=30)
    assert job_actions(expiring, [], NOW + timedelta(seconds=30)).remove_job


def test_counters_never_go_down_when_a_finished_pod_is_deleted() -> None:
    decision = job_actions(job({**STARTED, "succeeded": 2}, completions=3), [], NOW)

    assert decision.status is not None
    assert (decision.create, decision.status["succeeded"]) == (1, 2)


def test_what_is_not_supported_fails_the_job_and_names_the_field() -> None:
    decision = job_actions(job(completionMode="Indexed"), [], NOW)

    assert ends(decision.status)["Failed"] == "UnsupportedJob"
    assert decision.status is not None
    assert "completionMode" in decision.status["conditions"][0]["message"]


def test_nothing_to_do_writes_nothing() -> None:
    running = [pod("Running")]
    status = job_actions(job(STARTED), running, NOW).status

    assert job_actions(job(status), running, NOW + timedelta(minutes=1)).status is None
