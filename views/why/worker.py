"""What a step waits for that a warm worker executes, from its StepRun and the Pods and StepRuns of its pool. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.api import keys
from core.api.conditions import is_true
from core.api.objects import Object, has_ended, is_being_deleted
from core.api.phases import Phase
from core.engine.ports import WORKER
from core.engine.step import record
from core.engine.step.assignment import Assignment, assignment_of
from core.engine.step.worker_observation import exit_of
from views.pod_wait import pod_wait


@dataclass(frozen=True, slots=True)
class PoolStanding:
    """One pool at one moment."""

    name: str
    ready: int
    """Workers that are ready."""
    at_work: int
    """Those of them that execute a step."""
    waiting: tuple[str, ...]
    """Names of the StepRuns without a worker, oldest first."""
    obstacle: str
    """Why its Pods do not run, in the words of Kubernetes; empty: not known."""


def pool_of(step_run: Object) -> str:
    """The pool that a StepRun waits for or is executed by; empty: none."""
    return str((step_run["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL) or "")


def is_warm(step_run: Object) -> bool:
    return record.executor_of(step_run) == WORKER


def current_assignment(step_run: Object) -> Assignment | None:
    """The assignment of the current attempt; None: it waits for a worker."""
    found = assignment_of(step_run)
    is_current = found is not None and found.attempt == record.retries_of(step_run.get("status") or {})
    return found if is_current else None


def pool_standing(name: str, pods: Sequence[Object], step_runs: Iterable[Object]) -> PoolStanding:
    """
    Args:
        step_runs: all of the pool, ended ones too.
    """
    unfinished = [each for each in step_runs if not has_ended(each)]
    held = {found.worker for each in unfinished if (found := assignment_of(each)) and exit_of(each, found) is None}
    ready = [str(pod["metadata"]["name"]) for pod in pods if _is_ready(pod)]
    waiting = sorted(
        (each for each in unfinished if current_assignment(each) is None),
        key=lambda each: (each["metadata"].get("creationTimestamp") or "", each["metadata"]["name"]),
    )
    waits = (wait for pod in pods if (wait := pod_wait(pod)) is not None)
    return PoolStanding(
        name,
        len(ready),
        sum(worker in held for worker in ready),
        tuple(str(each["metadata"]["name"]) for each in waiting),
        next((wait.text for wait in waits), ""),
    )


def why_waiting(step_run: Object, standing: PoolStanding | None) -> str:
    """A sentence whose subject is the step."""
    name = pool_of(step_run)
    if standing is None:
        return f"waits for a worker of pool {name}" if name else "waits for a worker"
    if not standing.ready:
        why = f": {standing.obstacle}" if standing.obstacle else ""
        return f"waits for a worker of pool {name}: none is ready{why}"
    own = str(step_run["metadata"]["name"])
    before = standing.waiting.index(own) if own in standing.waiting else len(standing.waiting)
    steps = f"{before} {'step' if before == 1 else 'steps'} before it"
    return f"waits for a worker of pool {name}: {standing.at_work} of {standing.ready} workers at work, {steps}"


def how_it_runs(step_run: Object, assignment: Assignment) -> tuple[bool, str]:
    """Whether the function runs, as far as the StepRun says, and the sentence."""
    status = step_run.get("status") or {}
    if exit_of(step_run, assignment) is not None:
        return True, f"has ended in worker {assignment.worker}; the operator is about to record it"
    if status.get("phase") == Phase.RUNNING or status.get("podName") == assignment.worker:
        return True, f"runs in worker {assignment.worker}"
    return False, f"is assigned to worker {assignment.worker}, which is about to start it"


def look_at(namespace: str, standing: PoolStanding | None) -> tuple[str, ...]:
    """Commands that show why no worker is ready."""
    if standing is None or standing.ready:
        return ()
    selector = f"{keys.LABEL_WORKER_POOL}={standing.name}"
    return (shlex.join(["kubectl", "describe", "pods", "--namespace", namespace, "--selector", selector]),)


def _is_ready(pod: Object) -> bool:
    return is_true((pod.get("status") or {}).get("conditions") or (), "Ready") and not is_being_deleted(pod)
