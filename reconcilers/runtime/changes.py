"""Predicates on changes, for the watches of controllers. Pure."""

from __future__ import annotations

from core.api.objects import Object
from core.kube.informer import Change


def always(change: Change) -> bool:
    """Every change counts."""
    del change
    return True


def spec_changed(change: Change) -> bool:
    """The object appeared or disappeared, has a new generation, or its deletion was requested. Its status does not
    count.
    """
    if change.old is None or change.new is None:
        return True
    old, new = change.old["metadata"], change.new["metadata"]
    return bool(
        old.get("generation") != new.get("generation") or old.get("deletionTimestamp") != new.get("deletionTimestamp")
    )


def phase_changed(change: Change) -> bool:
    """``status.phase`` differs. An object that does not exist, and one without a phase, count as the same phase."""
    return _phase(change.old) != _phase(change.new)


def versions(change: Change) -> list[Object]:
    """The old and the new version, if they exist: an object that is no longer referred to is concerned, too."""
    return [obj for obj in (change.old, change.new) if obj is not None]


def _phase(obj: Object | None) -> str:
    phase: str = ((obj or {}).get("status") or {}).get("phase", "")
    return phase
