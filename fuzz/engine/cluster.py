"""An API server small enough to reason about: objects with UIDs and resourceVersions, preconditions, a full history.

Synchronous: whoever calls decides where time passes. Not modelled: admission, watch caches (``world`` delays, repeats
and drops the wake-ups instead).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.engine.errors import GoneError, StaleError
from core.kube.wire import apply_merge_patch, copy_value, values_equal

Object = dict[str, Any]
Place = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True)
class Write:
    """One effective write, in the order in which the server accepted it."""

    number: int
    at: datetime
    actor: str
    verb: str
    place: Place
    old: Object | None
    new: Object | None


@dataclass
class Cluster:
    now: Callable[[], datetime]
    objects: dict[Place, Object] = field(default_factory=dict)
    history: list[Write] = field(default_factory=list)
    listeners: list[Callable[[Write], None]] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        stored = self.objects.get((kind, namespace, name))
        return copy_value(stored) if stored is not None else None

    def list(self, kind: str, namespace: str) -> list[Object]:
        return [
            copy_value(stored)
            for (kind_, namespace_, _), stored in sorted(self.objects.items())
            if (kind_, namespace_) == (kind, namespace)
        ]

    def list_all(self, kind: str) -> list[Object]:
        """Of every namespace."""
        return [copy_value(stored) for place, stored in sorted(self.objects.items()) if place[0] == kind]

    def create(self, actor: str, manifest: Object) -> Object | None:
        """The created object, or None when the name is taken."""
        place = (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if place in self.objects:
            return None
        number = next(self._numbers)
        new = copy_value(manifest)
        new["metadata"] |= {"uid": f"uid-{number}", "resourceVersion": str(number), "generation": 1}
        new["metadata"]["creationTimestamp"] = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._commit(number, actor, "create", place, None, new)
        return copy_value(new)

    def patch(self, actor: str, seen: Object, part: str, patch: Object) -> Object:
        """Merge ``patch`` into ``part`` of the object, if it still is the version that was seen."""
        place = (seen["kind"], seen["metadata"]["namespace"], seen["metadata"]["name"])
        stored = self.objects.get(place)
        if stored is None or stored["metadata"]["uid"] != seen["metadata"]["uid"]:
            raise GoneError(f"{place} is gone")
        if stored["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise StaleError(f"{place} has moved on")
        return self.force_patch(actor, place, part, patch)

    def force_patch(self, actor: str, place: Place, part: str, patch: Object) -> Object:
        """A patch without preconditions, as SDKs and users send it; an effectless one changes no version."""
        stored = self.objects[place]
        new = copy_value(stored)
        new[part] = apply_merge_patch(new.get(part) or {}, patch)
        if not values_equal(new, stored):
            number = next(self._numbers)
            new["metadata"]["resourceVersion"] = str(number)
            if part == "spec":
                new["metadata"]["generation"] += 1
            self._commit(number, actor, f"patch {part}", place, stored, new)
        return copy_value(self.objects[place])

    def delete(self, actor: str, place: Place, *, uid: str | None = None) -> None:
        """Remove the object and everything it owns; absent, or another one than ``uid``, is fine."""
        stored = self.objects.get(place)
        if stored is None or (uid is not None and stored["metadata"]["uid"] != uid):
            return
        self._commit(next(self._numbers), actor, "delete", place, stored, None)
        uid = stored["metadata"]["uid"]
        for other, object_ in list(self.objects.items()):
            owners = object_["metadata"].get("ownerReferences") or ()
            if any(owner["uid"] == uid for owner in owners):
                self.delete("garbage-collector", other)

    def _commit(self, number: int, actor: str, verb: str, place: Place, old: Object | None, new: Object | None) -> None:
        if new is None:
            del self.objects[place]
        else:
            self.objects[place] = new
        write = Write(number, self.now(), actor, verb, place, old, new)
        self.history.append(write)
        for listener in self.listeners:
            listener(write)
