"""Work for a control plane, as a measurement starts it: bare Jobs, one-step runs, and the requests of a run without an
operator.

One informer of the kind that ends tells when work has ended, so that watching costs the same for each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from bench.plane.stand import PlaneStand
from bench.stand import NAMESPACE, install_chain, start_run
from core.api.objects import Object
from core.api.resource import EVENT, JOB, STEP_RUN, STORY_RUN, Resource
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer

_OF_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


@dataclass
class Ends:
    """Which objects have ended, by name."""

    succeeded: set[str] = field(default_factory=set)
    _changed: trio.Event = field(default_factory=trio.Event)

    async def wait_for(self, names: set[str]) -> None:
        while not names <= self.succeeded:
            await self._changed.wait()

    async def wait_for_one(self, name: str) -> None:
        await self.wait_for({name})

    def note(self, change: Change) -> None:
        if change.new is not None and _has_succeeded(change.new):
            self.succeeded.add(change.new["metadata"]["name"])
            self._changed.set()
            self._changed = trio.Event()


@dataclass(frozen=True, slots=True)
class Work:
    """``start(name)`` requests one piece, whose object of kind ``ends_as`` has that name."""

    key: str
    name: str
    ends_as: Resource
    start: Callable[[str], Any]


async def bare_jobs(stand: PlaneStand) -> Work:
    async def start(name: str) -> None:
        await stand.client.create(JOB, bare_job(name, "bench/noop:1"), namespace=NAMESPACE)

    return Work("jobs", "bare Jobs", JOB, start)


def bare_job(name: str, image: str) -> Object:
    """A Job that no operator made, of one container."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}
    return _named(JOB, name, {"spec": {"template": template, "backoffLimit": 0}})


async def one_step_runs(stand: PlaneStand) -> Work:
    story = await install_chain(stand.client, length=1)

    async def start(name: str) -> None:
        await start_run(stand.client, story, name)

    return Work("one-step", "one-step runs", STORY_RUN, start)


@asynccontextmanager
async def requests_alone(stand: PlaneStand, run_name: str) -> AsyncIterator[Work]:
    """What the run ``run_name`` has left, written again by a client that decides nothing; the operator is stopped.

    It sends what a run must have: StoryRun, StepRun, Job, the end of both, and two Events. So nothing that writes
    these objects on this machine can be faster.
    """
    run = await stand.client.get(STORY_RUN, run_name, NAMESPACE)
    (step_run,) = [one for one in (await stand.client.list(STEP_RUN, NAMESPACE)).items if _is_of(one, run)]
    job = await stand.client.get(JOB, step_run["metadata"]["name"], NAMESPACE)
    events = [one for one in (await stand.client.list(EVENT, NAMESPACE)).items if _is_about(one, run)]
    await stand.operator.stop()
    async with watched(stand.client, JOB) as jobs:

        async def start(name: str) -> None:
            client = stand.client
            made_run = await client.create(STORY_RUN, _copy(STORY_RUN, run, name), namespace=NAMESPACE)
            made_step = await client.create(STEP_RUN, _copy(STEP_RUN, step_run, name, made_run), namespace=NAMESPACE)
            await client.create(JOB, _copy(JOB, job, name, made_step), namespace=NAMESPACE)
            for event in events[:1]:
                await client.create(EVENT, _copy(EVENT, event, f"{name}.start"), namespace=NAMESPACE)
            await jobs.wait_for_one(name)
            for kind, made, ended in ((STEP_RUN, made_step, step_run), (STORY_RUN, made_run, run)):
                body = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "status": ended["status"]}
                await client.patch(kind, name, body, namespace=NAMESPACE, subresource="status")
            for event in events[1:2]:
                await client.create(EVENT, _copy(EVENT, event, f"{name}.end"), namespace=NAMESPACE)

        yield Work("requests", "the requests of one-step runs alone, no operator", STORY_RUN, start)
    stand.operator.start()
    await stand.wait_until_it_works()


@asynccontextmanager
async def watched(client: KubeClient, kind: Resource) -> AsyncIterator[Ends]:
    ends = Ends()
    informer = Informer(client, kind, namespace=NAMESPACE)
    informer.add_handler(ends.note)
    async with trio.open_nursery() as nursery:
        await nursery.start(informer.run)
        yield ends
        nursery.cancel_scope.cancel()


def _has_succeeded(obj: Object) -> bool:
    status = obj.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    return any(one["type"] == "Complete" and one["status"] == "True" for one in status.get("conditions") or ())


def _is_of(step_run: Object, run: Object) -> bool:
    return any(one["uid"] == run["metadata"]["uid"] for one in step_run["metadata"].get("ownerReferences") or ())


def _is_about(event: Object, run: Object) -> bool:
    about = event.get("regarding") or event.get("involvedObject") or {}
    return bool(about.get("uid") == run["metadata"]["uid"])


def _copy(kind: Resource, obj: Object, name: str, owner: Object | None = None) -> Object:
    """``obj`` as a client would create it under another name, for another owner."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_THE_SERVER}
    metadata["name"] = name
    if owner is not None:
        (reference,) = metadata["ownerReferences"]
        named = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        metadata["ownerReferences"] = [{**reference, **named}]
    content = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    if kind is JOB:
        content["spec"] = {key: value for key, value in content["spec"].items() if key != "selector"}
        template = content["spec"]["template"]
        labels = template["metadata"].get("labels") or {}
        kept = {key: value for key, value in labels.items() if "controller-uid" not in key and "job-name" not in key}
        content["spec"]["template"] = {**template, "metadata": {**template["metadata"], "labels": kept}}
        labels = metadata.get("labels") or {}
        metadata["labels"] = {key: value for key, value in labels.items() if "controller-uid" not in key}
    return {**_named(kind, name, {}), **content, "metadata": metadata}


def _named(kind: Resource, name: str, content: Object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
