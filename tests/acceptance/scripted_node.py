"""Stands for the nodes of clusters: nothing runs, and the ends of Pods are reported as scripts say.

A Pod reports that it runs, waits as long as its script says, and ends, after its container has written what the SDK
writes into its StepRun. Pods are never assigned to a node, so they are gone as soon as they are deleted, unless the
script asks for grace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import trio

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from core.api.resource import POD, STEP_RUN
from core.engine.clock import system_now
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Change, Informer
from fuzz.engine.worker import Act, Script
from tests.acceptance.acceptance_stand import DONE, Scripts

KUBELET: Final = "tests.bubustack.io/kubelet"
"""Finalizer that stands for the grace period of a living Pod."""
_WAITING: Final = 1000


@dataclass
class Place:
    """A namespace: what its containers must do, and what they did."""

    scripts: Scripts = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    alive: int = 0
    at_once: int = 0
    held: dict[str, trio.Event] = field(default_factory=dict)

    def script(self, step: str, attempt: int) -> Script:
        scripts = self.scripts.get(step) or self.scripts.get(step.rpartition("/")[2]) or DONE
        return scripts[min(attempt, len(scripts) - 1)]


@dataclass
class ScriptedNode:
    client: KubeClient
    pods: Informer
    places: defaultdict[str, Place] = field(default_factory=lambda: defaultdict(Place))
    _marked: dict[str, trio.Event] = field(default_factory=dict)
    """By UID of a Pod at work. The event is set when the Pod is being deleted or is gone."""

    async def run(self) -> None:
        send, receive = trio.open_memory_channel[Object](_WAITING)

        def see(change: Change) -> None:
            pod, uid = change.object, change.object["metadata"]["uid"]
            is_going = change.new is None or bool(pod["metadata"].get("deletionTimestamp"))
            if uid in self._marked:
                if is_going:
                    self._marked[uid].set()
            elif not is_going and _is_of_step(pod) and pod["metadata"]["namespace"] in self.places:
                self._marked[uid] = trio.Event()
                send.send_nowait(pod)

        self.pods.add_handler(see)
        async with trio.open_nursery() as nursery:
            async for pod in receive:
                nursery.start_soon(self._play, pod)

    async def _play(self, pod: Object) -> None:
        metadata = pod["metadata"]
        place = self.places[metadata["namespace"]]
        with suppress(NotFoundError):  # it was deleted meanwhile
            name = metadata["labels"][keys.LABEL_JOB_NAME]
            step_run = await self.client.get(STEP_RUN, name, metadata["namespace"])
            annotations = step_run["metadata"].get("annotations") or {}
            step = annotations.get(keys.ANNOTATION_STEP_PATH) or step_run["spec"]["stepId"]
            script = place.script(step, (step_run.get("status") or {}).get("retries") or 0)
            place.ran.append(step)
            place.alive += 1
            place.at_once = max(place.at_once, place.alive)
            try:
                await self._live(pod, step_run, step, script)
            finally:
                place.alive -= 1
                del self._marked[metadata["uid"]]

    async def _live(self, pod: Object, step_run: Object, step: str, script: Script) -> None:
        marked = self._marked[pod["metadata"]["uid"]]
        held = self.places[pod["metadata"]["namespace"]].held.get(step)
        if script.grace_seconds:
            await self._patch(POD, pod, {"metadata": {"finalizers": [KUBELET]}})
        if held is not None or script.act is Act.HANG or script.after_seconds > 0:
            await self._patch(POD, pod, {"status": _running(pod)}, "status")
        if held is not None:
            await _first(marked.wait, held.wait)
        else:
            with trio.move_on_after(script.after_seconds if script.act is not Act.HANG else inf):
                await marked.wait()
        if marked.is_set():
            await trio.sleep(script.grace_seconds)
        else:
            await self._report(pod, step_run, script)
        if script.grace_seconds:
            await self._patch(POD, pod, {"metadata": {"finalizers": None}})

    async def _report(self, pod: Object, step_run: Object, script: Script) -> None:
        """Report what the SDK writes about its step, then the end of its container."""
        code = script.exit_code
        if script.act is Act.SUCCEED and script.output is not None:
            report = {"phase": "Succeeded", "exitClass": "success", "output": dict(script.output)}
            await self._patch(STEP_RUN, step_run, {"status": report}, "status")
        elif script.act is Act.FAIL:
            words = f"attempt 0 of {step_run['spec']['stepId']} failed"
            failure = {"phase": "Failed", "exitCode": code, "lastFailureMsg": words}
            more = {"exitClass": script.exit_class} if script.exit_class else {}
            await self._patch(STEP_RUN, step_run, {"status": failure | more}, "status")
        await self._patch(POD, pod, {"status": _ended(pod, code)}, "status")

    async def _patch(self, kind: Any, obj: Object, patch: Object, subresource: str | None = None) -> None:
        metadata = obj["metadata"]
        await self.client.patch(kind, metadata["name"], patch, namespace=metadata["namespace"], subresource=subresource)


@asynccontextmanager
async def open_scripted_node(client: KubeClient, pods: Informer) -> AsyncIterator[ScriptedNode]:
    """A scripted node during the block. The caller runs ``pods``."""
    node = ScriptedNode(client, pods)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        yield node
        nursery.cancel_scope.cancel()


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return when the first of them returns."""
    async with trio.open_nursery() as nursery:

        async def one(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(one, wait)


def _is_of_step(pod: Object) -> bool:
    """Whether it is the Pod of a step, and has not started yet. Other Pods belong to their scenarios."""
    has_job = keys.LABEL_JOB_NAME in (pod["metadata"].get("labels") or {})
    return has_job and (pod.get("status") or {}).get("phase") in (None, "", "Pending")


def _running(pod: Object) -> Object:
    return _status(pod, "Running", {"running": {"startedAt": format_instant(system_now())}}, is_ready=True)


def _ended(pod: Object, code: int) -> Object:
    now = format_instant(system_now())
    reason = "Completed" if code == 0 else "Error"
    end = {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}
    return _status(pod, "Succeeded" if code == 0 else "Failed", {"terminated": end}, is_ready=False)


def _status(pod: Object, phase: str, state: Object, *, is_ready: bool) -> Object:
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": is_ready,
            "restartCount": 0,
            "state": state,
        }
        for container in pod["spec"]["containers"]
    ]
    return {"phase": phase, "startTime": format_instant(system_now()), "containerStatuses": containers}
