"""Whether a caller is a container of a step; the Pod to which its token is bound decides.

The containers of all runs of a Story share a ServiceAccount, so the user name identifies neither step nor run. The
token that is mounted into a Pod is bound to that Pod, and the API server names the Pod. Source: admission contract 11
and 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bubu_contract.identity import is_pod_name
from core.api.keys import ANNOTATION_ATTEMPT, ANNOTATION_STEP_RUN_UID
from core.api.objects import ReadOnlyObject
from core.api.resource import JOB, POD, STEP_RUN, STREAM_DEPLOYMENT, STREAM_STATEFUL_SET, Resource
from core.api.text import text
from core.engine.ports import STREAM, WORKER
from core.engine.step.assignment import assignment_of
from core.workloads.stream_pod import is_replica_set_name, is_stream_pod_name
from core.workloads.stream_workload import StreamMode, workload_name
from core.workloads.worker_pool import may_be_worker
from webhooks.caller import Caller, service_account
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.validate.change import fields_of, metadata_of

_REPLICA_SET: Final = "ReplicaSet"


@dataclass(frozen=True, slots=True)
class ServedStep:
    """A StepRun for which a caller says that it works."""

    namespace: str
    name: str
    uid: str = ""
    """Empty if it is unknown."""
    is_stream: bool | None = None
    """Whether it is a realtime step; None if that is unknown."""
    attempt: int | None = None
    """The attempt whose Job counts; None: that of any attempt."""
    is_warm: bool | None = None
    """Whether a warm worker executes it; None if that is unknown."""
    worker: str = ""
    """Name of the Pod that it is assigned to; empty: none."""
    worker_uid: str = ""

    @classmethod
    def of(cls, step_run: ReadOnlyObject, namespace: str) -> ServedStep:
        metadata, spec = metadata_of(step_run), fields_of(step_run.get("spec"))
        name, uid, executor = text(metadata.get("name")), text(metadata.get("uid")), spec.get("executor")
        found = assignment_of({"metadata": metadata}) if executor == WORKER else None
        worker, worker_uid = ("", "") if found is None else (found.worker, found.worker_uid)
        return cls(namespace, name, uid, executor == STREAM, None, executor == WORKER, worker, worker_uid)

    def may_have_pod(self, name: str) -> bool:
        """Whether a Pod of that name can be one of the step's, as far as its name tells."""
        return (not self.is_stream and is_pod_name(name, self.name)) or (
            self.is_stream is not False and is_stream_pod_name(name, self.name)
        )


def works_for(caller: Caller, step: ServedStep, world: ClusterView) -> bool:
    """Whether the caller's Pod belongs to the Job, Deployment or StatefulSet of the step, or is its warm worker.

    A Pod or a workload that was created a moment ago may be unknown here. Then only its name is checked; a workload has
    the name of the StepRun.
    """
    if not caller.pod or not caller.username.startswith(service_account(step.namespace, "")):
        return False
    if step.is_warm:
        return bool(step.worker) and caller.pod == step.worker and caller.pod_uid in ("", step.worker_uid)
    if step.is_warm is None and may_be_worker(caller.pod, caller.username.rpartition(":")[2]):
        return True
    pod = world.find(POD, step.namespace, caller.pod)
    if isinstance(pod, Unseen) or (caller.pod_uid and metadata_of(pod).get("uid") != caller.pod_uid):
        return step.may_have_pod(caller.pod)
    if step.is_stream is None:
        return _is_of_job(pod, step, world) or _is_of_stream(pod, step, world)
    return _is_of_stream(pod, step, world) if step.is_stream else _is_of_job(pod, step, world)


def _is_of_job(pod: ReadOnlyObject, step: ServedStep, world: ClusterView) -> bool:
    owner = _controller(pod)
    if owner.get("kind") != JOB.kind or owner.get("name") != step.name or not _is_marked_for(pod, step):
        return False
    job = world.find(JOB, step.namespace, step.name)
    if isinstance(job, Unseen) or metadata_of(job).get("uid") != owner.get("uid"):
        return True
    attempt = fields_of(metadata_of(job).get("annotations")).get(ANNOTATION_ATTEMPT)
    if step.attempt is not None and attempt is not None and attempt != str(step.attempt):
        return False
    if not step.uid:
        return True
    maker = _controller(job)
    return maker.get("kind") == STEP_RUN.kind and maker.get("uid") == step.uid


def _is_marked_for(pod: ReadOnlyObject, step: ServedStep) -> bool:
    """Whether the annotations of a Job's Pod name this StepRun and attempt, as far as they are known.

    The Pod tells the attempt also when its Job is gone, or not seen yet.
    """
    annotations = fields_of(metadata_of(pod).get("annotations"))
    uid, attempt = annotations.get(ANNOTATION_STEP_RUN_UID), annotations.get(ANNOTATION_ATTEMPT)
    return (not uid or not step.uid or uid == step.uid) and (
        attempt is None or step.attempt is None or attempt == str(step.attempt)
    )


def _is_of_stream(pod: ReadOnlyObject, step: ServedStep, world: ClusterView) -> bool:
    """The template of a stream's Pods names the UID of the StepRun; its ReplicaSet is not watched."""
    kind = _stream_kind(_controller(pod), step.name)
    if kind is None:
        return False
    named = fields_of(metadata_of(pod).get("annotations")).get(ANNOTATION_STEP_RUN_UID)
    if not named or (step.uid and named != step.uid):
        return False
    mode = StreamMode.DEPLOYMENT if kind == STREAM_DEPLOYMENT else StreamMode.STATEFUL_SET
    workload = world.find(kind, step.namespace, workload_name(step.name, mode))
    if isinstance(workload, Unseen):
        return True
    maker = _controller(workload)
    # An earlier StepRun of the name may still be known as the owner; the Pod then names the UID of the new one.
    return maker.get("kind") == STEP_RUN.kind and maker.get("name") == step.name


def _stream_kind(owner: ReadOnlyObject, step_run: str) -> Resource | None:
    """The kind of workload whose Pods have this owner; None if it is no workload of the StepRun."""
    kind, name = owner.get("kind"), text(owner.get("name"))
    if kind == _REPLICA_SET and is_replica_set_name(name, step_run):
        return STREAM_DEPLOYMENT
    if kind == STREAM_STATEFUL_SET.kind and name == workload_name(step_run, StreamMode.STATEFUL_SET):
        return STREAM_STATEFUL_SET
    return None


def _controller(obj: ReadOnlyObject) -> ReadOnlyObject:
    owners = metadata_of(obj).get("ownerReferences") or ()
    return next((owner for owner in map(fields_of, owners) if owner.get("controller") is True), {})
