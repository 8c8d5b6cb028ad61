"""Only the operator creates the objects that it acts on: policies ``authors`` and ``jobs``. A warm worker alone says
that it is alive: policy ``workers``.

They have the rules of ``webhooks.validate.author``. A user with the role ``edit`` in a namespace may write Stories,
runs, Jobs and Leases there. Without these policies such a user could create the StepRun of a step before the operator
does, change a StepRun that waits for another attempt, give a run another child, pass a gate by its timer, replace the
workload of a step, or keep a dead worker alive, whose steps then are never tried again.
Source: admission contract 8.2, 9.3 and 11; StepRun contract 3.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.keys import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_DEADLINE_AT,
    ANNOTATION_EXECUTION_KEY,
    ANNOTATION_PACKET_DEPTH,
    LABEL_WORKER_POOL,
    RUN_ANNOTATIONS_OF_OPERATOR,
)
from core.api.resource import DEPLOYMENT, EFFECT_CLAIM, IMPULSE, JOB, LEASE, STATEFUL_SET, STEP_RUN, STORY_RUN
from core.workloads.impulse_access import IMPULSE_RUNNER_SUFFIX
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import (
    IS_ACCOUNT_OF_NAMESPACE,
    NOT_DELETED,
    POD,
    UID_OF_POD,
    MatchCondition,
    annotation,
    is_pod_of,
    is_stream_pod_of,
    may_be_worker,
    no_new_controller,
    not_by_trusted,
    run_marks_stay,
    step_marks_stay,
)
from deployment.policies.policy import CREATE, SPECS, UPDATE, Check, Policy
from webhooks.validate import author, effectclaim

_OURS: Final = (STORY_RUN.kind, STEP_RUN.kind)
_STREAMS: Final = (DEPLOYMENT, STATEFUL_SET)
"""Kinds of workloads of realtime steps."""
_REMEDY: Final = "leave out controller: true"
_CLAIMER: Final = (
    f"request.resource.resource != '{EFFECT_CLAIM.plural}' ? dyn('')"
    " : (request.operation == 'UPDATE' ? variables.before : variables.now).stepRunRef.name"
)
"""Variable ``claimer`` of a policy: the name of the StepRun that a claim refers to."""
_OF_A_STEP: Final = MatchCondition(
    "of-a-step",
    "[object, oldObject].exists(j, j != null && has(j.metadata.ownerReferences)"
    f" && j.metadata.ownerReferences.exists(o, o.kind == '{STEP_RUN.kind}'"
    f" && o.apiVersion.startsWith('{STEP_RUN.group}/')))",
)
_OF_A_WORKER: Final = MatchCondition(
    "of-a-worker",
    f"[object, oldObject].exists(l, l != null && has(l.metadata.labels) && '{LABEL_WORKER_POOL}' in l.metadata.labels)",
)


def policies(installation: Installation) -> tuple[Policy, Policy, Policy]:
    """The three policies. Administrators of the cluster are trusted: they could delete the policies."""
    conditions = (NOT_DELETED, not_by_trusted(installation))
    authors = Policy(
        "authors",
        "Only the operator creates StepRuns and annotates runs; only the containers of a step claim its effects; no"
        " container changes the spec of its Impulse.",
        tuple(_checks()),
        conditions,
        {**SPECS, "pod": POD, "claimer": _CLAIMER},
    )
    jobs = Policy(
        "jobs",
        "Only the operator creates the Jobs, Deployments and StatefulSets of steps.",
        tuple(_job_checks()),
        (*conditions, _OF_A_STEP),
    )
    workers = Policy(
        "workers",
        "Only the Pod of a warm worker writes the Lease with which this worker says that it is alive.",
        (_lease_check(),),
        (*conditions, _OF_A_WORKER),
        {"pod": POD, "podUid": UID_OF_POD},
    )
    return authors, jobs, workers


def _checks() -> Iterator[Check]:
    made, marked, controls = author.STEP_RUN_MADE.id, author.MARK.id, author.CONTROLLER.id
    message = "metadata.name: only the operator creates StepRuns (start a StoryRun)"
    yield Check(STEP_RUN, "false", message, (made,), (CREATE,))
    message = "spec: only the operator may change this (start another run)"
    yield Check(STEP_RUN, "variables.now == variables.before", message, (author.STEP_RUN_SPEC.id,), (UPDATE,))
    for part in ("labels", "annotations"):
        message = f"metadata.{part}: keys of bubustack.io belong to the operator (leave them unchanged)"
        yield Check(STEP_RUN, step_marks_stay(part), message, (marked,), (UPDATE,))
    message = (
        f"metadata.annotations: only the operator may write {', '.join(RUN_ANNOTATIONS_OF_OPERATOR)},"
        f" or change {ANNOTATION_PACKET_DEPTH} (leave them unchanged)"
    )
    yield Check(STORY_RUN, run_marks_stay(), message, (marked,))
    for target, operations in ((STORY_RUN, (CREATE, UPDATE)), (STEP_RUN, (UPDATE,))):
        message = (
            f"metadata.ownerReferences: only the operator creates objects that a run or a step controls ({_REMEDY})"
        )
        yield Check(target, no_new_controller(*_OURS), message, (controls,), operations)
    yield Check(
        IMPULSE,
        f"!({IS_ACCOUNT_OF_NAMESPACE} && request.userInfo.username.endsWith('-{IMPULSE_RUNNER_SUFFIX}'))"
        " || variables.now == variables.before",
        "spec: the container of an Impulse may only change its metadata (leave it unchanged)",
        (author.IMPULSE_SPEC.id,),
        (UPDATE,),
    )
    claimer = "variables.claimer"
    unchanged = "request.operation == 'UPDATE' && variables.now == variables.before"
    yield Check(
        EFFECT_CLAIM,
        f"({unchanged}) || ({IS_ACCOUNT_OF_NAMESPACE}"
        f" && ({is_pod_of(claimer)} || {is_stream_pod_of(claimer)} || {may_be_worker()}))",
        "spec.stepRunRef.name: only containers of that StepRun may write its claims"
        " (claim effects of the step that performs them)",
        (effectclaim.AUTHOR.id,),
    )


def _job_checks() -> Iterator[Check]:
    """The admission server never sees workloads, so it has no rule that matches these."""
    message = f"metadata.ownerReferences: only the operator creates the workloads of steps ({_REMEDY})"
    yield Check(JOB, no_new_controller(STEP_RUN.kind), message, (), others=_STREAMS)
    for key in (ANNOTATION_ATTEMPT, ANNOTATION_DEADLINE_AT, ANNOTATION_EXECUTION_KEY):
        stays = f"{annotation('object', key)} == {annotation('oldObject', key)}"
        message = f'metadata.annotations["{key}"]: only the operator may write this (leave it unchanged)'
        yield Check(JOB, stays, message, (), (UPDATE,), others=_STREAMS)


def _lease_check() -> Check:
    """Not a rule of admission, which would have to answer for the heartbeats of all workers.

    The garbage collector may change the owners of a Lease.
    """
    says_the_same = " && ".join(
        f"(has(object.{part}) ? dyn(object.{part}) : dyn({{}}))"
        f" == (has(oldObject.{part}) ? dyn(oldObject.{part}) : dyn({{}}))"
        for part in ("spec", "metadata.labels", "metadata.annotations")
    )
    is_holder = "has(object.spec) && has(object.spec.holderIdentity) && object.spec.holderIdentity == variables.podUid"
    own = (
        f"{IS_ACCOUNT_OF_NAMESPACE} && variables.pod == object.metadata.name"
        f" && (variables.podUid == '' || ({is_holder}))"
    )
    return Check(
        LEASE,
        f"(request.operation == 'UPDATE' && {says_the_same}) || ({own})",
        "metadata.name: only the Pod of this name may write the Lease of a warm worker (leave it to the worker)",
        (),
    )
