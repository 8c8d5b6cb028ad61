"""The versions of objects that this process knows from answers to its requests: their events bring nothing.

Two fifths of the events of a one-step run, and three fifths of those of a warm step, are about writes of the operator.
Such an event is recognized from its text, without parsing it. Pure.
"""

from __future__ import annotations

from typing import Final

from core.kube.watch_line import stored_version
from kubewire import Object

REMEMBERED: Final = 4096
"""Versions whose events have not come; that of a forgotten one is read like any other."""


class OwnVersions:
    """Of one kind. Each version is recognized once."""

    def __init__(self) -> None:
        self._uids: dict[str, bytes] = {}
        """By version; the oldest first."""

    def __len__(self) -> int:
        return len(self._uids)

    def add(self, obj: Object) -> None:
        """The cache has this version of the object, or a newer one."""
        metadata = obj["metadata"]
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if version and uid:
            if len(self._uids) >= REMEMBERED:
                del self._uids[next(iter(self._uids))]
            self._uids[version] = f'"uid":"{uid}"'.encode()

    def take(self, line: bytes) -> bool:
        """Whether a line of the watch is about one of these versions, of the same object."""
        if not self._uids:
            return False
        uid = self._uids.pop(stored_version(line), None)
        return uid is not None and uid in line

    def clear(self) -> None:
        self._uids.clear()
