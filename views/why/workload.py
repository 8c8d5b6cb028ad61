"""What an active engram step waits for, from its StepRun, its Job and its Pod. Pure."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import datetime
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import StepReason
from core.engine.step.state import steps_from
from views.pod_wait import PodObstacle, PodWait, container_state, pod_wait, scheduled_at
from views.text import one_line
from views.why.cause import Cause, CauseKind, CommandIn, Facts
from views.why.worker import current_assignment, how_it_runs, is_warm, look_at, pool_of, why_waiting

_KINDS: Final = {
    PodObstacle.IMAGE: CauseKind.IMAGE,
    PodObstacle.NODE: CauseKind.NODE,
    PodObstacle.CONTAINER: CauseKind.CONTAINER,
}
_OBSTACLES: Final = {
    PodObstacle.IMAGE: ("cannot pull its image", "the publisher of the image, or the author of the EngramTemplate"),
    PodObstacle.NODE: (
        "does not fit on any node",
        "a cluster administrator, or the author of the Engram: request fewer resources",
    ),
    PodObstacle.CONTAINER: (
        "cannot create its container",
        "the owner of the Engram and of the objects that it refers to",
    ),
}
_RECORDED: Final[dict[str, CauseKind]] = {
    StepReason.IMAGE_NOT_PULLED: CauseKind.IMAGE,
    "InvalidImageName": CauseKind.IMAGE,
    StepReason.UNSCHEDULABLE: CauseKind.NODE,
    "SchedulingGated": CauseKind.NODE,
    StepReason.NO_POD: CauseKind.JOB,
}
"""The kind of the cause that keeps the container from starting, by the reason that the run has recorded."""
_OUT_OF_TIME: Final = "the attempt times out"


def cause_of(facts: Facts, step: str, command: CommandIn) -> Cause:
    """The cause of a step that has begun and not ended."""
    cause, step_run = _cause_of(facts, step, command), facts.step_runs.get(step)
    job = None if step_run is None else facts.jobs.get(step_run["metadata"]["name"])
    not_warm = ((job or {}).get("metadata", {}).get("annotations") or {}).get(keys.ANNOTATION_NOT_WARM)
    return replace(cause, text=f"{cause.text}; it is a Job, not in a warm worker: {not_warm}") if not_warm else cause


def _cause_of(facts: Facts, step: str, command: CommandIn) -> Cause:
    step_run = facts.step_runs.get(step)
    state = facts.state(step)
    since = parse_instant_or_none(state.get("startedAt"))
    message = one_line(state.get("message") or "")
    if step_run is None:
        hidden = "StepRuns" in facts.unseen
        text = message or (
            "is running; you cannot see its StepRun"
            if hidden
            else "waits for its StepRun, which the operator is about to create"
        )
        return Cause(CauseKind.STARTING, facts.namespace, facts.name, step, text, since)
    if retry := _retry(facts, step, step_run, command):
        return retry
    if is_warm(step_run):
        return _of_worker(facts, step, step_run, since, command)
    name = step_run["metadata"]["name"]
    job, pod = facts.jobs.get(name), facts.pods.get(name)
    until = _deadline(job)
    then = _OUT_OF_TIME if until is not None else ""
    if pod is not None:
        return _of_pod(facts, step, step_run, pod, (until, then), command)
    if job is not None and "Pods" not in facts.unseen:
        text = f"has a Job but no Pod: {facts.warnings[name]}" if name in facts.warnings else "waits for its Pod"
        made_at = parse_instant_or_none(job["metadata"].get("creationTimestamp"))
        who = "a cluster administrator: a quota or a policy may forbid the Pod" if name in facts.warnings else ""
        commands = (_kubectl("describe", "job", name, facts.namespace),)
        return Cause(CauseKind.JOB, facts.namespace, facts.name, step, text, made_at, until, then, who, commands)
    recorded = steps_from({step: state}).get(step)
    if recorded is not None and recorded.reason_since is not None:
        kind = _RECORDED.get(recorded.reason, CauseKind.CONTAINER)
        return Cause(kind, facts.namespace, facts.name, step, message, since, until, then)
    condition = find_condition((step_run.get("status") or {}).get("conditions") or (), "Progressing") or {}
    text = message or one_line(condition.get("message") or "") or "is running"
    return Cause(
        CauseKind.RUNNING if job is not None or condition else CauseKind.STARTING,
        *(facts.namespace, facts.name, step, f"is running: {text}" if text != "is running" else text, since),
        until=until,
        then=then,
    )


def _of_worker(facts: Facts, step: str, step_run: Object, since: datetime | None, command: CommandIn) -> Cause:
    place, assignment = (facts.namespace, facts.name, step), current_assignment(step_run)
    if assignment is None:
        standing = facts.pools.get(pool_of(step_run))
        who = "" if standing is None or standing.ready else "the owner of the Engram, or a cluster administrator"
        commands = look_at(facts.namespace, standing)
        return Cause(CauseKind.WORKER, *place, why_waiting(step_run, standing), since, who=who, commands=commands)
    is_running, text = how_it_runs(step_run, assignment)
    commands = (command(facts.namespace, "logs", facts.name, step, "--follow"),) if is_running else ()
    kind, until = CauseKind.RUNNING if is_running else CauseKind.STARTING, assignment.deadline_at
    then = _OUT_OF_TIME if until is not None else ""
    return Cause(kind, *place, text, since, until, then, "its container" if is_running else "", commands)


def _retry(facts: Facts, step: str, step_run: Object, command: CommandIn) -> Cause | None:
    """The cause while the step waits for its next attempt."""
    status = step_run.get("status") or {}
    next_at = parse_instant_or_none(status.get("nextRetryAt"))
    if next_at is None:
        return None
    why = one_line(status.get("lastFailureMsg") or "no reason is recorded")
    return Cause(
        CauseKind.RETRY,
        facts.namespace,
        facts.name,
        step,
        f"waits for its next attempt; attempt {_attempt(step_run, 0)} failed: {why}",
        until=next_at,
        then=f"attempt {_attempt(step_run, 1)} starts",
        who="the operator continues by itself; see the failure",
        commands=(command(facts.namespace, "logs", facts.name, step),),
    )


def _of_pod(
    facts: Facts,
    step: str,
    step_run: Object,
    pod: Object,
    deadline: tuple[datetime | None, str],
    command: CommandIn,
) -> Cause:
    until, then = deadline
    place = (facts.namespace, facts.name, step)
    name = str(pod["metadata"]["name"])
    if wait := pod_wait(pod):
        return _obstacle(wait, place, name, deadline)
    state = container_state(pod)
    if running := state.get("running"):
        began_at = parse_instant_or_none(running.get("startedAt"))
        text = f"runs{_which_attempt(step_run)} in Pod {name}"
        commands = (command(facts.namespace, "logs", facts.name, step, "--follow"),)
        return Cause(CauseKind.RUNNING, *place, text, began_at, until, then, "its container", commands)
    if ended := state.get("terminated"):
        ended_at = parse_instant_or_none(ended.get("finishedAt"))
        text = f"has ended with exit code {ended.get('exitCode')}; the operator is about to record it"
        return Cause(CauseKind.OPERATOR, *place, text, ended_at, who="the operator")
    if warning := facts.warnings.get(step_run["metadata"]["name"]):
        silent = PodWait(PodObstacle.CONTAINER, "", warning, scheduled_at(pod))
        return _obstacle(silent, place, name, deadline)
    text = f"waits for the container of Pod {name} to start"
    return Cause(
        CauseKind.STARTING,
        *place,
        text,
        scheduled_at(pod),
        until,
        then,
        "",
        (_kubectl("describe", "pod", name, place[0]),),
    )


def _obstacle(wait: PodWait, place: tuple[str, str, str], pod: str, deadline: tuple[datetime | None, str]) -> Cause:
    text, who = _OBSTACLES[wait.obstacle]
    return Cause(
        _KINDS[wait.obstacle],
        *place,
        f"{text}: {wait.text}",
        wait.since,
        *deadline,
        who,
        (_kubectl("describe", "pod", pod, place[0]),),
    )


def _deadline(job: Object | None) -> datetime | None:
    """The deadline of the attempt."""
    annotations = ((job or {}).get("metadata") or {}).get("annotations") or {}
    return parse_instant_or_none(annotations.get(keys.ANNOTATION_DEADLINE_AT))


def _which_attempt(step_run: Object) -> str:
    retries = (step_run.get("status") or {}).get("retries") or 0
    return f" attempt {_attempt(step_run, 1)}" if retries else ""


def _attempt(step_run: Object, more: int) -> str:
    """``2 of 6``: the number of the attempt is the count of retries plus ``more``."""
    retries = (step_run.get("status") or {}).get("retries") or 0
    allowed = (step_run["spec"].get("retry") or {}).get("maxRetries")
    return f"{retries + more} of {allowed + 1}" if isinstance(allowed, int) else str(retries + more)


def _kubectl(verb: str, kind: str, name: str, namespace: str) -> str:
    return shlex.join(["kubectl", verb, kind, name, "--namespace", namespace])
