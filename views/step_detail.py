"""Everything that is known about one step of a run. Pure: objects in, a record out.

Inputs are those that the container gets: of its Job if that still exists, otherwise those of the StepRun, in which
templates that only the container can evaluate may be left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.gatedata import given_data
from core.api.objects import Object
from core.engine.step.assignment import assignment_of
from core.engine.step.record import attempt_of
from core.workloads.step_workload import ENGRAM_CONTAINER
from views.lost_logs import may_have_logged
from views.pod_wait import container_state, taken_at
from views.run_view import StepView
from views.signals import SignalView, signals_of
from views.text import one_line
from views.trace_view import TraceView, trace_view

_INPUTS: Final = "BUBU_TRIGGER_DATA"


@dataclass(frozen=True, slots=True)
class PodDetail:
    """The Pod of the last attempt."""

    name: str
    node: str
    image: str
    phase: str
    restarts: int


@dataclass(frozen=True, slots=True)
class StepDetail:
    run: str
    step: StepView
    engram: str
    """Empty for a primitive and a script."""
    is_script: bool
    may_have_logs: bool
    """Whether a program of it may have run."""
    inputs: Any
    """None: not known, or there are none."""
    output: Any
    attempts: int
    """How many have started."""
    most_attempts: int | None
    """None: the step does not say."""
    next_attempt_at: datetime | None
    last_failure: str
    """Why the last attempt that failed did so; empty if none has, or the step has succeeded since."""
    job: str
    pod: PodDetail | None
    signals: tuple[SignalView, ...]
    """The last one of each key, the newest first."""
    effects: tuple[tuple[str, str], ...]
    """Key and state of what it has changed outside."""
    logs: str
    """The key of the stored log; empty if none is stored."""
    timings: tuple[tuple[str, datetime], ...]
    """What happened when, in order."""
    trace: TraceView | None
    """That of its StepRun, or without one that of the run; None: the run is not traced."""


def step_detail(
    run: Object, step: StepView, step_run: Object | None, job: Object | None, pods: Sequence[Object]
) -> StepDetail:
    """
    Args:
        step_run: None for a primitive, or if the step has not begun.
        pods: those of the step, oldest first.
    """
    made = step_run or {}
    spec, status = made.get("spec") or {}, made.get("status") or {}
    retries, next_at = int(status.get("retries") or 0), parse_instant_or_none(status.get("nextRetryAt"))
    most = (spec.get("retry") or {}).get("maxRetries")
    pod = pods[-1] if pods else None
    assigned = attempt_of(made) if made else None
    has_begun = bool(status.get("startedAt") or assigned or job is not None)
    logs = status.get("logs")
    return StepDetail(
        run=str(run["metadata"]["name"]),
        step=step,
        engram=str((spec.get("engramRef") or {}).get("name") or ""),
        is_script=bool(spec.get("script")),
        may_have_logs=may_have_logged(step_run),
        inputs=_inputs(job) if job is not None else _assigned_inputs(made) if made else None,
        output=_output(run, step, status),
        attempts=retries + (has_begun and next_at is None),
        most_attempts=most + 1 if isinstance(most, int) else None,
        next_attempt_at=next_at,
        last_failure=one_line(status.get("lastFailureMsg") or ""),
        job=str(job["metadata"]["name"]) if job is not None else "",
        pod=_pod(pod) if pod is not None else None,
        signals=tuple(signals_of(status)),
        effects=tuple((one_line(each.get("key")), one_line(each.get("status") or "")) for each in _effects(status)),
        logs=str(logs.get("$bubuStorageRef") or "") if isinstance(logs, dict) else "",
        timings=tuple(_timings(step, made, job, pod)),
        trace=trace_view(step_run, run),
    )


def _inputs(job: Object) -> Any:
    """What the Job gives the container: a variable, in which Kubernetes turns each ``$$`` into ``$``, or a file."""
    template = (job.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    own: Object = next((each for each in containers if each.get("name") == ENGRAM_CONTAINER), {})
    variable = next((each.get("value") for each in own.get("env") or () if each.get("name") == _INPUTS), None)
    file = ((template.get("metadata") or {}).get("annotations") or {}).get(keys.ANNOTATION_INPUTS)
    text = variable.replace("$$", "$") if isinstance(variable, str) else file
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _assigned_inputs(step_run: Object) -> Any:
    """What a warm worker gets, or what the StepRun has."""
    found = assignment_of(step_run)
    text = found.environment.get(_INPUTS) if found is not None else None
    try:
        return json.loads(text) if text is not None else (step_run.get("spec") or {}).get("input")
    except ValueError:
        return None


def _output(run: Object, step: StepView, status: Object) -> Any:
    if step.kind != "gate":
        return status.get("output")
    decision = ((run.get("status") or {}).get("gates") or {}).get(step.name) or {}
    return given_data(decision) if decision.get("state") == "Approved" else None


def _effects(status: Object) -> Sequence[Object]:
    return [each for each in status.get("effects") or () if isinstance(each, dict)]


def _pod(pod: Object) -> PodDetail:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    containers = spec.get("containers") or ()
    own: Object = next((each for each in containers if each.get("name") == ENGRAM_CONTAINER), {})
    restarts = max((each.get("restartCount") or 0 for each in status.get("containerStatuses") or ()), default=0)
    return PodDetail(
        name=str(pod["metadata"]["name"]),
        node=str(spec.get("nodeName") or ""),
        image=str(own.get("image") or ""),
        phase=str(status.get("phase") or ""),
        restarts=restarts,
    )


def _timings(step: StepView, step_run: Object, job: Object | None, pod: Object | None) -> list[tuple[str, datetime]]:
    """In order of time; what happened in the same second stays in the order of its causes."""
    state = container_state(pod) if pod is not None else {}
    ran = state.get("running") or state.get("terminated") or {}
    found = [
        ("step started", step.started_at),
        ("StepRun created", _made_at(step_run)),
        ("Job of the last attempt created", _made_at(job or {})),
        ("Pod created", _made_at(pod or {})),
        ("node assigned", taken_at(pod) if pod is not None else None),
        ("container started", parse_instant_or_none(ran.get("startedAt"))),
        ("container ended", parse_instant_or_none(ran.get("finishedAt"))),
        ("step ended", step.finished_at),
    ]
    known = [(what, at) for what, at in found if at is not None]
    return sorted(known, key=lambda timing: timing[1].replace(microsecond=0))


def _made_at(obj: Object) -> datetime | None:
    return parse_instant_or_none((obj.get("metadata") or {}).get("creationTimestamp"))
