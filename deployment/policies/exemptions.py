"""Conditions in CEL that exempt requests from admission. Pure text.

The API server evaluates them itself, so requests that they exempt do not need a running admission server. The
validators have no rules for these requests (admission contract 1.5): the object is being deleted, or the request
changes no field that they check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bubu_contract.identity import MAX_NAME_LENGTH, POD_SUFFIX_LENGTH
from core.api.keys import (
    ANNOTATION_CACHE_LOOKUP,
    ANNOTATION_CACHE_REUSE,
    ANNOTATION_PACKET_DEPTH,
    ANNOTATION_TRIGGER_INPUT_HASH,
    ANNOTATION_TRIGGER_TOKEN,
    DOMAIN,
    LABEL_WORKER,
    RUN_ANNOTATIONS_OF_OPERATOR,
)
from core.api.objects import Object
from core.api.resource import ENGRAM, STEP_RUN, STORY_RUN, Resource
from core.workloads import stream_pod
from core.workloads.stream_workload import DIGEST_LENGTH, STATEFUL_SET_LENGTH
from core.workloads.worker_pool import POOL_NAME_END
from deployment.permissions.roles import Installation
from deployment.permissions.table import MANAGER
from webhooks.caller import ADMINISTRATORS, POD_NAME, POD_UID

IDENTITY_ANNOTATIONS: Final = (ANNOTATION_TRIGGER_TOKEN, ANNOTATION_TRIGGER_INPUT_HASH)
"""Annotations of a StoryRun that may not change, even if the spec does not change."""
CHECKED_ANNOTATIONS: Final = (*IDENTITY_ANNOTATIONS, ANNOTATION_CACHE_REUSE, ANNOTATION_CACHE_LOOKUP)
"""Annotations of a StoryRun that are checked when they change."""
_RUN_MARKS: Final = RUN_ANNOTATIONS_OF_OPERATOR


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """The server checks the request if ``expression`` is true."""

    name: str
    expression: str

    def document(self) -> Object:
        return {"name": self.name, "expression": self.expression}


NOT_DELETED: Final = MatchCondition("not-being-deleted", "!has(object.metadata.deletionTimestamp)")
_SPEC_CHANGED: Final = "!has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec"
SPEC_CHANGED: Final = MatchCondition("spec-is-new", f"request.operation == 'CREATE' || {_SPEC_CHANGED}")


def annotation(of: str, key: str) -> str:
    """The value of an annotation, empty when there is none; ``of`` is ``object`` or ``oldObject``."""
    there = f"has({of}.metadata.annotations) && '{key}' in {of}.metadata.annotations"
    return f"({there} ? {of}.metadata.annotations['{key}'] : '')"


def run_marks_stay() -> str:
    """Whether the operator's annotations of a StoryRun are unchanged; a new StoryRun must not have them.

    The hub creates runs with the depth of their packet, which stays.
    """
    old = "(request.operation == 'UPDATE' ? {0} : '')"
    same = [f"{annotation('object', key)} == {old.format(annotation('oldObject', key))}" for key in _RUN_MARKS]
    now, before = (annotation(of, ANNOTATION_PACKET_DEPTH) for of in ("object", "oldObject"))
    return " && ".join([*same, f"(request.operation != 'UPDATE' || {now} == {before})"])


def step_marks_stay(part: str) -> str:
    """Whether our labels or annotations of a StepRun are unchanged."""
    now, before = (f"(has({of}.metadata.{part}) ? {of}.metadata.{part} : {{}})" for of in ("object", "oldObject"))
    return (
        f"{now}.all(k, !k.contains('{DOMAIN}') || (k in {before} && {before}[k] == {now}[k]))"
        f" && {before}.all(k, !k.contains('{DOMAIN}') || k in {now})"
    )


def no_new_controller(*kinds: str) -> str:
    """Whether no controlling reference to an object of these kinds has been added; removing one is allowed."""
    controls = f"has(o.controller) && o.controller && o.kind in [{', '.join(map(repr, kinds))}]"
    known = (
        "request.operation == 'UPDATE' && has(oldObject.metadata.ownerReferences)"
        " && oldObject.metadata.ownerReferences.exists(b,"
        " has(b.controller) && b.controller && b.kind == o.kind && b.name == o.name && b.uid == o.uid)"
    )
    return (
        f"!has(object.metadata.ownerReferences) || object.metadata.ownerReferences.all(o, !({controls}) || ({known}))"
    )


def _extra(key: str) -> str:
    """The value of a key that the API server has added to the user; empty if there is none."""
    there = f"has(request.userInfo.extra) && '{key}' in request.userInfo.extra"
    return f"{there} && size(request.userInfo.extra['{key}']) == 1 ? request.userInfo.extra['{key}'][0] : ''"


POD: Final = _extra(POD_NAME)
"""Variable ``pod`` of a policy: name of the Pod that the caller's token is bound to, empty for other tokens."""


UID_OF_POD: Final = _extra(POD_UID)
"""Variable ``podUid`` of a policy: its UID."""


IS_ACCOUNT_OF_NAMESPACE: Final = (
    "request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':')"
)
"""Whether the caller is a ServiceAccount of the namespace of the object."""


def is_assigned_worker() -> str:
    """Whether ``variables.pod`` is the Pod that the StepRun is assigned to; see ``core.engine.step.assignment``.

    CEL reads no JSON. Quotes inside the values of the annotation have a backslash, so the text of a field is found only
    where the field is.
    """
    label = f"object.metadata.labels['{LABEL_WORKER}']"
    labelled = f"has(object.metadata.labels) && '{LABEL_WORKER}' in object.metadata.labels && {label} == variables.pod"
    uid = "variables.assignment.contains('\"workerUid\":\"' + variables.podUid + '\"')"
    return f"(variables.pod != '' && {labelled} && (variables.podUid == '' || {uid}))"


def is_assigned_attempt(number: str) -> str:
    """Whether the assignment is that of the attempt with this number, which its JSON begins with."""
    return f"variables.assignment.startsWith('{{\"attempt\":' + string({number}) + ',')"


def may_be_worker() -> str:
    """Whether ``variables.pod`` can be a Pod of a pool; see ``core.workloads.worker_pool.may_be_worker``."""
    account = "request.userInfo.username.split(':')[3]"
    return f"({account}.matches('{POOL_NAME_END}') && variables.pod.startsWith({account} + '-'))"


def is_pod_of(job: str) -> str:
    """Whether ``variables.pod`` can be a Pod of the Job with that name; see ``bubu_contract.identity.is_pod_name``."""
    prefix = _pod_prefix(job)
    return f"(size(variables.pod) == size({prefix}) + {POD_SUFFIX_LENGTH} && variables.pod.startsWith({prefix}))"


def is_stream_pod_of(step_run: str) -> str:
    """Whether ``variables.pod`` can be a Pod of a realtime step; see ``core.workloads.stream_pod``.

    CEL cannot compute the digest in the name of a StatefulSet that was cut.
    """
    prefix, cut = _pod_prefix(step_run), STATEFUL_SET_LENGTH - DIGEST_LENGTH - 1
    between = f"variables.pod.substring(size({prefix}), size(variables.pod) - {POD_SUFFIX_LENGTH})"
    of_deployment = (
        f"(size(variables.pod) >= size({prefix}) + {POD_SUFFIX_LENGTH} && variables.pod.startsWith({prefix})"
        f" && (size(variables.pod) == {MAX_NAME_LENGTH}"
        f" ? {between}.matches('^{stream_pod.CUT_HASH}$') : {between}.matches('^{stream_pod.WHOLE_HASH}$')))"
    )
    kept = f"{step_run}.substring(0, {step_run}.substring(0, {cut}).endsWith('-') ? {cut - 1} : {cut})"
    of_stateful_set = (
        f"(size({step_run}) <= {STATEFUL_SET_LENGTH} ? variables.pod == {step_run} + '-0'"
        f" : variables.pod.startsWith({kept})"
        f" && variables.pod.substring(size({kept})).matches('^-[0-9a-f]{{{DIGEST_LENGTH}}}-0$'))"
    )
    return f"({of_deployment} || {of_stateful_set})"


def _pod_prefix(workload: str) -> str:
    """What begins the names of the Pods of a workload, before random characters or a hash."""
    room = MAX_NAME_LENGTH - POD_SUFFIX_LENGTH
    return f"(size({workload}) >= {room} ? ({workload} + '-').substring(0, {room}) : {workload} + '-')"


def not_by_operator(installation: Installation) -> MatchCondition:
    return MatchCondition("not-by-the-operator", f"request.userInfo.username != '{installation.user}'")


def not_by_trusted(installation: Installation) -> MatchCondition:
    """The caller is neither the operator nor an administrator, who may do anything."""
    groups = f"has(request.userInfo.groups) && '{ADMINISTRATORS}' in request.userInfo.groups"
    return MatchCondition(
        "not-by-the-operator-or-an-administrator",
        f"request.userInfo.username != '{installation.user}' && !({groups})",
    )


def conditions_of(resource: Resource, installation: Installation) -> tuple[MatchCondition, ...]:
    """For writes of whole objects of a kind.

    The operator is exempt for kinds that it creates itself, so that runs continue while admission is down; it checks
    the objects that it creates, as it does in a cluster without admission.
    """
    exempt = (not_by_operator(installation),) if is_created_by_operator(resource) else ()
    if resource == ENGRAM:
        # While an Engram is being deleted, only its finalizers may change, so a new spec is not exempt.
        return (SPEC_CHANGED, *exempt)
    return (NOT_DELETED, _CHANGED.get(resource, SPEC_CHANGED), *exempt)


def conditions_of_status(installation: Installation) -> tuple[MatchCondition, ...]:
    """For writes of the status subresource."""
    return (NOT_DELETED, not_by_operator(installation))


def conditions_of_decisions(installation: Installation) -> tuple[MatchCondition, ...]:
    """For writes of a run's status in which somebody decides on a gate."""
    changed = "!has(oldObject.status) || !has(oldObject.status.gates) || object.status.gates != oldObject.status.gates"
    gates = MatchCondition("gates-are-new", f"has(object.status) && has(object.status.gates) && ({changed})")
    return (*conditions_of_status(installation), gates)


def is_created_by_operator(resource: Resource) -> bool:
    """Whether the operator may create objects of this kind."""
    return any(
        row.resource == resource and not row.subresource and "create" in row.verbs for row in MANAGER.permissions
    )


def _changed(*stays: str) -> MatchCondition:
    """A new spec, or another change that the validators check."""
    others = " || ".join(f"!({text})" for text in stays)
    return MatchCondition("spec-or-identity-is-new", f"{SPEC_CHANGED.expression} || {others}")


_CHANGED: Final = {
    STORY_RUN: _changed(
        *(f"{annotation('object', key)} == {annotation('oldObject', key)}" for key in CHECKED_ANNOTATIONS),
        run_marks_stay(),
        no_new_controller(STORY_RUN.kind, STEP_RUN.kind),
    ),
    STEP_RUN: _changed(
        step_marks_stay("labels"),
        step_marks_stay("annotations"),
        no_new_controller(STORY_RUN.kind, STEP_RUN.kind),
    ),
}
"""Kinds whose validators check more than the spec."""
