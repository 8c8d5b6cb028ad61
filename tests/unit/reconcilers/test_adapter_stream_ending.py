"""How a realtime step ends. (reconcilers/adapters/stream_ending.py, stream_look.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.api import keys
from core.api.objects import Object
from reconcilers.adapters.stream_ending import EndStep, next_end_step
from reconcilers.adapters.stream_look import StreamLook

FINAL: Object = {
    "phase": "Failed",
    "retries": 0,
    "conditions": [
        {"type": "Ready", "status": "False"},
        {"type": "Progressing", "status": "False"},
        {"type": "Degraded", "status": "True"},
    ],
}
GONE: Object = {"deletionTimestamp": "2026-01-02T03:04:05Z"}
EXITED: Object = {"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 0}}}


def look(
    *,
    status: Object | None = None,
    asked: bool = False,
    marks: Object | None = None,
    drained: bool = False,
    returning: str = "",
    source: bool = False,
    generation: int = 1,
    workload: Object | str | None = "",
    attempt: int = 0,
    pods: tuple[Object, ...] = (),
) -> StreamLook:
    annotations = {keys.ANNOTATION_CANCEL_REQUESTED: "true"} if asked else {}
    step_run = {"metadata": {"name": "one", "uid": "u", "annotations": annotations}, "status": status or {"retries": 0}}
    of_binding = {keys.ANNOTATION_CONNECTOR_GENERATION: str(generation), **(marks or {})}
    of_binding |= {} if source else {keys.ANNOTATION_UPSTREAM_STEPS: "listen"}
    binding = {
        "metadata": {"annotations": of_binding},
        "status": {"stream": {"drained": drained, "returning": returning}},
    }
    standing = {"metadata": {"annotations": {keys.ANNOTATION_ATTEMPT: str(attempt)}}}
    return StreamLook(step_run, binding, standing if workload == "" else workload, pods)  # type: ignore[arg-type]


def pod(container: Object | None = None, *, phase: str = "Running", generation: int = 1, **metadata: Any) -> Object:
    annotations = {keys.ANNOTATION_STEP_RUN_UID: "u", keys.ANNOTATION_CONNECTOR_GENERATION: str(generation)}
    statuses = [{"name": "engram", **(container or {})}]
    meta = {"name": "p", "annotations": annotations, **metadata}
    return {"metadata": meta, "status": {"phase": phase, "containerStatuses": statuses}}


ENDING = {keys.ANNOTATION_STREAM_ENDING: "drained"}
ASKED = "2026-01-02T03:04:05Z"
ALLOWED = {keys.ANNOTATION_STREAM_MAY_RETURN: ASKED}
FINISHED = {keys.ANNOTATION_STREAM_FINISHED: "true"}
JOBS = {keys.ANNOTATION_STREAM_JOBS: "true"}
"""Of a step that has no workload: each packet starts a Job."""


@pytest.mark.parametrize(
    ("seen", "due"),
    [
        pytest.param(look(), EndStep.NOTHING, id="it runs"),
        pytest.param(look(workload=None), EndStep.NOTHING, id="not started"),
        pytest.param(look(pods=(pod(EXITED),)), EndStep.MARK_FINISHED, id="exit 0"),
        pytest.param(look(pods=(pod(EXITED, **GONE),)), EndStep.NOTHING, id="exit 0 of a deleted Pod"),
        pytest.param(look(pods=(pod(EXITED, phase="Failed"),)), EndStep.NOTHING, id="exit 0 of an evicted Pod"),
        pytest.param(look(pods=(pod(EXITED, generation=2),)), EndStep.NOTHING, id="exit 0 of another generation"),
        pytest.param(look(marks=FINISHED), EndStep.REMOVE_WORKLOAD, id="finished"),
        pytest.param(look(marks=FINISHED, workload=None), EndStep.NOTHING, id="finished and removed"),
        pytest.param(look(drained=True), EndStep.MARK_DRAINED, id="drained"),
        pytest.param(look(drained=True, generation=2), EndStep.NOTHING, id="drained, but a retry is under way"),
        pytest.param(look(drained=True, attempt=1), EndStep.NOTHING, id="drained, with a workload of another attempt"),
        pytest.param(look(returning=ASKED), EndStep.LET_RETURN, id="a client asks to return"),
        pytest.param(look(returning=ASKED, marks=ALLOWED), EndStep.NOTHING, id="it may return"),
        pytest.param(look(returning="a later one", marks=ALLOWED), EndStep.LET_RETURN, id="it asks once more"),
        pytest.param(look(returning=ASKED, pods=(pod(EXITED),)), EndStep.MARK_FINISHED, id="it returns after exit 0"),
        pytest.param(
            look(returning=ASKED, asked=True, source=True), EndStep.MARK_CANCELED, id="canceled as it returns"
        ),
        pytest.param(look(returning=ASKED, attempt=1), EndStep.NOTHING, id="it returns, and a retry is under way"),
        pytest.param(look(marks=ENDING), EndStep.REMOVE_WORKLOAD, id="ending"),
        pytest.param(look(marks=ENDING, workload=None, pods=(pod(),)), EndStep.NOTHING, id="ending, Pods are alive"),
        pytest.param(look(marks=ENDING, workload=None), EndStep.MARK_FINISHED, id="ended"),
        pytest.param(look(asked=True), EndStep.NOTHING, id="canceled"),
        pytest.param(look(asked=True, source=True), EndStep.MARK_CANCELED, id="canceled source"),
        pytest.param(look(asked=True, drained=True), EndStep.MARK_CANCELED, id="canceled and drained"),
        pytest.param(look(workload=None, marks=JOBS), EndStep.NOTHING, id="Jobs"),
        pytest.param(look(workload=None, marks=JOBS, drained=True), EndStep.MARK_DRAINED, id="Jobs, drained"),
        pytest.param(look(workload=None, marks=JOBS | ENDING), EndStep.MARK_FINISHED, id="Jobs, ending"),
        pytest.param(look(workload=None, marks=JOBS | ENDING | FINISHED), EndStep.NOTHING, id="Jobs, finished"),
        pytest.param(look(workload=None, marks=JOBS, asked=True), EndStep.NOTHING, id="Jobs, canceled"),
        pytest.param(
            look(workload=None, marks=JOBS, asked=True, drained=True),
            EndStep.MARK_CANCELED,
            id="Jobs, canceled, drained",
        ),
        pytest.param(look(workload=None, marks=JOBS, drained=True, generation=2), EndStep.NOTHING, id="Jobs, a retry"),
        pytest.param(look(workload=None, marks=JOBS, status=FINAL), EndStep.MARK_FINISHED, id="Jobs, recorded"),
        pytest.param(look(status=FINAL), EndStep.REMOVE_WORKLOAD, id="recorded"),
        pytest.param(look(status=FINAL, workload={"metadata": GONE}), EndStep.NOTHING, id="recorded, being removed"),
        pytest.param(look(status=FINAL, workload=None, pods=(pod(),)), EndStep.NOTHING, id="recorded, Pods are alive"),
        pytest.param(look(status=FINAL, workload=None), EndStep.MARK_FINISHED, id="recorded and removed"),
        pytest.param(look(status=FINAL, workload=None, marks=FINISHED), EndStep.NOTHING, id="all is done"),
    ],
)
def test_the_next_step_follows_from_what_is_stored(seen: StreamLook, due: EndStep) -> None:
    assert next_end_step(seen) is due


def test_without_a_binding_only_the_recorded_end_counts() -> None:
    running = look()
    assert next_end_step(StreamLook(running.step_run, None, running.workload)) is EndStep.NOTHING
    ended = look(status=FINAL)
    assert next_end_step(StreamLook(ended.step_run, None, ended.workload)) is EndStep.REMOVE_WORKLOAD
    assert next_end_step(StreamLook(ended.step_run, None, None)) is EndStep.NOTHING
