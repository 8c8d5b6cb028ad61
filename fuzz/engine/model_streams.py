"""The executor of streams on the model cluster, for one process of the operator.

An attempt is the life of one workload. Its TransportBinding comes first and stays as long as the StepRun. There the hub
reads which generation it admits, and that no client will come any more; and there the executor reads whether the step
is connected, and drained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import trio

from bubu_contract.identity import compose
from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, step_path
from core.api.phases import Phase, Reason
from core.engine.errors import NameConflictError, StaleError
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptOrder, AttemptState, LiveStream, Observation
from core.engine.redrive.request import pending_redrive
from core.engine.step.record import end_is_requested, is_asked_to_end, is_final, retries_of
from core.workloads.hub_lease import HubSilence
from fuzz.engine.adapters import ModelStepRuns, confirm, delete, merge
from fuzz.engine.cluster import Cluster
from fuzz.engine.model_hub import BINDING, ModelHub, is_drained, is_finished, lowest_generation, stream_of
from fuzz.engine.process import Process
from fuzz.engine.stream_workers import STREAM_POD, WORKLOAD
from fuzz.engine.watches import controlled_by
from reconcilers.adapters.stream_executor import StreamExecutor

T = TypeVar("T")

MOST_RESTARTS: Final = 2
"""How often a container may be started again within one attempt."""


@dataclass
class ModelStreamExecutor:
    """Keeps a workload for each attempt, as the executor of production does; ``stream_workers`` plays the Pods."""

    traits = StreamExecutor.traits

    cluster: Cluster
    process: Process
    step_runs: ModelStepRuns
    hub: ModelHub

    async def prepare_run(self, run: Object, story: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def start(self, order: AttemptOrder) -> None:
        if not self.step_runs.take_new(order.step_run):
            await confirm(self.cluster, self.process, order.step_run)
            run = await confirm(self.cluster, self.process, order.run)
            if is_asked_to_end(order.run, run):
                raise StaleError("the run has been canceled")
            if pending_redrive(run) is not None:
                raise StaleError("the run is to run again")
            await self._read_anew(order.step_run)
        binding = await self._bound(order)
        if is_finished(binding):
            raise StaleError("the stream has finished")
        binding = await self._fenced(binding, order.attempt + 1)
        workload = await self.process.write(self.cluster, lambda: self._start(order, binding))
        self.process.known.remember(workload)
        if workload["spec"]["attempt"] != order.attempt or workload["metadata"].get("deletionTimestamp"):
            raise StaleError("a workload of another attempt is still there")

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        self.process.check()
        pods = [pod for pod in self.process.known.pods_of(namespace, name) if _is_alive(pod)]
        if step_run is None:
            left = any(STREAM_POD in pod["spec"] for pod in pods)
            return Observation(None, AttemptState.LINGERING if left else AttemptState.ABSENT)
        workload, binding = self._known(WORKLOAD, step_run), self._known(BINDING, step_run)
        return observation(step_run, workload, binding, pods, self.hub.silence)

    async def _stop_if_done(self, step_run: Object) -> None:
        namespace, name = step_run["metadata"]["namespace"], step_run["metadata"]["name"]
        seen = await self.observe(namespace, name, step_run)
        binding = self._known(BINDING, step_run)
        if binding is None or seen.live is None:
            return
        pods = self.process.known.pods_of(namespace, name)
        exited = any((pod.get("status") or {}).get("exitCode") == 0 for pod in pods)
        received_all = bool(binding["spec"]["needs"]) and is_drained(binding)
        if is_finished(binding) or exited or received_all:
            await self._finish(step_run, binding)

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        raise AssertionError("a stream has no result")

    async def stop(self, step_run: Object, why: StopReason) -> None:
        await trio.lowlevel.checkpoint()
        match why:
            case StopReason.IF_DONE:
                await self._stop_if_done(step_run)
            case StopReason.DRAIN:
                binding = await self._find(BINDING, step_run)
                if binding is not None and (is_drained(binding) or not binding["spec"]["needs"]):
                    await self._finish(step_run, binding)
            case StopReason.SUPERSEDED:
                workload = await self._find(WORKLOAD, step_run)
                if workload is not None and workload["spec"]["attempt"] != retries_of(step_run.get("status") or {}):
                    await self._delete(step_run, workload)
            case StopReason.END | StopReason.RECORDED:
                await self._finish(step_run, await self._find(BINDING, step_run))

    async def _finish(self, step_run: Object, binding: Object | None) -> None:
        """Mark that no client comes any more, then remove the workload: the Pods may be gone when somebody looks."""
        if binding is not None and not is_finished(binding):
            mark = {"annotations": {keys.ANNOTATION_STREAM_FINISHED: "true"}}
            await merge(self.cluster, self.process, binding, "metadata", mark)
        workload = await self._find(WORKLOAD, step_run)
        if workload is not None:
            await self._delete(step_run, workload)

    async def _delete(self, step_run: Object, workload: Object) -> None:
        if workload["spec"]["attempt"] > retries_of(step_run.get("status") or {}):
            await confirm(self.cluster, self.process, step_run)
        if not workload["metadata"].get("deletionTimestamp"):
            await delete(self.cluster, self.process, workload)

    async def _fenced(self, binding: Object, generation: int) -> Object:
        """The binding, with which the hub admits no earlier generation."""
        if lowest_generation(binding) >= generation:
            return binding
        fence = {"annotations": {keys.ANNOTATION_CONNECTOR_GENERATION: str(generation)}}
        return await merge(self.cluster, self.process, binding, "metadata", fence)

    async def _read_anew(self, step_run: Object) -> None:
        """Learn from the server whether another leader has seen the end of the stream."""
        namespace, name = step_run["metadata"]["namespace"], _name(BINDING, step_run)
        stored = await self._call(lambda: self.cluster.get(BINDING, namespace, name))
        if stored is not None:
            self.process.known.remember(stored)

    async def _bound(self, order: AttemptOrder) -> Object:
        found = await self._find(BINDING, order.step_run)
        if found is not None:
            return found
        stored = await self.process.write(self.cluster, lambda: self._bind(order))
        self.process.known.remember(stored)
        return stored

    def _known(self, kind: str, step_run: Object) -> Object | None:
        found = self.process.known.get(kind, step_run["metadata"]["namespace"], _name(kind, step_run))
        return found if found is not None and controlled_by(found, step_run["metadata"]["uid"]) else None

    async def _find(self, kind: str, step_run: Object) -> Object | None:
        self.process.check()
        found = self._known(kind, step_run)
        if found is None:
            namespace, name = step_run["metadata"]["namespace"], _name(kind, step_run)
            found = await self._call(lambda: self.cluster.get(kind, namespace, name))
        return found if found is not None and controlled_by(found, step_run["metadata"]["uid"]) else None

    async def _call(self, apply: Callable[[], T]) -> T:
        return await self.process.call(self.cluster, apply)

    def _bind(self, order: AttemptOrder) -> Object:
        streams = [step["name"] for step in order.story["spec"]["steps"] if step.get("ref")]
        spec = {
            "run": order.run["metadata"]["name"],
            "step": step_path(order.step_run),
            "needs": [*order.packet_needs],
            "streams": streams,
        }
        generation = {keys.ANNOTATION_CONNECTOR_GENERATION: str(order.attempt + 1)}
        return self._create(order.step_run, BINDING, spec, generation)

    def _start(self, order: AttemptOrder, binding: Object) -> Object:
        spec = {
            "stepRun": order.step_run["metadata"]["name"],
            "step": step_path(order.step_run),
            "attempt": order.attempt,
            "deadlineAt": order.deadline_at.isoformat() if order.deadline_at is not None else None,
            "inputs": dict(order.inputs),
            "binding": binding["metadata"]["name"],
            "bindingUid": binding["metadata"]["uid"],
        }
        return self._create(order.step_run, WORKLOAD, spec, {})

    def _create(self, step_run: Object, kind: str, spec: Object, annotations: Object) -> Object:
        metadata, name = step_run["metadata"], _name(kind, step_run)
        owner = {"kind": "StepRun", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        manifest: Object = {
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "ownerReferences": [owner],
                "annotations": annotations,
            },
            "spec": spec,
        }
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        existing = self.cluster.get(kind, metadata["namespace"], name)
        assert existing is not None
        if not controlled_by(existing, metadata["uid"]):
            raise NameConflictError(f"the {kind} belongs to another owner")
        return existing


def observation(
    step_run: Object,
    workload: Object | None,
    binding: Object | None,
    pods: list[Object],
    silence: HubSilence | None = None,
) -> Observation:
    """Reads the objects as the executor of production reads the real ones; ``pods`` are those that are alive."""
    status = step_run.get("status") or {}
    has_ended = is_final(status) or end_is_requested(step_run)
    finished = binding is not None and is_finished(binding)
    number = lowest_generation(binding) - 1 if binding is not None else 0
    if workload is None or workload["metadata"].get("deletionTimestamp"):
        if not finished or has_ended or number != retries_of(status):
            alive = workload is not None or bool(pods)
            return Observation(step_run, AttemptState.LINGERING if alive else AttemptState.ABSENT)
        if is_drained(binding) and not pods and workload is None:
            return Observation(step_run, AttemptState.SUCCEEDED, attempt=number, exit_code=0)
        return Observation(step_run, AttemptState.RUNNING, attempt=number, live=_finishing(binding))
    number = workload["spec"]["attempt"]
    said = (pods[-1].get("status") or {}) if pods else {}
    if not finished and said.get("restarts", 0) > MOST_RESTARTS and said.get("exitCode") != 0:
        return Observation(step_run, AttemptState.FAILED, attempt=number, exit_code=said["exitCode"])
    state = AttemptState.RUNNING if pods else AttemptState.STARTING
    if finished or said.get("exitCode") == 0:
        return Observation(step_run, state, attempt=number, live=_finishing(binding))
    live = _live(binding, number, silence)
    return Observation(step_run, state, attempt=number, deadline_at=deadline_of(workload), live=live)


def deadline_of(workload: Object) -> datetime | None:
    at = workload["spec"]["deadlineAt"]
    return None if at is None else datetime.fromisoformat(at)


def _live(binding: Object | None, number: int, silence: HubSilence | None) -> LiveStream:
    stream = stream_of(binding)
    connected = stream.get("connected") is True and stream.get("generation") == number + 1
    lost_at = None if connected else parse_instant_or_none(stream.get("disconnectedAt"))
    if silence is not None and silence.covers(stream) and (connected or silence.back_at is None):
        since = silence.since if connected else lost_at
        return LiveStream(Phase.PAUSED, Reason.AWAITING_TRANSPORT, silence.why, False, since)
    if connected:
        return LiveStream(Phase.RUNNING, Reason.RUNNING, "The stream is connected", True)
    text = "Waiting for the connection to the hub"
    return LiveStream(Phase.PAUSED, Reason.AWAITING_TRANSPORT, text, False, lost_at)


def _finishing(binding: Object | None) -> LiveStream:
    """Its worker has ended; the hub delivers what it has sent."""
    connected = stream_of(binding).get("connected") is True
    return LiveStream(Phase.RUNNING, Reason.RUNNING, "The stream is ending", connected)


def _name(kind: str, step_run: Object) -> str:
    name = str(step_run["metadata"]["name"])
    run, step = step_run["spec"]["storyRunRef"]["name"], step_path(step_run)
    return compose(run, step, "transport") if kind == BINDING else name


def _is_alive(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
