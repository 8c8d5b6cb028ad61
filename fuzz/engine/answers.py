"""How a StoryTrigger must be answered, and what an EffectClaim must show: read from the objects, without the operator's
code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final, NamedTuple

from bubu_contract import submission
from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.expressions.paths import is_reference
from fuzz.engine.cluster import Place
from fuzz.engine.kept import kept_by

MOST_INLINE_BYTES: Final = 1024
"""The operator's limit for the inputs of a run."""
LONG_SECONDS: Final = 3600.0
"""No execution waits as long as this."""
FINAL: Final = ("Created", "Reused", "Rejected")

Objects = Mapping[Place, Object]


class Answer(NamedTuple):
    decision: str
    reason: str


class TriggerTimes(NamedTuple):
    """The operator's settings for StoryTriggers."""

    pending_timeout_seconds: float = 86_400.0
    """How long one waits for a later change."""
    retention_seconds: int = 86_400
    """How long one is kept after its answer; 0: for ever."""


USUAL_TIMES: Final = TriggerTimes()


class Requested(NamedTuple):
    """What two requests must have in common to get one run."""

    story: str
    version: str
    impulse: str
    input_hash: str


def answer_to(trigger: Object | None) -> Answer | None:
    """The stored answer; None if there is none, or the StoryTrigger waits."""
    status = (trigger or {}).get("status") or {}
    found = Answer(str(status.get("decision")), str(status.get("reason")))
    return found if found.decision in FINAL else None


def run_name_of(trigger: Object) -> str:
    """The name of the run that a StoryTrigger asks for."""
    namespace, spec = trigger["metadata"]["namespace"], trigger["spec"]
    identity = spec["deliveryIdentity"].get("key") or spec["deliveryIdentity"]["submissionId"]
    return submission.story_run_name(namespace, spec["storyRef"]["name"], identity)


def requested_by(obj: Object) -> Requested:
    """The request of a StoryTrigger, or the one that a StoryRun answers."""
    spec, annotations = obj["spec"], obj["metadata"].get("annotations") or {}
    return Requested(
        spec["storyRef"]["name"],
        spec["storyRef"].get("version") or "",
        (spec.get("impulseRef") or {}).get("name") or "",
        annotations.get(keys.ANNOTATION_TRIGGER_INPUT_HASH) or submission.input_hash(spec.get("inputs")),
    )


def origin_of(run: Object) -> str:
    """The UID of the StoryTrigger that a run was created for; empty if there is none."""
    return str((run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_TRIGGER_REQUEST_UID) or "")


def refusal(trigger: Object) -> Answer | None:
    """The rejection of a request that nothing can mend."""
    spec = trigger["spec"]
    wanted = spec["deliveryIdentity"].get("inputHash")
    if wanted and wanted != submission.input_hash(spec.get("inputs")):
        return Answer("Rejected", "InputHashMismatch")
    if len(json.dumps(spec.get("inputs") or {}, separators=(",", ":"))) > MOST_INLINE_BYTES:
        return Answer("Rejected", "ValidationFailed")
    return None


def obstacle(objects: Objects, trigger: Object) -> str | None:
    """The reason for which a request that can be accepted has to wait."""
    namespace, wanted = trigger["metadata"]["namespace"], requested_by(trigger)
    story = objects.get(("Story", namespace, wanted.story))
    if story is None:
        return "StoryNotFound"
    if wanted.version and wanted.version != story["spec"].get("version"):
        return "StoryVersionMismatch"
    if wanted.impulse and ("Impulse", namespace, wanted.impulse) not in objects:
        return "ImpulseNotFound"
    return None


def breaks_schema(objects: Objects, trigger: Object) -> bool:
    """Whether the inputs break the schema of the Story: a required name is missing, or no integer."""
    story = objects.get(("Story", trigger["metadata"]["namespace"], requested_by(trigger).story)) or {}
    schema: Mapping[str, Any] = (story.get("spec") or {}).get("inputsSchema") or {}
    inputs = trigger["spec"].get("inputs") or {}
    if is_reference(inputs):
        return False  # the run checks the stored inputs
    if any(name not in inputs for name in schema.get("required", ())):
        return True
    integers = [name for name, rule in (schema.get("properties") or {}).items() if rule.get("type") == "integer"]
    return any(name in inputs and type(inputs[name]) is not int for name in integers)


def expected(objects: Objects, trigger: Object) -> Answer:
    """The answer that the operator should give now; ``Pending`` with the reason if the request has to wait."""
    run = objects.get(("StoryRun", trigger["metadata"]["namespace"], run_name_of(trigger)))
    if run is not None and origin_of(run) == trigger["metadata"]["uid"]:
        return Answer("Created", "StoryRunCreated")
    refused = refusal(trigger)
    if refused is not None:
        return refused
    reason = obstacle(objects, trigger)
    if reason is not None:
        return Answer("Pending", reason)
    if breaks_schema(objects, trigger):
        return Answer("Rejected", "ValidationFailed")
    if run is None:
        return Answer("Created", "StoryRunCreated")
    if run["metadata"].get("deletionTimestamp"):
        return Answer("Pending", "StoryRunTerminating")
    if requested_by(run) == requested_by(trigger):
        return Answer("Reused", "StoryRunReused")
    return Answer("Rejected", "StoryRunConflict")


def keeps_seconds(objects: Objects, trigger: Object, times: TriggerTimes) -> float:
    """How long after its answer a StoryTrigger is kept; infinite: longer than any execution, or as long as its run."""
    reference = ((trigger.get("status") or {}).get("storyRunRef")) or {}
    namespace = trigger["metadata"]["namespace"]
    run = objects.get(("StoryRun", namespace, reference.get("name") or ""))
    if not times.retention_seconds or (run is not None and run["metadata"]["uid"] == reference.get("uid")):
        return inf
    seconds = float(times.retention_seconds)
    if reference:
        story = objects.get(("Story", namespace, requested_by(trigger).story))
        kept = kept_by(story["spec"] if story is not None else None).run
        seconds = max(seconds, kept if kept < inf else 0.0)
    return seconds


def until_of(claim: Object) -> datetime:
    """When the lease of a claim ends."""
    spec = claim["spec"]
    since = spec.get("renewTime") or spec.get("acquireTime") or claim["metadata"]["creationTimestamp"]
    found = parse_instant_or_none(since)
    assert found is not None
    return found + timedelta(seconds=spec.get("leaseDurationSeconds") or 600)


def holder_of(claim: Object | None) -> str:
    return str(((claim or {}).get("spec") or {}).get("holderIdentity") or "")


def is_completed(claim: Object | None) -> bool:
    return bool(((claim or {}).get("spec") or {}).get("completionStatus") == "completed")


def phase_of_claim(claim: Object, now: datetime) -> tuple[str, str]:
    """Phase and reason that a claim must show."""
    if is_completed(claim):
        return "Completed", "Completed"
    if not holder_of(claim):
        released = claim["spec"].get("completionStatus") == "released"
        return ("Released", "Released") if released else ("Reserved", "Reserved")
    return "Reserved", "Reserved" if now < until_of(claim) else "LeaseExpired"


def shown_by(claim: Object) -> tuple[str, str]:
    status = claim.get("status") or {}
    reasons = {condition["reason"] for condition in status.get("conditions") or ()}
    return str(status.get("phase") or ""), ", ".join(sorted(reasons))


def is_orphan(objects: Objects, claim: Object) -> bool:
    """Whether the StepRun of a claim is gone, or replaced by another one."""
    reference = claim["spec"]["stepRunRef"]
    step_run = objects.get(("StepRun", claim["metadata"]["namespace"], reference["name"]))
    return step_run is None or step_run["metadata"]["uid"] != reference.get("uid", step_run["metadata"]["uid"])


def anybody_waits(objects: Objects) -> bool:
    """Whether a StoryTrigger has no answer yet."""
    return any(place[0] == "StoryTrigger" and answer_to(obj) is None for place, obj in objects.items())


def are_settled(objects: Objects, times: TriggerTimes) -> bool:
    """Whether StoryTriggers and EffectClaims need nothing more from the operator, for as long as an execution lasts."""
    for place, obj in objects.items():
        if place[0] == "StoryTrigger" and not _is_settled(objects, obj, times):
            return False
        if place[0] == "EffectClaim" and (is_orphan(objects, obj) or not _is_shown(obj)):
            return False
    return True


def _is_shown(claim: Object) -> bool:
    """Whether a claim shows what is true of it; while it is held, only time decides whether its lease has ended."""
    at_first, at_last = (phase_of_claim(claim, until_of(claim) - timedelta(seconds=passed)) for passed in (1, -1))
    return shown_by(claim) in (at_first, at_last)


def answers_of(objects: Objects) -> dict[str, Any]:
    """The end of each StoryTrigger and each claim, without times and UIDs."""
    found: dict[str, Any] = {}
    for place, obj in objects.items():
        status = obj.get("status") or {}
        if place[0] == "StoryTrigger":
            found[place[2]] = (
                status.get("decision"),
                status.get("reason"),
                (status.get("storyRunRef") or {}).get("name"),
            )
        elif place[0] == "EffectClaim":
            found[place[2]] = shown_by(obj), obj["spec"].get("completionStatus")
    return found


def _is_settled(objects: Objects, trigger: Object, times: TriggerTimes) -> bool:
    if answer_to(trigger) is not None:
        return keeps_seconds(objects, trigger, times) >= LONG_SECONDS
    status, wanted = trigger.get("status") or {}, expected(objects, trigger)
    waits = wanted.decision == "Pending" and times.pending_timeout_seconds >= LONG_SECONDS
    return waits and (status.get("decision"), status.get("reason")) == wanted
