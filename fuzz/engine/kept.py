"""How long what has ended is kept, read off a Story apart from how the operator reads it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Final, NamedTuple

from fuzz.engine.cluster import Write

DEFAULT_TTL_SECONDS: Final = 3600.0
DEFAULT_RETENTION_SECONDS: Final = 86400.0


class Kept(NamedTuple):
    """Seconds after the end of a run; infinite: for ever."""

    children: float
    run: float


def kept_by(spec: Mapping[str, Any] | None) -> Kept:
    """What a Story says of its runs and their children; of none that is there, the operator's settings count."""
    job = _said(spec)
    ttl, retention = job.get("ttlSecondsAfterFinished"), job.get("storyRunRetentionSeconds")
    children = DEFAULT_TTL_SECONDS if ttl is None else inf if ttl < 0 else float(ttl)
    if retention is not None and retention < 0:
        return Kept(children, 0.0)
    run = inf if retention == 0 else DEFAULT_RETENTION_SECONDS if retention is None else float(retention)
    return Kept(children, max(run, children) if children < inf else run)


def due_by(spec: Mapping[str, Any] | None) -> Kept:
    """The same, of what the Story names itself: for everything else no execution lasts long enough."""
    children, run = kept_by(spec)
    return Kept(children if children < DEFAULT_TTL_SECONDS else inf, run if run < DEFAULT_TTL_SECONDS else inf)


def is_going(write: Write) -> bool:
    """Whether an object is removed with this write, or is on its way out."""
    return write.new is None or bool(write.new["metadata"].get("deletionTimestamp"))


def is_cleaned(write: Write) -> bool:
    """Whether a run records with this write that its children are gone."""
    old, new = ((obj or {}).get("status") or {} for obj in (write.old, write.new))
    return bool(new.get("childrenCleanedAt")) and old.get("childrenCleanedAt") != new.get("childrenCleanedAt")


def _said(spec: Mapping[str, Any] | None) -> Mapping[str, Any]:
    policy = (spec or {}).get("policy") or {}
    return (policy.get("execution") or {}).get("job") or {}
