"""One step of a run, found with everything that belongs to it. (cli/step_details.py)"""

from __future__ import annotations

from typing import Any

import pytest

from cli.problem import CommandError
from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.step_details import find_step
from core.api.objects import Object
from core.api.resource import JOB, POD, STEP_RUN, STORY, Resource
from views.errors import ViewError


async def make(session: Session, resource: Resource, obj: Object) -> Object:
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    return await session.client.create(resource, {**kind, **obj}, namespace="default")


def controlled_by(owner: Object) -> Object:
    kind = {name: owner[name] for name in ("apiVersion", "kind")}
    return {**kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}


def a_pod(name: str, step_run: str) -> dict[str, Any]:
    labels = {"bubustack.io/storyrun": "report-1", "bubustack.io/step": "load", "bubustack.io/steprun": step_run}
    spec = {"containers": [{"name": "engram", "image": "http:1"}], "restartPolicy": "Never"}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


async def a_run_with_a_step(session: Session) -> None:
    steps = [{"name": "load", "ref": {"name": "http"}}, {"name": "rest", "type": "sleep", "with": {"duration": "1h"}}]
    await make(session, STORY, {"metadata": {"name": "report"}, "spec": {"steps": steps}})
    run = await start_run(session, run_manifest("report", "default", {}, name="report-1"))
    metadata: Object = {
        "name": "report-1-load",
        "labels": {"bubustack.io/storyrun": "report-1"},
        "ownerReferences": [controlled_by(run)],
    }
    spec = {"stepId": "load", "storyRunRef": {"name": "report-1"}, "engramRef": {"name": "http"}, "input": {"a": 1}}
    step_run = await make(session, STEP_RUN, {"metadata": metadata, "spec": spec})
    env = [{"name": "BUBU_TRIGGER_DATA", "value": '{"a": 2}'}]
    containers = [{"name": "engram", "image": "http:1", "env": env}]
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}
    owned = {"name": "report-1-load", "ownerReferences": [controlled_by(step_run)]}
    await make(session, JOB, {"metadata": owned, "spec": job})
    await make(session, POD, a_pod("own", "report-1-load"))
    await make(session, POD, a_pod("of-another", "report-1-other"))


async def test_a_step_is_found_with_its_job_and_its_pod(session: Session) -> None:
    await a_run_with_a_step(session)

    found = await find_step(session, "report-1", "load")

    assert found.detail.inputs == {"a": 2}
    assert found.detail.pod is not None
    assert (found.detail.job, found.detail.pod.name) == ("report-1-load", "own")
    assert found.stored("x")["spec"]["stepId"] == "load"


async def test_a_step_without_a_step_run_has_nothing_to_print_as_json(session: Session) -> None:
    await a_run_with_a_step(session)

    with pytest.raises(CommandError, match="step 'rest' has no StepRun"):
        (await find_step(session, "report-1", "rest")).stored("x")
    with pytest.raises(ViewError, match="no step 'lead'"):
        await find_step(session, "report-1", "lead")
