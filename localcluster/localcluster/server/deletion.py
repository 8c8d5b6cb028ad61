"""The effect of a delete on an object: deleted at once, marked for deletion, or nothing if it is already marked.

Pure: follows from the stored object, the options and the current time. This module sets the finalizers ``orphan`` and
``foregroundDeletion``; the garbage controller acts on them. Source: kube-apiserver's ``BeforeDelete`` and generic
registry store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from localcluster.clock import to_time
from localcluster.server import crds, errors
from localcluster.server.objectmeta import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from localcluster.server.options import DeleteOptions, Preconditions, Propagation
from localcluster.server.types import Object, ResourceType

DEFAULT_POD_GRACE_SECONDS: Final = 30
_FINISHED_PHASES: Final = ("Succeeded", "Failed")
_RETURNS_OBJECT: Final = frozenset(
    {"pods", "services", "serviceaccounts", "namespaces", "persistentvolumeclaims", "podtemplates", "resourcequotas"}
)
"""Core kinds for which the answer to a delete is the deleted object, not a Status."""


@dataclass(frozen=True)
class Gone:
    """Remove the object now; clients see it as ``last``."""

    last: Object


@dataclass(frozen=True)
class Marked:
    """Store ``obj``: it has a deletion timestamp and waits for finalizers or for the end of its grace period."""

    obj: Object


@dataclass(frozen=True)
class Pending:
    """Nothing to do: a graceful deletion is under way that ends no later."""


Outcome: TypeAlias = Gone | Marked | Pending


def check_preconditions(current: Object, wanted: Preconditions, resource: ResourceType) -> None:
    """Refuse when the object has another UID or resource version than the caller expects.

    Raises:
        StatusError: 409.
    """
    metadata = current["metadata"]
    if wanted.uid is not None and wanted.uid != metadata.get("uid"):
        why = (
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({metadata.get('uid')}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(resource.group, resource.kind, metadata["name"], why)
    if wanted.resource_version is not None and wanted.resource_version != metadata.get("resourceVersion"):
        why = (
            f"the ResourceVersion in the precondition ({wanted.resource_version}) does not match the ResourceVersion "
            f"in record ({metadata.get('resourceVersion')}). The object might have been modified"
        )
        raise errors.conflict(resource.group, resource.kind, metadata["name"], why)


def decide(current: Object, resource: ResourceType, options: DeleteOptions, now: datetime) -> Outcome:
    """The effect of the delete; ``current`` is not changed."""
    metadata = {**current["metadata"]}
    obj = {**current, "metadata": metadata}
    graceful = _graceful(obj, resource, options, now)
    if isinstance(graceful, Pending):
        return graceful
    finalizers = _finalizers(metadata.get("finalizers", []), resource, options)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    if resource.group == "" and resource.plural == "namespaces":
        return _mark_namespace(obj, now)
    if resource.group == "apiextensions.k8s.io" and "deletionTimestamp" not in metadata:
        crds.begin_termination(obj, now)
        metadata["deletionTimestamp"] = to_time(now)
        return Marked(obj)
    if graceful:
        return Marked(obj) if finalizers or metadata["deletionGracePeriodSeconds"] > 0 else Gone(obj)
    if not finalizers:
        return Gone(current)
    mark(metadata, now)
    return Marked(obj)


def mark(metadata: Object, now: datetime) -> None:
    """Set the deletion timestamp to ``now`` without grace, in place; the first mark raises the generation."""
    existing = metadata.get("deletionTimestamp")
    if existing is None and metadata.get("generation", 0) > 0:
        metadata["generation"] += 1
    if existing is None or parse_time(existing) > now:
        metadata["deletionTimestamp"] = to_time(now)
    metadata["deletionGracePeriodSeconds"] = 0


def returns_object(resource: ResourceType) -> bool:
    """Whether the answer to a completed delete is the object."""
    return resource.group == "" and resource.plural in _RETURNS_OBJECT


def success(resource: ResourceType, obj: Object) -> Object:
    """The Status that answers a completed delete."""
    details = {"name": obj["metadata"]["name"], "group": resource.group, "kind": resource.plural}
    details["uid"] = obj["metadata"].get("uid", "")
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {name: value for name, value in details.items() if value},
    }


def parse_time(text: str) -> datetime:
    """A time in the RFC 3339 form that the API writes."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _graceful(obj: Object, resource: ResourceType, options: DeleteOptions, now: datetime) -> bool | Pending:
    """Whether the object now has a grace period of its own; only Pods have one."""
    if resource.group or resource.plural != "pods":
        return False
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    asked = options.grace_period_seconds
    if asked is not None and asked < 0:
        asked = 1
    if "deletionTimestamp" in metadata:
        return _shorten(metadata, asked, now)
    period = spec.get("terminationGracePeriodSeconds", DEFAULT_POD_GRACE_SECONDS) if asked is None else asked
    if not spec.get("nodeName") or status.get("phase") in _FINISHED_PHASES:
        period = 0  # no node runs it, so no grace is needed
    metadata["deletionTimestamp"] = to_time(now + timedelta(seconds=period))
    metadata["deletionGracePeriodSeconds"] = period
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1
    return True


def _shorten(metadata: Object, asked: int | None, now: datetime) -> bool | Pending:
    """Shorten a grace period; it never becomes longer, and only a period of zero forces the end."""
    running = metadata.get("deletionGracePeriodSeconds") or 0
    if running == 0:
        return False
    if asked is None or asked >= running:
        return Pending()
    ends_at = parse_time(metadata["deletionTimestamp"]) + timedelta(seconds=asked - running)
    if ends_at < now:
        ends_at, asked = now, min(asked, 1)
    metadata["deletionTimestamp"] = to_time(ends_at)
    metadata["deletionGracePeriodSeconds"] = asked
    return True


def _mark_namespace(obj: Object, now: datetime) -> Outcome:
    """Mark a namespace; it is deleted only after its controller has emptied it and removed the last spec finalizer."""
    metadata = obj["metadata"]
    if not metadata.get("finalizers") and not (obj.get("spec") or {}).get("finalizers"):
        return Gone(obj)
    if "deletionTimestamp" in metadata and (obj.get("status") or {}).get("phase") == "Terminating":
        return Pending()
    metadata.setdefault("deletionTimestamp", to_time(now))
    obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return Marked(obj)


def _finalizers(present: list[str], resource: ResourceType, options: DeleteOptions) -> list[str]:
    """The finalizers that follow from the propagation policy, which overrides earlier ones."""
    if resource.group == "" and resource.plural == "events":
        return list(present)
    policy = options.propagation
    if policy is None and ORPHAN_FINALIZER in present:
        policy = Propagation.ORPHAN
    elif policy is None and FOREGROUND_FINALIZER in present:
        policy = Propagation.FOREGROUND
    kept = [name for name in present if name not in (ORPHAN_FINALIZER, FOREGROUND_FINALIZER)]
    match policy:
        case Propagation.ORPHAN:
            return [*kept, ORPHAN_FINALIZER]
        case Propagation.FOREGROUND:
            return [*kept, FOREGROUND_FINALIZER]
        case _:
            return kept
