"""Which warm workers are alive, by their Leases and a clock of our own. Pure; instants are arguments.

Clocks of different machines are never compared: what counts is how long ago this process has seen ``renewTime`` change.
Every step of a pool may write Leases of its namespace. So a Lease says something of one worker only, that whose Pod has
its name, its holder and its pool, and what is remembered is bounded by the Pods. Source: StepRun contract 3.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.api import keys
from core.api.objects import ReadOnlyObject

LOST_AFTER_SECONDS: Final = 20.0
"""A worker that cannot renew its Lease for 12 s has ended its processes by itself."""
_READY: Final = "ready"


@dataclass(slots=True)
class Heartbeat:
    """What is known of one worker."""

    namespace: str
    name: str
    """Of its Pod and its Lease."""
    pool: str
    """The name of its pool."""
    renewed: str
    """``renewTime``, as it was seen last; empty: never."""
    due: float
    """When it is suspected, unless it renews."""
    renewed_at: float = float("-inf")
    """When this process has seen that."""
    is_ready: bool = False
    """Whether it says that it takes steps."""
    is_lost: bool = False


class Heartbeats:
    """By the UID of the worker's Pod."""

    def __init__(self) -> None:
        self._known: dict[str, Heartbeat] = {}
        self._uids: dict[tuple[str, str], str] = {}
        """By namespace and name of the Pod."""

    def expect(self, pod: ReadOnlyObject, now: float) -> bool:
        """A Pod is there, whose heartbeats must follow; returns whether it is new: its Lease may have come before."""
        metadata = pod["metadata"]
        uid, place = str(metadata["uid"]), (str(metadata["namespace"]), str(metadata["name"]))
        if uid in self._known:
            return False
        if (former := self._uids.get(place)) is not None:
            del self._known[former]
        self._uids[place] = uid
        self._known[uid] = Heartbeat(*place, _pool(pod), "", now + LOST_AFTER_SECONDS)
        return True

    def heard(self, lease: ReadOnlyObject, now: float) -> bool:
        """Take in a Lease, as it is now; returns whether the worker may have become ready.

        One that is not the worker's own is as good as none.
        """
        uid, beat = self._of(lease)
        if beat is None:
            return False
        if not is_of_worker(lease, uid, beat.pool):
            beat.is_ready = False
            return False
        renewed = str((lease.get("spec") or {}).get("renewTime") or "")
        was_usable = beat.is_ready and not beat.is_lost
        if renewed and renewed != beat.renewed:
            beat.renewed, beat.renewed_at = renewed, now
            beat.due, beat.is_lost = now + LOST_AFTER_SECONDS, False
        annotations = lease["metadata"].get("annotations") or {}
        beat.is_ready = annotations.get(keys.ANNOTATION_WORKER_STATE) == _READY
        return beat.is_ready and not beat.is_lost and not was_usable

    def doubt(self, uid: str) -> None:
        """A process of the worker was killed, perhaps the worker itself: it takes nothing until its next heartbeat."""
        if (beat := self._known.get(uid)) is not None:
            beat.is_ready = False

    def lease_gone(self, lease: ReadOnlyObject) -> None:
        """The Lease was deleted: the worker takes nothing new, and is lost if it does not renew in time."""
        _, beat = self._of(lease)
        if beat is not None:
            beat.is_ready = False

    def pod_gone(self, uid: str) -> None:
        if (beat := self._known.pop(uid, None)) is not None:
            del self._uids[beat.namespace, beat.name]

    def _of(self, lease: ReadOnlyObject) -> tuple[str, Heartbeat | None]:
        """The worker whose Lease has this place, with its UID."""
        metadata = lease["metadata"]
        uid = self._uids.get((str(metadata["namespace"]), str(metadata["name"])), "")
        return uid, self._known.get(uid)

    def is_usable(self, uid: str) -> bool:
        """Whether the worker takes steps, as far as its heartbeats say."""
        beat = self._known.get(uid)
        return beat is not None and beat.is_ready and not beat.is_lost

    def is_lost(self, uid: str) -> bool:
        beat = self._known.get(uid)
        return beat is not None and beat.is_lost

    def renewed_at(self, uid: str) -> float:
        """When the worker was seen to renew its Lease for the last time; minus infinity: never."""
        beat = self._known.get(uid)
        return float("-inf") if beat is None else beat.renewed_at

    def suspects(self, now: float) -> Iterator[tuple[str, Heartbeat]]:
        """Those who have not renewed in time, with their UIDs: confirm, then ``lose`` or ``ask_later``."""
        found = [(uid, beat) for uid, beat in self._known.items() if not beat.is_lost and beat.due <= now]
        yield from found

    def lose(self, uid: str) -> None:
        if (beat := self._known.get(uid)) is not None:
            beat.is_lost = True

    def ask_later(self, uid: str, due: float) -> None:
        if (beat := self._known.get(uid)) is not None:
            beat.due = max(beat.due, due)

    @property
    def next_due(self) -> float:
        """When the next worker is suspected; infinite: none."""
        return min((beat.due for beat in self._known.values() if not beat.is_lost), default=float("inf"))


def is_of_worker(lease: ReadOnlyObject, uid: str, pool: str) -> bool:
    """Whether the worker of that pool, whose Pod has the name of the Lease and this UID, can have written it."""
    return (lease.get("spec") or {}).get("holderIdentity") == uid and _pool(lease) == pool


def _pool(obj: ReadOnlyObject) -> str:
    return str((obj["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL) or "")
