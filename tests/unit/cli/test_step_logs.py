"""Which log belongs to which attempt of a step."""

from __future__ import annotations

from typing import Any

from cli.pod_logs import numbered, previous_of
from cli.step_logs import LogWish
from core.api.objects import Object


def pod(name: str, step: str, *, restarts: int = 0) -> Object:
    statuses = [{"restartCount": restarts, "state": {"running": {}}}]
    return {
        "metadata": {"name": name, "labels": {"bubustack.io/step": step}},
        "status": {"containerStatuses": statuses},
    }


def step_run(step: str, **status: Any) -> Object:
    return {"spec": {"stepId": step}, "status": status}


def told(pods: list[Object], *step_runs: Object) -> list[tuple[str, int]]:
    return [(log.name, log.attempt) for log in numbered(pods, step_runs)]


def test_attempts_are_counted_in_the_order_of_their_pods() -> None:
    pods = [pod("a-1", "a"), pod("b-1", "b"), pod("a-2", "a")]

    assert told(pods, step_run("b")) == [("a-1", 1), ("b-1", 1), ("a-2", 2)]


def test_attempts_whose_pods_are_gone_still_count() -> None:
    assert told([pod("a-3", "a")], step_run("a", retries=2)) == [("a-3", 3)]


def test_a_retry_that_is_waited_for_has_not_begun() -> None:
    waiting = step_run("a", retries=1, nextRetryAt="2026-01-01T00:00:00Z")

    assert told([pod("a-1", "a")], waiting) == [("a-1", 1)]


def test_the_previous_attempt_is_an_earlier_pod_or_an_earlier_run_of_the_container() -> None:
    logs = numbered([pod("a-1", "a"), pod("a-2", "a"), pod("b-1", "b", restarts=1), pod("c-1", "c")], [])

    assert [(log.name, log.of_container_before) for log in previous_of(logs)] == [("a-1", False), ("b-1", True)]


def test_branches_of_one_name_are_told_apart_by_their_step_runs() -> None:
    pods, step_runs = [], []
    for fan in ("fan", "fun"):
        made = pod(f"{fan}-x", "a")
        made["metadata"]["labels"]["bubustack.io/steprun"] = f"run-{fan}-a"
        pods.append(made)
        annotations = {"runs.bubustack.io/step-path": f"{fan}/a"}
        step_runs.append({**step_run("a"), "metadata": {"name": f"run-{fan}-a", "annotations": annotations}})

    logs = numbered(pods, step_runs)

    assert [(log.name, log.step, log.attempt) for log in logs] == [("fan-x", "fan/a", 1), ("fun-x", "fun/a", 1)]
    assert [log.name for log in logs if LogWish(steps=("fun/a",)).takes(log)] == ["fun-x"]
