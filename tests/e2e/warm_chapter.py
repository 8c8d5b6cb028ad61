"""A part of the day of the operator: a pool of warm workers is made, grows, shrinks beside a step at work, and goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.resource import DEPLOYMENT, ENGRAM, POD, SERVICE_ACCOUNT, STEP_RUN
from core.engine.step.assignment import assignment_of
from tests.e2e.operator_rig import FLOWS, ROOT, OperatorRig, eventually, status_of, step

_PROGRAM = ROOT / "tests/e2e/engrams/warm_greeter.py"


async def serve_steps_warm(rig: OperatorRig) -> None:
    warm = {"overrides": {"warm": {"replicas": 1, "maxReplicas": 3, "idleTimeout": "3s"}}}
    await rig.engram("greeter", engram=warm, supportedModes=["job", "worker"])
    variables = (f"PYTHONPATH={ROOT / 'sdk'}", f"EXECUTIONS={rig.directory / 'executions'}")
    rig.add_images({"test/greeter": {"command": ["/usr/bin/env", *variables, sys.executable, str(_PROGRAM)]}})
    files = {name: rig.directory / f"greet-{name}" for name in "abc"}
    steps = ({**step(name, "greeter"), "with": {"file": str(file)}} for name, file in files.items())
    await rig.story("greeting", *steps)
    await rig.run("greeting", "greeting")
    await _shrinks_to_one_worker_at_work(rig, files)
    await rig.ended("greeting", "Succeeded")
    for name in files:
        done = await rig.client.get(STEP_RUN, f"greeting-{name}", FLOWS)
        assert not status_of(done).get("retries"), "no worker at work was taken away"
    await rig.client.delete(ENGRAM, "greeter", FLOWS)

    async def is_gone() -> bool:
        selector = keys.LABEL_WORKER_POOL
        left = [
            each
            for kind in (DEPLOYMENT, SERVICE_ACCOUNT)
            for each in (await rig.client.list(kind, FLOWS, label_selector=selector)).items
        ]
        return not left

    await eventually(is_gone, lambda: "the pool of a deleted Engram is still there", seconds=120)


async def _shrinks_to_one_worker_at_work(rig: OperatorRig, files: Mapping[str, Path]) -> None:
    """Three workers are made for three steps. Then one is enough, and it is not the one that Kubernetes would leave:
    the oldest, or, of Pods of about one age, the one with the greatest UID.
    """
    workers: dict[str, str] = {}

    async def are_at_work() -> bool:
        step_runs = (await rig.client.list(STEP_RUN, FLOWS, label_selector=keys.LABEL_WORKER)).items
        found = {each["spec"]["stepId"]: assignment_of(each) for each in step_runs}
        workers.update({each.worker_uid: name for name, each in found.items() if each is not None and name in files})
        return len(workers) == len(files)

    await eventually(are_at_work, lambda: f"only {workers} are at work", seconds=120)
    pods = (await rig.client.list(POD, FLOWS, label_selector=keys.LABEL_WORKER_POOL)).items
    oldest = min((each for each in pods if each["metadata"]["uid"] in workers), key=_ready_since)
    uid = min(workers.keys() - {oldest["metadata"]["uid"]})
    for worker, name in workers.items():
        if worker != uid:
            files[name].touch()

    async def is_alone() -> bool:
        pods = (await rig.client.list(POD, FLOWS, label_selector=keys.LABEL_WORKER_POOL)).items
        left = {each["metadata"]["uid"] for each in pods if not is_being_deleted(each)}
        assert uid in left, "the worker at work was taken away"
        return left == {uid}

    await eventually(is_alone, lambda: "idle workers are still there", seconds=120)
    [deployment] = (await rig.client.list(DEPLOYMENT, FLOWS, label_selector=keys.LABEL_WORKER_POOL)).items
    assert deployment["spec"]["replicas"] == 1
    files[workers[uid]].touch()


def _ready_since(pod: Object) -> str:
    [ready] = [each for each in pod["status"]["conditions"] if each["type"] == "Ready"]
    return str(ready["lastTransitionTime"])
