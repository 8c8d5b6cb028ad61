"""What an informer knows: objects by name and by index, and which of two versions of an object is the newer. Pure.

Versions are compared as numbers when both are numbers, else only for equality, in which case what comes later counts
as newer. Objects that are gone are remembered for a while by UID, so that a late answer or event cannot raise them.
Objects in here are shared with every reader: nobody may change them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from core.kube.wire import Object

REMEMBERED_DELETIONS: Final = 10_000

Indexer = Callable[[Object], Iterable[str]]


class ChangeKind(StrEnum):
    ADDED = "ADDED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """``old`` is absent for ADDED, ``new`` for DELETED; the old of a DELETED is the last version known."""

    kind: ChangeKind
    old: Object | None
    new: Object | None

    @property
    def object(self) -> Object:
        """The newest version there is."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


_Changes: TypeAlias = list[Change]  # inside Store, ``list`` is a method
_Objects: TypeAlias = list[Object]


class Key(NamedTuple):
    namespace: str
    name: str


class _Deletion(NamedTuple):
    version: str
    """Of the deletion itself if ``observed``, else the last one known before it."""
    observed: bool
    list_number: int


class Store:
    """Every method returns what it changed, for the handlers."""

    def __init__(self, indexers: Mapping[str, Indexer]) -> None:
        self._indexers = dict(indexers)
        self._objects: dict[Key, Object] = {}
        self._namespaces: dict[str, dict[Key, None]] = {}
        self._indexes: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in indexers}
        self._index_values: dict[Key, dict[str, tuple[str, ...]]] = {}
        self._deletions: dict[str, _Deletion] = {}
        self._list_number = 0

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str | None) -> Iterator[Object]:
        if namespace is None:
            return iter(self._objects.values())
        return (self._objects[key] for key in self._namespaces.get(namespace, ()))

    def by_index(self, index: str, value: str) -> Iterator[Object]:
        return (self._objects[key] for key in self._indexes[index].get(value, ()))

    def put(self, obj: Object, *, in_order: bool = True) -> Iterable[Change]:
        """Take in a version that somebody saw: nothing changes if a newer one, or the end, is known already.

        ``in_order``: it comes from the server's stream, not from an answer that may have been overtaken.
        """
        key, uid = key_of(obj), _uid(obj)
        if self._is_of_the_dead(obj, uid, in_order):
            return []
        old = self._objects.get(key)
        if old is None:
            self._set(key, obj)
            return [Change(ChangeKind.ADDED, None, obj)]
        if _uid(old) != uid:
            return self._replace_with_other(key, old, obj)
        if not is_newer(version_of(obj), version_of(old)):
            return []
        self._set(key, obj)
        return [Change(ChangeKind.UPDATED, old, obj)]

    def lacks(self, obj: Object) -> bool:
        """Whether ``put`` would take this in as news; of ``obj`` only the metadata count."""
        uid = _uid(obj)
        old = self._objects.get(key_of(obj))
        if self._is_of_the_dead(obj, uid, in_order=False):
            return False
        if old is None:
            return True
        version, known = version_of(obj), version_of(old)
        return is_newer(version, known) if _uid(old) == uid else not is_certainly_newer(known, version)

    def absent_from(self, listed: Iterable[Object], version: str) -> _Objects:
        """Objects in here that a list as of ``version`` would have, and has not."""
        uids = {_uid(obj) for obj in listed}
        known = self._objects.values()
        return [obj for obj in known if _uid(obj) not in uids and not is_certainly_newer(version_of(obj), version)]

    def remove(self, obj: Object) -> Iterable[Change]:
        """Take in the news that ``obj``, in its last version, is gone."""
        key, uid = key_of(obj), _uid(obj)
        old = self._objects.get(key)
        if old is not None and _uid(old) == uid and is_certainly_newer(version_of(old), version_of(obj)):
            return []  # it left the selection and came back; this is the older news
        self._note_deletion(uid, _Deletion(version_of(obj), True, self._list_number))
        if old is None or _uid(old) != uid:
            return []
        self._unset(key)
        return [Change(ChangeKind.DELETED, obj, None)]

    def forget(self, key: Key, uid: str) -> Iterable[Change]:
        """Treat the object as gone, although only its deletion was asked for.

        One that is marked as ending stays: the server has told that it waits, and will tell when it is gone.
        """
        old = self._objects.get(key)
        if old is None or _uid(old) != uid:
            self._note_deletion(uid, _Deletion("", False, self._list_number))
            return []
        if old["metadata"].get("deletionTimestamp"):
            return []
        self._note_deletion(uid, _Deletion(version_of(old), False, self._list_number))
        self._unset(key)
        return [Change(ChangeKind.DELETED, old, None)]

    def begin_list(self) -> int:
        """Call before asking for a list; give the number back with it."""
        self._list_number += 1
        return self._list_number

    def replace_all(
        self, objects: Iterable[Object], version: str, list_number: int, *, trust: bool
    ) -> Iterable[Change]:
        """Take in a whole list as of ``version``; what was learned later than that is kept.

        ``trust``: believe the list even where what is known looks newer, because the server's history went back.
        """
        found = {_uid(obj): obj for obj in objects}
        self._deletions = {
            uid: deletion
            for uid, deletion in self._deletions.items()
            if uid not in found or (deletion.list_number >= list_number and not trust)
        }
        changes: _Changes = []
        for obj in found.values():
            changes += self._put_trusted(obj) if trust else self.put(obj)
        listed = {key_of(obj) for obj in found.values()}
        for key, old in [*self._objects.items()]:
            if key not in listed and (trust or not is_certainly_newer(version_of(old), version)):
                self._unset(key)
                if not trust:
                    self._note_deletion(_uid(old), _Deletion(version, True, list_number))
                changes.append(Change(ChangeKind.DELETED, old, None))
        return changes

    def _put_trusted(self, obj: Object) -> Iterable[Change]:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is None or _uid(old) != _uid(obj):
            self._set(key, obj)
            gone = [] if old is None else [Change(ChangeKind.DELETED, old, None)]
            return [*gone, Change(ChangeKind.ADDED, None, obj)]
        if version_of(old) == version_of(obj):
            return []
        self._set(key, obj)
        return [Change(ChangeKind.UPDATED, old, obj)]

    def _is_of_the_dead(self, obj: Object, uid: str, in_order: bool) -> bool:
        deletion = self._deletions.get(uid)
        if deletion is None:
            return False
        version = version_of(obj)
        later = is_certainly_newer(version, deletion.version)
        if not later and not version.isdigit():
            later = in_order and version != deletion.version
        if deletion.observed:
            return not later  # later: it only left the selection, and is back
        # Only its deletion was asked for; while it waits for finalizers the server still shows it, marked as ending.
        return not (later and obj["metadata"].get("deletionTimestamp"))

    def _replace_with_other(self, key: Key, old: Object, new: Object) -> Iterable[Change]:
        """The name now means another object, whose predecessor is gone, unless this is an echo of that predecessor."""
        if is_certainly_newer(version_of(old), version_of(new)):
            return []
        self._note_deletion(_uid(old), _Deletion(version_of(new), True, self._list_number))
        self._set(key, new)
        return [Change(ChangeKind.DELETED, old, None), Change(ChangeKind.ADDED, None, new)]

    def _note_deletion(self, uid: str, deletion: _Deletion) -> None:
        self._deletions.pop(uid, None)
        self._deletions[uid] = deletion
        if len(self._deletions) > REMEMBERED_DELETIONS:
            del self._deletions[next(iter(self._deletions))]

    def _set(self, key: Key, obj: Object) -> None:
        values = {name: tuple(dict.fromkeys(indexer(obj))) for name, indexer in self._indexers.items()}
        self._drop_from_indexes(key)
        self._objects[key] = obj
        self._namespaces.setdefault(key.namespace, {})[key] = None
        self._index_values[key] = values
        for name, found in values.items():
            for value in found:
                self._indexes[name].setdefault(value, {})[key] = None

    def _unset(self, key: Key) -> None:
        self._drop_from_indexes(key)
        del self._objects[key]
        members = self._namespaces[key.namespace]
        del members[key]
        if not members:
            del self._namespaces[key.namespace]

    def _drop_from_indexes(self, key: Key) -> None:
        for name, values in self._index_values.pop(key, {}).items():
            for value in values:
                members = self._indexes[name][value]
                del members[key]
                if not members:
                    del self._indexes[name][value]


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return Key(metadata.get("namespace") or "", metadata["name"])


def version_of(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion") or "")


def is_newer(version: str, than: str) -> bool:
    """Whether to take ``version`` where ``than`` is known; of two that cannot be compared the later news wins."""
    if version.isdigit() and than.isdigit():
        return int(version) > int(than)
    return version != than


def is_certainly_newer(version: str, than: str) -> bool:
    """Whether both are numbers and ``version`` is the larger; an unknown (empty) one is older than any."""
    return version.isdigit() and (not than or (than.isdigit() and int(version) > int(than)))


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid") or "")
