"""How one recognizes an object that a backup has brought back: it has another UID than it had. Pure.

A tool such as Velero creates the objects of a backup again, one by one. The API server gives them new UIDs and creation
times; it restores the status only if it is asked to, and drops owner references or keeps the old UIDs in them. What
stays is what the operator has stored in the objects: in the status of a run its UID (``status.observedUid``), in
StepRuns and child runs the UID of the run that created them, and, by admission, the time of the first creation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api import keys
from core.api.objects import Object, ReadOnlyObject, controller_of

LONGEST_SKEW: Final = timedelta(minutes=5)
"""The clocks of API server, admission and operator differ by less."""


def is_restored_run(run: ReadOnlyObject) -> bool:
    """Whether a backup has brought the StoryRun back, and the operator has not taken it over since.

    ``status.observedUid`` decides, if the status has it. Else the marks of the object decide.
    """
    observed = str((run.get("status") or {}).get("observedUid") or "")
    if observed:
        return observed != str(run["metadata"].get("uid"))
    return was_created_before(run) or is_alien(run)


def former_uid(run: ReadOnlyObject) -> str:
    """The UID that a restored run had when its status was written; empty if that is unknown, or is its present one."""
    observed = str((run.get("status") or {}).get("observedUid") or "")
    return observed if observed != run["metadata"].get("uid") else ""


def was_created_before(obj: ReadOnlyObject) -> bool:
    """Whether the object is a copy of an earlier one of its name: Velero says so, or it was created, or was worked on,
    long before its ``creationTimestamp``.
    """
    metadata, status = obj["metadata"], obj.get("status") or {}
    if keys.LABEL_VELERO_RESTORE in (metadata.get("labels") or {}):
        return True
    made = parse_instant_or_none(metadata.get("creationTimestamp"))
    instants = (_first_creation(obj), *(parse_instant_or_none(status.get(key)) for key in ("startedAt", "acceptedAt")))
    return made is not None and any(each + LONGEST_SKEW < made for each in instants if each is not None)


def created_mark(metadata: ReadOnlyObject, now: datetime) -> str:
    """The value of ``ANNOTATION_CREATED`` for an object that is being created: the one that it has, or a new one.

    An object that a user has copied under another name is a new one. With ``generateName``, the beginning of the name
    stands for it.
    """
    stored = str((metadata.get("annotations") or {}).get(keys.ANNOTATION_CREATED) or "")
    name = str(metadata.get("name") or metadata.get("generateName") or "")
    return stored if _names(stored, name) else f"{name} {format_instant(now)}"


def with_created_mark(obj: ReadOnlyObject, now: datetime) -> Object:
    """A copy of a StoryRun or StoryTrigger that is being created, with the mark; it also asks Velero for the status."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    marks = {
        keys.ANNOTATION_VELERO_STATUS: "true",
        **annotations,
        keys.ANNOTATION_CREATED: created_mark(metadata, now),
    }
    return {**obj, "metadata": {**metadata, "annotations": marks}}


def is_alien(child: ReadOnlyObject) -> bool:
    """Whether the run that has created this StepRun or child run is not the one that controls it."""
    creator = creator_of(child)
    return bool(creator) and creator != (controller_of(child) or {}).get("uid")


def creator_of(child: ReadOnlyObject) -> str:
    """The UID of the run that has created a StepRun or child run; empty if it is not recorded."""
    return str((child["metadata"].get("annotations") or {}).get(keys.ANNOTATION_CREATED_BY_RUN) or "")


def is_restored_child(child: ReadOnlyObject) -> bool:
    """Whether a backup has brought a StepRun back, whether or not it was taken over since."""
    return is_alien(child) or keys.ANNOTATION_RESTORED_AT in (child["metadata"].get("annotations") or {})


def _first_creation(obj: ReadOnlyObject) -> datetime | None:
    mark = str((obj["metadata"].get("annotations") or {}).get(keys.ANNOTATION_CREATED) or "")
    name = str(obj["metadata"].get("name") or "")
    return parse_instant_or_none(mark.rpartition(" ")[2]) if _names(mark, name) else None


def _names(mark: str, name: str) -> bool:
    """Whether a value of ``ANNOTATION_CREATED`` belongs to an object of that name."""
    marked, _, instant = mark.rpartition(" ")
    if not marked or parse_instant_or_none(instant) is None:
        return False
    return name == marked or (marked.endswith("-") and name.startswith(marked))
