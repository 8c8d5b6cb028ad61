"""What a StoryTrigger waits for, or why it was rejected. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api.conditions import find_condition
from core.api.objects import Object
from core.workloads.keyed_request import Decision
from core.workloads.trigger import TriggerReason, is_answered, request_of
from views.text import one_line
from views.why.cause import Cause, CauseKind, CommandIn, Explanation

_KINDS: Final = {
    TriggerReason.STORY_NOT_FOUND: CauseKind.STORY,
    TriggerReason.STORY_VERSION_MISMATCH: CauseKind.STORY,
    TriggerReason.REFERENCE_NOT_GRANTED: CauseKind.REFERENCE,
    TriggerReason.REFERENCE_REFUSED: CauseKind.REFERENCE,
    TriggerReason.IMPULSE_NOT_FOUND: CauseKind.REFERENCE,
    TriggerReason.IMPULSE_MISMATCH: CauseKind.REFERENCE,
    TriggerReason.PERMISSION_DENIED: CauseKind.PERMISSION,
    TriggerReason.STORAGE_UNAVAILABLE: CauseKind.STORAGE,
    TriggerReason.STORY_RUN_TERMINATING: CauseKind.DELETION,
}
_WHO: Final = {
    CauseKind.STORY: "the owner of the Story's manifest",
    CauseKind.REFERENCE: "the owner of the object that it names; the operator continues by itself",
    CauseKind.PERMISSION: "a cluster administrator; the operator continues by itself once it has the permission",
    CauseKind.STORAGE: "an administrator of the object store; the operator continues by itself once it answers",
    CauseKind.DELETION: "the operator, when the run has been deleted",
}


def explain_trigger(trigger: Object, command: CommandIn) -> Explanation:
    """Explains a StoryTrigger that has no run to explain."""
    metadata, status = trigger["metadata"], trigger.get("status") or {}
    causes = () if _is_done(status) else (_cause(trigger, command),)
    run = str((status.get("storyRunRef") or {}).get("name") or "")
    return Explanation(
        namespace=metadata["namespace"],
        run="",
        step="",
        story=request_of(trigger).story.name,
        phase=str(status.get("decision") or Decision.PENDING),
        message=one_line(status.get("message") or ""),
        since=parse_instant_or_none(status.get("acceptedAt") or metadata["creationTimestamp"]),
        until=None,
        causes=causes,
        later=(),
        unseen=(),
        summary="" if causes else f"was {status.get('decision')}; its run {run} has been removed since",
        trigger=metadata["name"],
    )


def _is_done(status: Object) -> bool:
    return status.get("decision") in (Decision.CREATED, Decision.REUSED)


def _cause(trigger: Object, command: CommandIn) -> Cause:
    status, namespace, name = trigger.get("status") or {}, trigger["metadata"]["namespace"], trigger["metadata"]["name"]
    message, reason = one_line(status.get("message") or ""), str(status.get("reason") or "")
    if is_answered(trigger):
        text = f"was rejected ({reason}): {message}"
        who = "a user who corrects the cause, deletes this StoryTrigger and submits the request again"
        deletion = (f"kubectl delete storytrigger {name} --namespace {namespace}",)
        return _about(trigger, CauseKind.FAILED, text, _since(status, "Degraded"), who, deletion)
    kind = next((kind for known, kind in _KINDS.items() if known == reason), None)
    if kind is None:
        text = "has not been seen by an operator yet"
        who = "an administrator: check that an operator runs for this namespace"
        created_at = parse_instant_or_none(trigger["metadata"]["creationTimestamp"])
        return _about(trigger, CauseKind.OPERATOR, text, created_at, who)
    commands: tuple[str, ...] = ()
    if kind is CauseKind.STORY:
        commands = ("kubectl apply --filename STORY.yaml",)
    elif kind is CauseKind.DELETION:
        commands = (command(namespace, "get", request_of(trigger).run_name),)
    since = parse_instant_or_none(status.get("acceptedAt"))
    return _about(trigger, kind, f"waits ({reason}): {message}", since, _WHO[kind], commands)


def _since(status: Object, condition: str) -> datetime | None:
    found = find_condition(status.get("conditions") or (), condition) or {}
    return parse_instant_or_none(found.get("lastTransitionTime"))


def _about(
    trigger: Object,
    kind: CauseKind,
    text: str,
    since: datetime | None,
    who: str,
    commands: tuple[str, ...] = (),
) -> Cause:
    metadata = trigger["metadata"]
    return Cause(kind, metadata["namespace"], "", "", text, since, who=who, commands=commands, trigger=metadata["name"])
