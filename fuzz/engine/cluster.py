"""A model of an API server: objects with UIDs and versions, preconditions, finalizers, owners, and the whole history.

It is synchronous and has no time of its own: the caller decides when time passes. All readers share the objects in it
and in its answers, as in the caches of a process, so nobody may change them. It must pass the rules of
tests/conformance that localcluster and a real API server pass. Not modelled: admission and schemas, users and rights,
namespaces as objects, apply, JSON and strategic patches, foreground deletion.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from core.api.objects import Object
from kubewire import copy_value, values_equal

Objects: TypeAlias = list[Object]  # inside Cluster, ``list`` is the method
Place = tuple[str, str, str]
"""Kind, namespace, name."""

GARBAGE_COLLECTOR: Final = "garbage-collector"
WITHOUT_GENERATION: Final = frozenset({"ConfigMap", "Secret", "ControllerRevision", "Pod"})
WITHOUT_STATUS: Final = frozenset({"ConfigMap", "Secret", "ControllerRevision"})
"""Kinds without a status subresource."""

_GIVEN: Final = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)
"""The fields of ``metadata`` that only the server writes, besides the version."""


_KEPT: Final = (*_GIVEN, "name", "namespace", "resourceVersion")


class RefusedError(Exception):
    """An answer that is a failure: its HTTP code, the reason of the Status, and the message."""

    def __init__(self, code: int, reason: str, message: str, cause: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.cause = cause
        """Reason and field of the one cause, if the Status has one."""


@dataclass(frozen=True)
class Write:
    """One write that changed something, in the order in which the server accepted it."""

    number: int
    at: datetime
    actor: str
    verb: str
    place: Place
    old: Object | None
    new: Object | None
    based_on: str | None = None
    """The version that the write had as its precondition."""

    @property
    def object(self) -> Object:
        """The newest version that exists."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


Writes: TypeAlias = list[Write]


@dataclass(frozen=True, slots=True)
class Discarded:
    """An object that was deleted from the object storage, and the number of the last write to the API server before."""

    key: str
    after: int
    content: bytes


@dataclass
class Cluster:
    now: Callable[[], datetime]
    objects: dict[Place, Object] = field(default_factory=dict)
    history: list[Write] = field(default_factory=list)
    listeners: list[Callable[[Write], None]] = field(default_factory=list)
    forgotten: int = 0
    """The number of the last write that watches can no longer resume from."""
    newest: int = 0
    """The number of the last write."""
    doomed: list[Place] = field(default_factory=list)
    """Objects that were created without an existing owner; the next ``collect_garbage`` removes them."""
    down: bool = False
    """The server answers no request, and every watch is cut."""
    has_store: bool = True
    """Whether the operator has an object store for large values."""
    stored: dict[str, bytes] = field(default_factory=dict)
    """The object storage, which is another server: objects by key."""
    stored_after: dict[str, int] = field(default_factory=dict)
    """Key of an object → the number of the last write to the API server before it was stored."""
    stored_last: dict[str, int] = field(default_factory=dict)
    """The same, before it was stored last."""
    discarded: list[Discarded] = field(default_factory=list)
    """What the operator has deleted from the object storage."""
    _uids: set[str] = field(default_factory=set)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def store(self, key: str, content: bytes) -> None:
        self.stored[key] = content
        self.stored_after.setdefault(key, self.newest)
        self.stored_last[key] = self.newest

    def discard(self, keys: Iterable[str]) -> None:
        for key in keys:
            content = self.stored.pop(key, None)
            if content is not None:
                self.discarded.append(Discarded(key, self.newest, content))

    # Reading.

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))

    def list_all(self, kind: str) -> Objects:
        """The objects of all namespaces."""
        return [self.objects[place] for place in sorted(place for place in self.objects if place[0] == kind)]

    def list(self, kind: str, namespace: str) -> Objects:
        return [stored for stored in self.list_all(kind) if stored["metadata"]["namespace"] == namespace]

    def writes_since(self, kind: str, number: int) -> Writes:
        """The events that a watch of the kind receives if it resumes from the version ``number``.

        Raises:
            RefusedError: 410, the history is lost.
        """
        if number < self.forgotten:
            raise RefusedError(410, "Expired", f"too old resource version: {number} ({self.forgotten})")
        return [write for write in self.history if write.number > number and write.place[0] == kind]

    def forget_history(self) -> None:
        """Lose the history, so that no watch can resume from before now: compaction, or a new watch cache."""
        self.forgotten = self.newest

    def state_at(self, kind: str, number: int) -> dict[Place, Object]:
        """The objects of a kind as they were after the write ``number``.

        Raises:
            RefusedError: 410, the history is lost.
        """
        if number < self.forgotten:
            raise RefusedError(410, "Expired", f"the provided resource version is too old: {number}")
        found: dict[Place, Object] = {}
        for write in self.history:
            if write.number > number:
                break
            if write.place[0] == kind and write.new is not None:
                found[write.place] = write.new
            elif write.place[0] == kind:
                found.pop(write.place, None)
        return found

    # Writing.

    def skip_numbers(self, until: int) -> None:
        """The next write gets this number, and the next object this UID."""
        self._numbers = itertools.count(until)

    def create(self, actor: str, manifest: Object) -> Object | None:
        """The created object, or None if the name is taken."""
        place = place_of(manifest)
        if place in self.objects:
            return None
        number = next(self._numbers)
        new: Object = copy_value(manifest)
        if place[0] not in WITHOUT_STATUS:
            new.pop("status", None)
        metadata = new["metadata"]
        for key in _GIVEN:
            metadata.pop(key, None)
        metadata |= {"uid": f"uid-{number}", "resourceVersion": str(number)}
        metadata["creationTimestamp"] = self._instant()
        if place[0] not in WITHOUT_GENERATION:
            metadata["generation"] = 1
        self._commit(number, actor, "create", place, None, new)
        owners = metadata.get("ownerReferences") or ()
        if owners and not any(True for _ in self._living(owners)):
            self.doomed.append(place)
        return new

    def patch(self, actor: str, seen: Object, part: str, patch: Object) -> Object:
        """Merge ``patch`` into ``part`` of the object, if it still has the version that was read.

        Raises:
            RefusedError: 404, or 409, or 422 for another object of that name.
        """
        place = place_of(seen)
        stored = self.objects.get(place)
        if stored is None:
            raise RefusedError(404, "NotFound", f"{place} not found")
        version = seen["metadata"]["resourceVersion"]
        bound = {part: patch} | {"metadata": {**(patch if part == "metadata" else {}), "uid": seen["metadata"]["uid"]}}
        if stored["metadata"]["uid"] == seen["metadata"]["uid"] and stored["metadata"]["resourceVersion"] != version:
            raise RefusedError(409, "Conflict", f"{place} has moved on")
        return self.merge(actor, place, bound, "status" if part == "status" else "", based_on=version)

    def merge(
        self, actor: str, place: Place, patch: Object, subresource: str = "", *, based_on: str | None = None
    ) -> Object:
        """Apply a merge patch to the whole object; only fields of the subresource take effect.

        Raises:
            RefusedError: 422.
        """
        stored = self.objects[place]
        uid = (patch.get("metadata") or {}).get("uid")
        if uid not in (None, stored["metadata"]["uid"]):
            raise RefusedError(422, "Invalid", "uid: field is immutable", ("FieldValueInvalid", "metadata.uid"))
        changed = _merged(stored, patch)
        return self.update(actor, place, changed, subresource, based_on=based_on)

    def update(
        self, actor: str, place: Place, body: Object, subresource: str = "", *, based_on: str | None = None
    ) -> Object:
        """Replace the fields of the subresource: the status, or everything except it; fields that the server sets stay.

        Raises:
            RefusedError: 422, a finalizer was added to an object that is being deleted.
        """
        stored = self.objects[place]
        verb = "patch status" if subresource else "patch"
        if subresource == "status":
            changed = {key: value for key, value in stored.items() if key != "status"}
            changed |= {"status": body["status"]} if body.get("status") else {}
            return self.replace(actor, place, changed, verb, based_on=based_on)
        changed = {key: value for key, value in body.items() if key != "status" or place[0] in WITHOUT_STATUS}
        if "status" in stored and place[0] not in WITHOUT_STATUS:
            changed["status"] = stored["status"]
        given = {key: stored["metadata"][key] for key in _KEPT if key in stored["metadata"]}
        wanted = {key: value for key, value in body["metadata"].items() if key not in _GIVEN and value != []}
        changed["metadata"] = wanted | given
        if stored["metadata"].get("deletionTimestamp"):
            new = set(wanted.get("finalizers") or ()) - set(stored["metadata"].get("finalizers") or ())
            if new:
                text = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
                raise RefusedError(422, "Invalid", text, ("FieldValueForbidden", "metadata.finalizers"))
        return self.replace(actor, place, changed, verb, based_on=based_on)

    def force_patch(self, actor: str, place: Place, part: str, patch: Object) -> Object:
        """Merge into one part without preconditions, as SDKs and users do; an empty change keeps the version."""
        return self.merge(actor, place, {part: patch}, "status" if part == "status" else "")

    def replace(self, actor: str, place: Place, changed: Object, verb: str, *, based_on: str | None = None) -> Object:
        """Store ``changed`` unless it equals the stored object; without its last finalizer, a deletion completes."""
        stored = self.objects[place]
        if values_equal(changed, stored):
            return stored
        number = next(self._numbers)
        metadata = changed["metadata"] | {"resourceVersion": str(number)}
        changed = changed | {"metadata": metadata}
        if not values_equal(_body(changed), _body(stored)) and place[0] not in WITHOUT_GENERATION:
            metadata["generation"] = stored["metadata"].get("generation", 0) + 1
        if (
            metadata.get("deletionTimestamp")
            and stored["metadata"].get("finalizers")
            and not metadata.get("finalizers")
        ):
            self._remove(actor, place, changed, number)
        else:
            self._commit(number, actor, verb, place, stored, changed, based_on)
        return changed

    def delete(self, actor: str, place: Place, *, uid: str | None = None) -> Object | None:
        """Remove the object, and in the background also the objects that it owns; an object with finalizers is only
        marked.

        An absent object, or one with another UID than ``uid``, is no error. Returns what is left of the object.
        """
        stored = self.objects.get(place)
        if stored is None or (uid is not None and stored["metadata"]["uid"] != uid):
            return None
        if not stored["metadata"].get("finalizers"):
            self._remove(actor, place, stored, next(self._numbers))
            return None
        if stored["metadata"].get("deletionTimestamp"):
            return stored
        number = next(self._numbers)
        metadata = stored["metadata"] | {"resourceVersion": str(number), "deletionTimestamp": self._instant()}
        metadata["deletionGracePeriodSeconds"] = 0
        if "generation" in metadata:
            metadata["generation"] += 1
        marked = stored | {"metadata": metadata}
        self._commit(number, actor, "mark", place, stored, marked)
        return marked

    def collect_garbage(self) -> None:
        """Remove the objects that were created after their last owner was deleted."""
        doomed, self.doomed = self.doomed, []
        for place in doomed:
            stored = self.objects.get(place)
            if stored is not None and not any(True for _ in self._living(stored["metadata"]["ownerReferences"])):
                self.delete(GARBAGE_COLLECTOR, place)

    def _remove(self, actor: str, place: Place, last: Object, number: int) -> None:
        """Remove the object, whose last version is ``last``; then the objects that only it owned."""
        uid = last["metadata"]["uid"]
        self._uids.discard(uid)
        self._commit(number, actor, "delete", place, last, None)
        for other, object_ in list(self.objects.items()):
            owners = object_["metadata"].get("ownerReferences") or ()
            if other not in self.objects or not any(owner["uid"] == uid for owner in owners):
                continue
            living = [*self._living(owners)]
            if living:
                changed = object_ | {"metadata": object_["metadata"] | {"ownerReferences": living}}
                self.replace(GARBAGE_COLLECTOR, other, changed, "patch metadata")
            else:
                self.delete(GARBAGE_COLLECTOR, other)

    def _living(self, owners: Any) -> Iterator[Object]:
        return (owner for owner in owners if owner["uid"] in self._uids)

    def _instant(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _commit(
        self,
        number: int,
        actor: str,
        verb: str,
        place: Place,
        old: Object | None,
        new: Object | None,
        based_on: str | None = None,
    ) -> None:
        if new is None:
            del self.objects[place]
        else:
            self.objects[place] = new
            self._uids.add(new["metadata"]["uid"])
        self.newest = number
        write = Write(number, self.now(), actor, verb, place, old, new, based_on)
        self.history.append(write)
        for listener in list(self.listeners):
            listener(write)


def place_of(obj: Object) -> Place:
    return obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _body(obj: Object) -> Object:
    """The part whose changes ``generation`` counts."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386, without copying unchanged parts: the versions of an object share them."""
    if not isinstance(patch, dict):
        return copy_value(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
