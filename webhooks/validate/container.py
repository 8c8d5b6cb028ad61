"""Whether a caller is a container of a step; the Pod to which its token is bound decides.

All containers of a run share a ServiceAccount, so the user name identifies the run and not the step. The token that is
mounted into a Pod is bound to that Pod, and the API server names the Pod. Source: admission contract 11 and 15.
"""

from __future__ import annotations

from core.api.identity import is_pod_name
from core.api.objects import ReadOnlyObject
from core.api.resource import JOB, POD, STEP_RUN
from webhooks.caller import Caller, service_account
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.validate.change import fields_of, metadata_of


def works_for(caller: Caller, namespace: str, step_run: str, uid: str, world: ClusterView) -> bool:
    """Whether the Job of the StepRun ``namespace/step_run`` created the caller's Pod.

    A Pod or a Job that was created a moment ago may be unknown here. Then only its name is checked; the Job has the
    name of the StepRun. ``uid`` is that of the StepRun, empty if it is unknown.
    """
    if not caller.pod or not caller.username.startswith(service_account(namespace, "")):
        return False
    pod = world.find(POD, namespace, caller.pod)
    if isinstance(pod, Unseen) or (caller.pod_uid and metadata_of(pod).get("uid") != caller.pod_uid):
        return is_pod_name(caller.pod, step_run)
    owner = _controller(pod)
    if owner.get("kind") != JOB.kind or owner.get("name") != step_run:
        return False
    job = world.find(JOB, namespace, step_run)
    if isinstance(job, Unseen) or metadata_of(job).get("uid") != owner.get("uid") or not uid:
        return True
    maker = _controller(job)
    return maker.get("kind") == STEP_RUN.kind and maker.get("uid") == uid


def _controller(obj: ReadOnlyObject) -> ReadOnlyObject:
    owners = metadata_of(obj).get("ownerReferences") or ()
    return next((owner for owner in map(fields_of, owners) if owner.get("controller") is True), {})
