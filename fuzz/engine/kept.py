"""How long runs are kept after their end, read from a Story independently of the operator's code."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Final, NamedTuple

from fuzz.engine.cluster import Write

DEFAULT_TTL_SECONDS: Final = 3600.0
DEFAULT_RETENTION_SECONDS: Final = 86400.0


class Kept(NamedTuple):
    """Seconds after the end of a run; infinite: never deleted."""

    children: float
    run: float


def kept_by(spec: Mapping[str, Any] | None) -> Kept:
    """The times in a Story for its runs and their children; the operator's defaults if the Story does not exist."""
    job, unset = _said(spec), DEFAULT_TTL_SECONDS
    ttl, retention = job.get("ttlSecondsAfterFinished"), job.get("storyRunRetentionSeconds")
    if (spec or {}).get("pattern") == "realtime":
        own = _said(spec, "realtime").get("ttlSecondsAfterFinished")
        ttl, unset = ttl if own is None else own, inf
    children = unset if ttl is None else inf if ttl < 0 else float(ttl)
    if retention is not None and retention < 0:
        return Kept(children, 0.0)
    run = inf if retention == 0 else DEFAULT_RETENTION_SECONDS if retention is None else float(retention)
    return Kept(children, max(run, children) if children < inf else run)


def due_by(spec: Mapping[str, Any] | None) -> Kept:
    """The same, but only times that the Story sets itself: no execution lasts as long as the defaults."""
    children, run = kept_by(spec)
    return Kept(children if children < DEFAULT_TTL_SECONDS else inf, run if run < DEFAULT_TTL_SECONDS else inf)


def is_going(write: Write) -> bool:
    """Whether this write deletes an object or starts its deletion."""
    return write.new is None or bool(write.new["metadata"].get("deletionTimestamp"))


def is_cleaned(write: Write) -> bool:
    """Whether this write of a run records that its children are gone."""
    old, new = ((obj or {}).get("status") or {} for obj in (write.old, write.new))
    return bool(new.get("childrenCleanedAt")) and old.get("childrenCleanedAt") != new.get("childrenCleanedAt")


def _said(spec: Mapping[str, Any] | None, of: str = "job") -> Mapping[str, Any]:
    policy = (spec or {}).get("policy") or {}
    return (policy.get("execution") or {}).get(of) or {}
