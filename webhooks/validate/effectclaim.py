"""Rules for an EffectClaim beyond its schema. Source: admission contract 11.

Times are compared exactly. Only a ``completedAt`` of a whole second is compared in whole seconds, because the Go SDK
sends it without the fraction that ``renewTime`` of the same instant has. The clock is not read: the holder itself
writes the time at which it took the lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bubu_contract.instants import format_precise_instant, parse_instant_or_none
from bubu_contract.submission import claim_name
from core.api.objects import ReadOnlyObject
from core.api.resource import EFFECT_CLAIM, STEP_RUN
from core.api.text import text
from core.workloads.effect_lease import ABANDONED, COMPLETED, lease_of
from core.workloads.restored import is_restored_child
from webhooks.caller import Caller
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate import change, reference, submission
from webhooks.validate.change import fields_of, metadata_of, namespace_of
from webhooks.validate.container import ServedStep, works_for

BLANK: Final = Rule("claim/effect-key", "11", CauseType.REQUIRED)
COMPLETION: Final = Rule("claim/completion", "11", CauseType.REQUIRED)
TIMES: Final = Rule("claim/times", "11")
NAMESPACE: Final = Rule("claim/namespace", "11", CauseType.FORBIDDEN)
STEP_RUN_MISSING: Final = Rule("claim/step-run-missing", "11", CauseType.NOT_FOUND)
STEP_RUN_UID: Final = Rule("claim/step-run-uid", "11")
IDENTITY_FROZEN: Final = Rule("claim/identity-frozen", "11", CauseType.FORBIDDEN)
COMPLETED_FROZEN: Final = Rule("claim/completed-frozen", "11", CauseType.FORBIDDEN)
COMPLETED_BACK: Final = Rule("claim/completed-back", "11", CauseType.FORBIDDEN)
LEASE_HELD: Final = Rule("claim/lease-held", "11", CauseType.FORBIDDEN)
AUTHOR: Final = Rule("claim/author", "11", CauseType.FORBIDDEN)

_ORDERED: Final = (("acquireTime", "renewTime"), ("acquireTime", "completedAt"), ("renewTime", "completedAt"))
_LEASE: Final = ("holderIdentity", "leaseDurationSeconds", "leaseTransitions")
_LEASE_TIMES: Final = ("acquireTime", "renewTime")


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a claim that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    findings = [*_outcome(new["spec"]), *_times(new["spec"])]
    if old is None:
        findings += _identity(new, world)
    else:
        before = fields_of(old.get("spec"))
        findings += _transition(new["spec"], _relinked(before, new, world))
        findings += _takeover(new["spec"], old)
    return findings


def check_author(
    new: ReadOnlyObject, old: ReadOnlyObject | None, caller: Caller, world: ClusterView
) -> Iterator[Finding]:
    """A finding if the caller is not a container of the claim's StepRun: only those create, complete or release it.

    A later attempt of the same step takes over a claim from another Pod.
    """
    if old is not None and not change.is_spec_changed(new, old):
        return
    spec = fields_of((new if old is None else old).get("spec"))
    wanted = reference.link(EFFECT_CLAIM, namespace_of(new), STEP_RUN, fields_of(spec.get("stepRunRef")))
    found = reference.find(wanted, world)
    space = namespace_of(new)
    step = ServedStep(space, wanted.name) if isinstance(found, Unseen) else ServedStep.of(found, space)
    if not works_for(caller, step, world):
        message = f"only containers of StepRun {wanted.name} may write its claims"
        yield AUTHOR.at("spec.stepRunRef.name", message, "claim effects of the step that performs them")


def _outcome(spec: ReadOnlyObject) -> Iterator[Finding]:
    status, completed_at = spec.get("completionStatus"), spec.get("completedAt")
    if status == COMPLETED and not completed_at:
        yield COMPLETION.at(
            "spec.completedAt", "is required with completionStatus completed", "add the time of completion"
        )
    elif completed_at and not status:
        yield COMPLETION.at("spec.completionStatus", "is required with completedAt", "add completionStatus")


def _times(spec: ReadOnlyObject) -> Iterator[Finding]:
    if spec.get("renewTime") and not spec.get("acquireTime"):
        yield TIMES.at("spec.renewTime", "needs acquireTime", "add acquireTime")
    for earlier, later in _ORDERED:
        first, second = _time(spec, earlier), _time(spec, later)
        if first is None or second is None:
            continue
        if second < (_comparable(first, second) if later == "completedAt" else first):
            yield TIMES.at(f"spec.{later}", f"is before {earlier}", f"use {spec[earlier]} or later")


def _identity(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec, namespace = new["spec"], namespace_of(new)
    wanted, key = reference.link(EFFECT_CLAIM, namespace, STEP_RUN, spec["stepRunRef"]), text(spec.get("effectKey"))
    if not key:
        yield BLANK.at("spec.effectKey", "must not be blank", "name the effect")
    else:
        name = claim_name(wanted.namespace, wanted.name, key)
        yield from submission.check_name(new, name, "StepRun and effect key")
    if namespace and wanted.namespace != namespace:
        message = f"a claim in namespace {namespace} cannot refer to a StepRun in {wanted.namespace}"
        yield NAMESPACE.at("spec.stepRunRef.namespace", message, "create the claim in the StepRun's namespace")
        return
    found = reference.find(wanted, world)
    yield from reference.missing(STEP_RUN_MISSING, wanted, found, "spec.stepRunRef.name")
    uid = text(spec["stepRunRef"].get("uid"))
    if uid and not isinstance(found, Unseen) and uid != (found.get("metadata") or {}).get("uid"):
        yield STEP_RUN_UID.at(
            "spec.stepRunRef.uid", f"{wanted} has been replaced by another object", "use the uid of the current one"
        )


def _transition(new: ReadOnlyObject, old: ReadOnlyObject) -> Iterator[Finding]:
    for path, before, after in _identities(new, old):
        if before != after:
            yield IDENTITY_FROZEN.at(f"spec.{path}", "may not be changed", "create another claim")
    was, is_ = _time(old, "completedAt"), _time(new, "completedAt")
    if was and (is_ is None or is_ < _comparable(was, is_)):
        yield COMPLETED_BACK.at("spec.completedAt", "may not be cleared or moved back", f"use {old['completedAt']}")
    if old.get("completionStatus") != COMPLETED:
        return
    if new.get("completionStatus") != COMPLETED:
        yield COMPLETED_FROZEN.at("spec.completionStatus", "a completed effect stays completed", "use completed")
    changed = change.changed_fields(_trimmed(new), _trimmed(old), _LEASE)
    moved = (key for key in _LEASE_TIMES if _time(new, key) != _time(old, key))
    for field in (*changed, *moved):
        yield COMPLETED_FROZEN.at(
            f"spec.{field}", "may not be changed after the effect is completed", "leave it unchanged"
        )


def _relinked(before: ReadOnlyObject, new: ReadOnlyObject, world: ClusterView) -> ReadOnlyObject:
    """The spec before the change. If a backup has brought its StepRun back, it may change to the new UID of that."""
    old_reference, reference_ = fields_of(before.get("stepRunRef")), new["spec"]["stepRunRef"]
    uid = text(reference_.get("uid"))
    if uid == text(old_reference.get("uid")):
        return before
    found = reference.find(reference.link(EFFECT_CLAIM, namespace_of(new), STEP_RUN, reference_), world)
    if isinstance(found, Unseen) or uid != metadata_of(found).get("uid") or not is_restored_child(found):
        return before
    return {**before, "stepRunRef": {**old_reference, "uid": uid}}


def _identities(new: ReadOnlyObject, old: ReadOnlyObject) -> Iterator[tuple[str, str, str]]:
    for key in ("name", "namespace", "uid"):
        before, after = (text(fields_of(spec.get("stepRunRef")).get(key)) for spec in (old, new))
        yield f"stepRunRef.{key}", before, after
    for key in ("effectKey", "idempotencyKey"):
        yield key, text(old.get(key)), text(new.get(key))


def _takeover(new: ReadOnlyObject, old: ReadOnlyObject) -> Iterator[Finding]:
    """A finding if another holder took the lease before it expired.

    ``released`` alone does not free a claim: a client that takes a released claim may leave it there.
    """
    lease, after = lease_of(old), text(new.get("holderIdentity"))
    if not lease.holder or lease.until is None or after in ("", lease.holder):
        return
    if fields_of(old.get("spec")).get("completionStatus") in (COMPLETED, ABANDONED):
        return
    taken = _time(new, "acquireTime")
    if taken is None or taken < lease.until:
        message = f"another holder has the lease until {format_precise_instant(lease.until)}"
        yield LEASE_HELD.at("spec.holderIdentity", message, "wait until it expires, and set acquireTime")


def _trimmed(spec: ReadOnlyObject) -> ReadOnlyObject:
    return {**spec, "holderIdentity": text(spec.get("holderIdentity"))}


def _time(spec: ReadOnlyObject, key: str) -> datetime | None:
    """The instant; None also for an old object that was stored without a schema."""
    return parse_instant_or_none(text(spec.get(key)))


def _comparable(earlier: datetime, completed_at: datetime) -> datetime:
    """``earlier``, in whole seconds if ``completed_at`` is in whole seconds."""
    return earlier if completed_at.microsecond else earlier.replace(microsecond=0)
