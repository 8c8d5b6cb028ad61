"""StoryTriggers: how one is built, whether two are the same request, and what the operator decided. Pure.

Source: Trigger contract 1, 4.4, 5.5 and 5.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from bubu_contract import submission
from bubu_contract.identity import label_value
from bubu_sdk.delivery import DedupeMode, Identity
from bubu_sdk.errors import Object

API_VERSION: Final = "runs.bubustack.io/v1alpha1"
LABEL_IMPULSE: Final = "bubustack.io/impulse"
"""An extension: the Impulse that submitted a StoryTrigger, in label form, for ``kubectl get storytriggers -l``."""
ANNOTATION_TRIGGER_NAME: Final = "storyrun.bubustack.io/trigger-request-name"
ANNOTATION_TRIGGER_TOKEN: Final = "storyrun.bubustack.io/trigger-token"  # noqa: S105 - the name of an annotation
ANNOTATION_PREFIX: Final = "bubustack.io/"
MAX_TRACE: Final = 8192
"""Characters of one annotation with the context of a trace. Source: W3C Baggage 3.3.2."""
_NAMESPACES: Final = (
    "BUBU_IMPULSE_NAMESPACE",
    "BUBU_STEPRUN_NAMESPACE",
    "BUBU_POD_NAMESPACE",
    "BUBU_TARGET_STORY_NAMESPACE",
)
_PARENTS: Final = (
    ("BUBU_STORYRUN_ID", "bubustack.io/parent-storyrun", "bubustack.io/parent-storyrun"),
    ("BUBU_STEP_NAME", "bubustack.io/parent-step", "bubustack.io/parent-step"),
    ("BUBU_STEPRUN_NAME", "bubustack.io/steprun", "bubustack.io/parent-steprun"),
)
"""Variable of a step's container, label, annotation."""


class Outcome(StrEnum):
    """The values of ``status.decision``; an absent one is ``Pending``."""

    PENDING = "Pending"
    CREATED = "Created"
    REUSED = "Reused"
    REJECTED = "Rejected"


@dataclass(frozen=True)
class TriggerDecision:
    """What is known of one StoryTrigger."""

    trigger: str
    """Its name."""
    namespace: str
    """Its namespace, which is that of the StoryRun, too."""
    outcome: Outcome
    story_run: str = ""
    """Name of the StoryRun; empty unless the outcome is ``Created`` or ``Reused``."""
    reason: str = ""
    """The operator's reason, one word."""
    message: str = ""
    existed: bool = False
    """An earlier call submitted it."""

    @property
    def is_pending(self) -> bool:
        return self.outcome is Outcome.PENDING


@dataclass(frozen=True)
class Origin:
    """Who submits, from the environment of the container."""

    namespace: str
    """Where StoryTriggers are created; empty if the environment does not say."""
    impulse: str = ""
    impulse_namespace: str = ""
    story: str = ""
    """The Story of calls that name none."""
    story_namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Origin:
        """The origin in ``environ``; never fails.

        StoryTriggers go into the Impulse's own namespace, where its account has its rights and its counters are. Only
        the reference to the Story leads to another namespace.
        """
        read = {name: environ.get(name, "").strip() for name in environ}
        impulse = read.get("BUBU_IMPULSE_NAME", "")
        labels = {LABEL_IMPULSE: label_value(impulse)} if impulse else {}
        annotations: dict[str, str] = {}
        for variable, label, annotation in _PARENTS:
            if value := read.get(variable, ""):
                labels[label] = label_value(value)
                annotations[annotation] = value
        return cls(
            namespace=next((read[name] for name in _NAMESPACES if read.get(name)), ""),
            impulse=impulse,
            impulse_namespace=read.get("BUBU_IMPULSE_NAMESPACE", ""),
            story=read.get("BUBU_TARGET_STORY_NAME", ""),
            story_namespace=read.get("BUBU_TARGET_STORY_NAMESPACE", ""),
            labels=labels,
            annotations=annotations,
        )


@dataclass(frozen=True)
class StoryTarget:
    """The Story of one request."""

    name: str
    namespace: str
    """Never empty."""
    version: str = ""
    """Pinned by the caller; empty for any."""


def target_of(origin: Origin, story: str | None, namespace: str | None, version: str | None) -> StoryTarget:
    """The Story that a call names, else that of the Impulse; its name is empty if there is neither.

    The Impulse's namespace for Stories counts only for the Impulse's own Story.
    """
    name, given = (story or "").strip(), (namespace or "").strip()
    if name:
        return StoryTarget(name, given or origin.namespace, (version or "").strip())
    return StoryTarget(origin.story, given or origin.story_namespace or origin.namespace, (version or "").strip())


def trace_marks(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The annotations by which a run continues the trace in these headers; what is too long for them is left out."""
    given = {name.lower(): value.strip() for name, value in (headers or {}).items()}
    found = {name: given.get(name, "") for name in ("traceparent", "tracestate", "baggage")}
    if not found["traceparent"]:
        return {}
    return {f"{ANNOTATION_PREFIX}{name}": value for name, value in found.items() if value and len(value) <= MAX_TRACE}


def manifest(
    origin: Origin,
    target: StoryTarget,
    identity: Identity,
    inputs: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """The StoryTrigger of one request; ``inputs`` are those to store, large parts as references.

    Raises:
        NotJsonError: the inputs cannot be written as JSON.
    """
    story: Object = {"name": target.name}
    if target.namespace != origin.namespace:
        story["namespace"] = target.namespace
    if target.version:
        story["version"] = target.version
    delivery: Object = {"mode": str(identity.mode), "submissionId": identity.submission_id}
    if identity.mode is not DedupeMode.NONE:
        delivery |= {"key": identity.key, "inputHash": submission.input_hash(inputs)}
    spec: Object = {"storyRef": story, "deliveryIdentity": delivery, "inputs": dict(inputs)}
    if origin.impulse:
        spec["impulseRef"] = {"name": origin.impulse} | (
            {"namespace": origin.impulse_namespace} if origin.impulse_namespace else {}
        )
    metadata: Object = {
        "name": submission.trigger_name(target.namespace, target.name, identity.text),
        "namespace": origin.namespace,
    }
    if origin.labels:
        metadata["labels"] = dict(origin.labels)
    if marks := {**origin.annotations, **(annotations or {})}:
        metadata["annotations"] = marks
    return {"apiVersion": API_VERSION, "kind": "StoryTrigger", "metadata": metadata, "spec": spec}


def differences(wanted: Object, existing: Object) -> list[str]:
    """In what the two requests differ; empty if they are the same.

    References are compared by the object that they name, inputs by their hash: an API server may write numbers in
    another way.
    """
    mine, theirs = wanted["spec"], existing.get("spec") or {}
    namespace = wanted["metadata"]["namespace"]
    found = []
    if _reference(mine.get("storyRef"), namespace) != _reference(theirs.get("storyRef"), namespace):
        found.append("storyRef")
    if _reference(mine.get("impulseRef"), namespace) != _reference(theirs.get("impulseRef"), namespace):
        found.append("impulseRef")
    if _identity(mine.get("deliveryIdentity")) != _identity(theirs.get("deliveryIdentity")):
        found.append("deliveryIdentity")
    if submission.input_hash(mine.get("inputs")) != submission.input_hash(theirs.get("inputs")):
        found.append("inputs")
    return found


def decision_of(trigger: Object, *, existed: bool = False) -> TriggerDecision:
    """What the status of a StoryTrigger says."""
    metadata, status = trigger.get("metadata") or {}, trigger.get("status") or {}
    word = str(status.get("decision") or "")
    outcome = Outcome(word) if word in tuple(Outcome) else Outcome.PENDING
    reference = status.get("storyRunRef") or {}
    return TriggerDecision(
        trigger=str(metadata.get("name", "")),
        namespace=str(reference.get("namespace") or metadata.get("namespace", "")),
        outcome=outcome,
        story_run=str(reference.get("name") or "") if outcome in (Outcome.CREATED, Outcome.REUSED) else "",
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        existed=existed,
    )


def is_of_impulse(spec: Mapping[str, Any], origin: Origin) -> bool:
    """Whether ``spec.impulseRef`` of a StoryTrigger or StoryRun in the origin's namespace names its Impulse."""
    reference = spec.get("impulseRef")
    if not reference or not origin.impulse:
        return not reference and not origin.impulse
    namespace = str(reference.get("namespace") or origin.namespace)
    return (str(reference.get("name")), namespace) == (origin.impulse, origin.impulse_namespace or origin.namespace)


def _reference(reference: Any, namespace: str) -> tuple[str, str, str] | None:
    if not reference:
        return None
    version = str(reference.get("version") or "").strip()
    return str(reference.get("namespace") or namespace), str(reference.get("name", "")), version


def _identity(identity: Any) -> tuple[bool, str]:
    """What makes a request unique: its key, else its submission id.

    With a key, the submission id and the modes ``token`` and ``key`` say nothing more; clients write them differently.
    """
    given = identity or {}
    key = str(given.get("key") or "").strip()
    return bool(key), key or str(given.get("submissionId") or "").strip()
