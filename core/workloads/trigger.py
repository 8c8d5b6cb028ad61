"""What a StoryTrigger requests, and how it is answered: decisions, reasons, messages. Pure.

An answer is final, or it waits: ``Decision.PENDING`` means that a later change can remove the obstacle. Errors of the
request itself are answered first, because nothing removes them.
Source: Trigger contract 2, 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from bubu_contract.canonical import NotJsonError
from bubu_contract.durations import format_duration
from bubu_contract.submission import input_hash, story_run_name, trigger_name
from core.api import canonical, keys
from core.api.objects import NamespacedName, Object
from core.api.resource import STORY, STORY_RUN, STORY_TRIGGER, Resource
from core.api.unreadable import why_unreadable
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import CrossNamespacePolicy
from core.workloads.keyed_request import Decision, Difference, decide

FINAL_DECISIONS: Final = (Decision.CREATED, Decision.REUSED, Decision.REJECTED)


class TriggerReason(StrEnum):
    """The values of ``status.reason`` of a StoryTrigger."""

    STORY_RUN_CREATED = "StoryRunCreated"
    STORY_RUN_REUSED = "StoryRunReused"
    VALIDATION_FAILED = "ValidationFailed"
    STORY_NOT_FOUND = "StoryNotFound"
    STORY_VERSION_MISMATCH = "StoryVersionMismatch"
    INPUT_HASH_MISMATCH = "InputHashMismatch"
    STORY_RUN_CONFLICT = "StoryRunConflict"
    # Extensions; only undecided StoryTriggers have them.
    REFERENCE_NOT_GRANTED = "ReferenceNotGranted"
    REFERENCE_REFUSED = "ReferenceRefused"
    """Admission refuses the run because of its Story, which is correct as far as this process knows."""
    IMPULSE_NOT_FOUND = "ImpulseNotFound"
    IMPULSE_MISMATCH = "ImpulseMismatch"
    STORY_RUN_TERMINATING = "StoryRunTerminating"
    PERMISSION_DENIED = "PermissionDenied"
    """The operator lacks a permission."""
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    """The object store, where the operator puts large inputs, does not answer."""
    RESTORED = "Restored"
    """A backup has brought the StoryTrigger back without its answer; only rejections have this reason."""


_REASON_AT_THE_LIMIT: Final = {
    TriggerReason.STORY_NOT_FOUND: TriggerReason.STORY_NOT_FOUND,
    TriggerReason.STORY_VERSION_MISMATCH: TriggerReason.STORY_VERSION_MISMATCH,
    TriggerReason.REFERENCE_NOT_GRANTED: TriggerReason.VALIDATION_FAILED,
    TriggerReason.REFERENCE_REFUSED: TriggerReason.VALIDATION_FAILED,
    TriggerReason.IMPULSE_NOT_FOUND: TriggerReason.VALIDATION_FAILED,
    TriggerReason.IMPULSE_MISMATCH: TriggerReason.VALIDATION_FAILED,
    TriggerReason.STORY_RUN_TERMINATING: TriggerReason.STORY_RUN_CONFLICT,
}
"""The reason of the rejection when a StoryTrigger has waited too long. Others wait without a limit."""
_DIFFERS: Final = {
    Difference.STORY: "storyRef: it runs another Story, or another version of it",
    Difference.IMPULSE: "impulseRef: another Impulse started it",
    Difference.INPUTS: "inputs",
}


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """The request in a StoryTrigger. Texts have no white space around them; a missing text is empty."""

    place: NamespacedName
    uid: str
    spec: Mapping[str, Any]
    story: NamespacedName
    version: str
    mode: str
    key: str
    submission_id: str
    input_hash: str
    impulse: NamespacedName | None
    trace: Mapping[str, str] = field(default_factory=dict)
    """Annotations with the context of the caller's trace, which the run inherits."""

    @property
    def identity(self) -> str:
        return self.key or self.submission_id

    @property
    def run_name(self) -> str:
        """The name of its StoryRun; empty when the request has no Story or no identity."""
        if not self.story.name or not self.identity:
            return ""
        return story_run_name(self.story.namespace, self.story.name, self.identity)


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """The objects on which the answer depends; None: the object does not exist."""

    policy: CrossNamespacePolicy
    grants: Sequence[Object] = ()
    """The ReferenceGrants of the Story's namespace."""
    story: Object | None = None
    impulse: Object | None = None


@dataclass(frozen=True, slots=True)
class TriggerAnswer:
    decision: Decision
    reason: TriggerReason
    message: str
    run: Object | None = None
    """The run; set if, and only if, the decision is Created or Reused."""


def request_of(trigger: Object) -> TriggerRequest:
    """The request of a stored StoryTrigger, which may have any shape."""
    metadata, spec = trigger["metadata"], _fields(trigger.get("spec"))
    annotations = _fields(metadata.get("annotations"))
    place = NamespacedName(metadata.get("namespace", ""), metadata["name"])
    story, impulse, identity = (_fields(spec.get(name)) for name in ("storyRef", "impulseRef", "deliveryIdentity"))
    return TriggerRequest(
        place=place,
        uid=str(metadata.get("uid") or ""),
        spec=spec,
        story=_referred(story, place.namespace),
        version=_text(story.get("version")),
        mode=_text(identity.get("mode")) or "none",
        key=_text(identity.get("key")),
        submission_id=_text(identity.get("submissionId")),
        input_hash=_text(identity.get("inputHash")),
        impulse=_referred(impulse, place.namespace) if impulse else None,
        trace={name: _text(annotations[name]) for name in keys.TRACE_ANNOTATIONS if _text(annotations.get(name))},
    )


def is_answered(trigger: Object) -> bool:
    """Whether the stored answer is final, and about the spec as it is."""
    status = _fields(trigger.get("status"))
    generation = trigger["metadata"].get("generation")
    return status.get("decision") in FINAL_DECISIONS and status.get("observedGeneration") == generation


def requested_run(request: TriggerRequest) -> Object:
    """The manifest of the StoryRun."""
    annotations = {
        **request.trace,
        keys.ANNOTATION_TRIGGER_REQUEST_NAME: request.place.name,
        keys.ANNOTATION_TRIGGER_REQUEST_UID: request.uid,
    }
    if request.key:
        annotations[keys.ANNOTATION_TRIGGER_TOKEN] = request.key
        annotations[keys.ANNOTATION_TRIGGER_INPUT_HASH] = input_hash(request.spec.get("inputs"))
    copied = ("storyRef", "impulseRef", "inputs")
    return {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "metadata": {
            "name": request.run_name,
            "namespace": request.place.namespace,
            "annotations": annotations,
        },
        "spec": {name: request.spec[name] for name in copied if request.spec.get(name) is not None},
    }


def is_origin(request: TriggerRequest, run: Object) -> bool:
    """Whether the run was created for this StoryTrigger, whatever has happened to the run since."""
    annotations = _fields(run["metadata"].get("annotations"))
    name = _text(annotations.get(keys.ANNOTATION_TRIGGER_REQUEST_NAME))
    uid = _text(annotations.get(keys.ANNOTATION_TRIGGER_REQUEST_UID))
    return bool(uid) and (name, uid) == (request.place.name, request.uid)


# Answers.


def final_refusal(
    trigger: Object, request: TriggerRequest, policy: CrossNamespacePolicy, limit_bytes: int | None
) -> TriggerAnswer | None:
    """The rejection of a request that no later change can make acceptable; None for others.

    Args:
        limit_bytes: the maximum size of inputs, as JSON; None: the operator puts larger inputs into its object store.
    """
    if why := why_unreadable(trigger):
        return rejected(TriggerReason.VALIDATION_FAILED, f"the StoryTrigger cannot be read: {why}; make it smaller")
    problem = next(_identity_problems(request), None) or _foreign_problem(request, policy)
    if problem is not None:
        return rejected(TriggerReason.VALIDATION_FAILED, problem)
    inputs = request.spec.get("inputs")
    if inputs is not None and not isinstance(inputs, Mapping):
        return rejected(TriggerReason.VALIDATION_FAILED, "spec.inputs: must be an object")
    try:
        actual, size = input_hash(inputs), len(canonical.encode(inputs).encode()) if inputs is not None else 0
    except NotJsonError as error:
        return rejected(
            TriggerReason.INPUT_HASH_MISMATCH, f"spec.inputs: cannot be hashed: {error}; use finite numbers"
        )
    if request.input_hash and request.input_hash != actual:
        message = f"spec.deliveryIdentity.inputHash: does not match spec.inputs; their hash is {actual}"
        return rejected(TriggerReason.INPUT_HASH_MISMATCH, message)
    if limit_bytes is not None and size > limit_bytes:
        return rejected(
            TriggerReason.VALIDATION_FAILED,
            f"spec.inputs: has {size} bytes; storyrun.max-inline-inputs-size allows {limit_bytes}, and the operator "
            "has no object store for larger ones; name one with controller.storage.provider",
        )
    return None


def obstacle(request: TriggerRequest, facts: TriggerFacts) -> TriggerAnswer | None:
    """What a request without a ``final_refusal`` waits for; None when its run can start."""
    reason = TriggerReason
    for source in (STORY_TRIGGER, STORY_RUN):
        denied = why_denied(_link(source, request), facts.policy, facts.grants)
        if denied is not None:
            return pending(reason.REFERENCE_NOT_GRANTED, f"spec.storyRef: {denied}; add a ReferenceGrant there")
    if facts.story is None:
        return pending(reason.STORY_NOT_FOUND, f"spec.storyRef: Story {request.story} does not exist; apply it")
    actual = _text(_fields(facts.story.get("spec")).get("version"))
    if request.version and request.version != actual:
        has = f"has version {actual!r}" if actual else "has no version"
        message = f"spec.storyRef.version: requires {request.version!r}, but Story {request.story} {has}"
        return pending(reason.STORY_VERSION_MISMATCH, message)
    return _impulse_obstacle(request, facts.impulse)


def answer_of(request: TriggerRequest, wanted: Object, existing: Object) -> TriggerAnswer:
    """The answer when a run of that name exists.

    Args:
        wanted: from ``requested_run``.
        existing: the stored run.
    """
    if is_origin(request, existing):
        return created(existing, recovered=True)
    place = _place_of(existing)
    answer = decide(wanted, existing)
    if answer.decision is Decision.PENDING:
        message = f"StoryRun {place} is being deleted; the operator decides when it has been deleted"
        return pending(TriggerReason.STORY_RUN_TERMINATING, message)
    if answer.difference is not None:
        return rejected(
            TriggerReason.STORY_RUN_CONFLICT,
            f"StoryRun {place} exists and differs in {_DIFFERS[answer.difference]}; use another "
            f"{'key' if request.key else 'submissionId'}",
        )
    message = f"reused StoryRun {place}, which an earlier request started"
    return TriggerAnswer(Decision.REUSED, TriggerReason.STORY_RUN_REUSED, message, existing)


def restored_without_answer(request: TriggerRequest) -> TriggerAnswer:
    """The rejection of a StoryTrigger that a backup has brought back without its answer, and without a run."""
    return rejected(
        TriggerReason.RESTORED,
        f"the StoryTrigger was restored from a backup without its answer, and StoryRun {request.place.namespace}/"
        f"{request.run_name} is not there; whether it was started before is unknown, so it is not started; to start "
        "it, delete this StoryTrigger and submit the request again",
    )


def created(run: Object, *, recovered: bool = False) -> TriggerAnswer:
    """``recovered``: the run was created for this StoryTrigger earlier, but the answer was not stored."""
    message = f"{'recovered' if recovered else 'created'} StoryRun {_place_of(run)}"
    return TriggerAnswer(Decision.CREATED, TriggerReason.STORY_RUN_CREATED, message, run)


def rejected(reason: TriggerReason, message: str) -> TriggerAnswer:
    return TriggerAnswer(Decision.REJECTED, reason, message)


def pending(reason: TriggerReason, message: str) -> TriggerAnswer:
    return TriggerAnswer(Decision.PENDING, reason, message)


def waits_with_a_limit(answer: TriggerAnswer) -> bool:
    """Whether the answer becomes a rejection when the obstacle stays."""
    return answer.decision is Decision.PENDING and answer.reason in _REASON_AT_THE_LIMIT


def at_the_limit(answer: TriggerAnswer, limit: timedelta) -> TriggerAnswer:
    """The rejection of a request that has waited for ``limit``; the obstacle is still ``answer``."""
    message = f"{answer.message} (waited for {format_duration(limit)}, storytrigger.pending-timeout)"
    return rejected(_REASON_AT_THE_LIMIT[answer.reason], message)


def _identity_problems(request: TriggerRequest) -> Iterator[str]:
    """Problems that admission refuses; it may be switched off."""
    at = "spec.deliveryIdentity"
    if not request.story.name:
        yield "spec.storyRef.name: must not be blank; name a Story"
    if not request.submission_id:
        yield f"{at}.submissionId: must not be blank; give each submission an id"
    if request.mode not in ("none", "token", "key"):
        yield f"{at}.mode: must be none, token or key"
    if request.key and request.mode == "none":
        yield f"{at}.key: is not used with mode none; set mode token or key, or remove it"
    if not request.key and request.mode != "none":
        yield f"{at}.key: is required with mode {request.mode}; give the business key"
    if request.key and not request.input_hash:
        yield f"{at}.inputHash: is required with a key; add the hash of the inputs"
    expected = trigger_name(request.story.namespace, request.story.name, request.identity)
    if request.place.name != expected:
        yield (
            f"metadata.name: {request.place.name!r} is not the name derived from Story and delivery identity; "
            f"use {expected}"
        )


def _foreign_problem(request: TriggerRequest, policy: CrossNamespacePolicy) -> str | None:
    """Why no ReferenceGrant can allow the reference to the Story; None when it is allowed, or a grant can."""
    if policy is not CrossNamespacePolicy.DENY:
        return None
    denied = why_denied(_link(STORY_TRIGGER, request), policy)
    return None if denied is None else f"spec.storyRef: {denied}"


def _impulse_obstacle(request: TriggerRequest, impulse: Object | None) -> TriggerAnswer | None:
    """An Impulse may start its own Story. Its code may also choose a Story by name, which existing SDKs request in the
    namespace of the Impulse or in that of its Story.
    """
    place = request.impulse
    if place is None:
        return None
    if impulse is None:
        message = f"spec.impulseRef: Impulse {place} does not exist; apply it, or submit without impulseRef"
        return pending(TriggerReason.IMPULSE_NOT_FOUND, message)
    target = _referred(_fields(_fields(impulse.get("spec")).get("storyRef")), place.namespace)
    own = request.place.namespace
    if target == request.story or own == place.namespace or own == target.namespace == request.story.namespace:
        return None
    message = f"spec.impulseRef: Impulse {place} starts Story {target}; it may not start Story {request.story}"
    return pending(TriggerReason.IMPULSE_MISMATCH, message)


def _link(source: Resource, request: TriggerRequest) -> ForeignReference:
    return ForeignReference(
        from_group=source.group,
        from_kind=source.kind,
        from_namespace=request.place.namespace,
        to_group=STORY.group,
        to_kind=STORY.kind,
        to_namespace=request.story.namespace,
        to_name=request.story.name,
    )


def _referred(reference: Mapping[str, Any], default_namespace: str) -> NamespacedName:
    return NamespacedName(_text(reference.get("namespace")) or default_namespace, _text(reference.get("name")))


def _place_of(run: Object) -> NamespacedName:
    return NamespacedName(run["metadata"]["namespace"], run["metadata"]["name"])


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
