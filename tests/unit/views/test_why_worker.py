"""What a step waits for that a warm worker executes: its place in the line, and why no worker is ready."""

from __future__ import annotations

from typing import Any

from core.api import keys
from core.api.objects import Object
from core.engine.step.assignment import Assignment, assignment_patch
from views.why.worker import current_assignment, how_it_runs, look_at, pool_of, pool_standing, why_waiting

POOL = "classify-0123456789"


def step_run(name: str, *, worker: str = "", attempt: int = 0, created: int = 0, **status: Any) -> Object:
    made: Object = assignment_patch(Assignment(attempt, worker, f"uid-{worker}")) if worker else {"labels": {}}
    made["labels"][keys.LABEL_WORKER_POOL] = POOL
    stamp = f"2025-01-02T03:04:{created:02}Z"
    return {
        "kind": "StepRun",
        "metadata": {"namespace": "team", "name": name, "creationTimestamp": stamp, **made},
        "spec": {"executor": "worker"},
        "status": status,
    }


def worker(name: str, *, ready: bool = True, **status: Any) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"namespace": "team", "name": name}, "status": {"conditions": conditions, **status}}


def test_a_step_is_told_its_place_in_the_line() -> None:
    at_work = [step_run("a", worker="w1"), step_run("b", worker="w2", phase="Running")]
    line = [step_run("d", created=2), step_run("c", created=1), step_run("e", created=2)]
    gone = [step_run("x", created=0, phase="Canceled")]
    standing = pool_standing(POOL, [worker("w1"), worker("w2"), worker("w3")], [*at_work, *line, *gone])
    assert standing.waiting == ("c", "d", "e")
    before = f"waits for a worker of pool {POOL}: 2 of 3 workers at work"
    assert why_waiting(line[1], standing) == f"{before}, 0 steps before it"
    assert why_waiting(line[0], standing) == f"{before}, 1 step before it"
    assert why_waiting(line[2], standing) == f"{before}, 2 steps before it"
    assert look_at("team", standing) == ()


def test_a_worker_that_has_let_go_is_not_at_work() -> None:
    released = step_run("a", worker="w1", workerExit={"attempt": 0, "exitCode": 1})
    assert pool_standing(POOL, [worker("w1")], [released]).at_work == 0


def test_without_a_ready_worker_kubernetes_says_why() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    pod = worker("w1", ready=False, phase="Pending", containerStatuses=[{"name": "engram", "state": waiting}])
    standing = pool_standing(POOL, [pod], [step_run("a")])
    assert why_waiting(step_run("a"), standing) == (
        f"waits for a worker of pool {POOL}: none is ready: ImagePullBackOff: not found"
    )
    [command] = look_at("team", standing)
    assert POOL in command
    assert why_waiting(step_run("a"), pool_standing(POOL, [], [])).endswith("none is ready")


def test_what_is_not_known_is_not_said() -> None:
    unlabelled = step_run("a")
    unlabelled["metadata"]["labels"] = {}
    assert why_waiting(unlabelled, None) == "waits for a worker"
    assert pool_of(unlabelled) == ""
    assert why_waiting(step_run("a"), None) == f"waits for a worker of pool {POOL}"


def test_the_assignment_of_an_earlier_attempt_is_not_the_current_one() -> None:
    assert current_assignment(step_run("a", worker="w1", retries=1)) is None
    found = current_assignment(step_run("a", worker="w1", attempt=1, retries=1))
    assert found is not None


def test_an_assigned_step_is_about_to_start_then_runs_then_has_ended() -> None:
    given = Assignment(0, "w1", "uid-w1")
    assert how_it_runs(step_run("a", worker="w1"), given) == (
        False,
        "is assigned to worker w1, which is about to start it",
    )
    assert how_it_runs(step_run("a", worker="w1", podName="w1"), given) == (True, "runs in worker w1")
    ended = step_run("a", worker="w1", workerExit={"attempt": 0, "exitCode": 0})
    assert how_it_runs(ended, given)[1] == "has ended in worker w1; the operator is about to record it"
