"""The cache of an informer: objects by name and by index; decides which version of an object is newer. Pure.

Versions are compared as numbers when both are numbers. Otherwise they are compared only for equality, and the later one
counts as newer. Deleted objects are remembered for a while by UID, so that a late answer or event does not restore
them. Objects in the cache are shared with every reader: no reader may change them. Large ones and those at rest are
kept as text (core.kube.packed).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from core.api.objects import NamespacedName
from core.kube.packed import Entry, Opener, Packed, Packer, Resting, identity_of, is_at_rest, opened
from core.kube.store_key import Identity, identity_in, key_of
from kubewire import Object

__all__ = [
    "REMEMBERED_DELETIONS",
    "REMEMBERED_SECONDS",
    "Change",
    "ChangeKind",
    "Derived",
    "Indexer",
    "InformerStore",
    "Listed",
    "T",
    "is_certainly_newer",
    "is_newer",
    "is_number",
    "key_of",
]

REMEMBERED_DELETIONS: Final = 10_000
REMEMBERED_SECONDS: Final = 1_800.0
"""For the deletions that the server has reported; far longer than an answer or an event can be late."""
_UNREPORTED_SECONDS: Final = 3_600.0
"""For the others: a watch that is away reports them when it is back."""
_LONGEST_NUMBER: Final = 20
_ALIKE: Final = 256
_NOBODY: Final[dict[NamespacedName, None]] = {}

Indexer = Callable[[Object], Iterable[str]]
T = TypeVar("T")


class ChangeKind(StrEnum):
    ADDED = "ADDED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


class Change:
    """``old`` is absent for ADDED, ``new`` for DELETED; the ``old`` of a DELETED is the last known version.

    Large objects are parsed when they are read, and stay parsed until ``let_go``.
    """

    __slots__ = ("_entries", "_new", "_old", "kind")

    def __init__(self, kind: ChangeKind, old: Entry | None, new: Entry | None, parsed: Object | None = None) -> None:
        """``parsed``: the object of ``new``, if it is at hand."""
        self.kind = kind
        self._entries = (old, new)
        self._old = old
        self._new = new if parsed is None else parsed

    def __repr__(self) -> str:
        entry = self._new if self._new is not None else self._old
        assert entry is not None
        return f"<Change {self.kind} of {identity_of(entry).key}>"

    @property
    def old(self) -> Object | None:
        if isinstance(self._old, Packed):
            self._old = opened(self._old)
        return self._old

    @property
    def new(self) -> Object | None:
        if isinstance(self._new, Packed):
            self._new = opened(self._new)
        return self._new

    @property
    def object(self) -> Object:
        """The newest known version."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found

    def let_go(self) -> None:
        """All handlers were called: keep large objects as text again."""
        self._old, self._new = self._entries


_Changes: TypeAlias = list[Change]  # inside Store, ``list`` is a method
_Objects: TypeAlias = list[Object]
_Entries: TypeAlias = list[Entry]
_Keys: TypeAlias = list[NamespacedName]

_IndexValues: TypeAlias = tuple[tuple[str, ...], ...]
_Members: TypeAlias = NamespacedName | dict[NamespacedName, None]
"""Those found under one value, in their order. Mostly it is one, and a dict would take as much memory as the object."""


class Listed(NamedTuple):
    """An object of a list, in the form in which it is stored."""

    entry: Entry
    values: _IndexValues
    """What each indexer returned for it."""


class Derived(Generic[T]):
    """What a caller has derived of one version of an object."""

    __slots__ = ("entry", "value")

    def __init__(self, entry: Entry, value: T) -> None:
        self.entry = entry
        self.value = value


class _Deletion(NamedTuple):
    version: str
    """Of the deletion itself if ``observed``; otherwise the last version known before it."""
    observed: bool
    list_number: int
    noted_at: float


class InformerStore:
    """Every method returns the changes that it made, for the handlers."""

    def __init__(
        self,
        indexers: Mapping[str, Indexer],
        packer: Packer | None = None,
        clock: Callable[[], float] = time.monotonic,
        complain: Callable[[Object, Exception], None] | None = None,
    ) -> None:
        """
        Args:
            clock: seconds, for the time for which deletions are remembered.
            complain: called with the error of an indexer, and the object, which is then not found by that index;
                without it, the error is raised.
        """
        self._indexers = dict(indexers)
        self._complain = complain
        self._packer = packer or Packer()
        self._clock = clock
        self._objects: dict[NamespacedName, Entry] = {}
        self._moving: dict[NamespacedName, None] = {}
        """Those that are not at rest: a few beside many thousands."""
        self._opener = Opener()
        self._namespaces: dict[str, dict[NamespacedName, None]] | None = None
        """None until somebody asks: nobody lists the kinds with many thousands of objects by namespace."""
        self._indexes: dict[str, dict[str, _Members]] = {name: {} for name in indexers}
        self._index_values: dict[NamespacedName, _IndexValues] = {}
        """For each object that is not packed, the values of each indexer, in the order of the indexers."""
        self._alike: dict[Any, Any] = {}
        """Those of the last objects, and their parts: finished runs of a Story have the same, so they share them."""
        self._deletions: OrderedDict[str, _Deletion] = OrderedDict()
        """By UID, the oldest first. In a plain dict, the search for it passes by all that were removed."""
        self._list_number = 0

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: NamespacedName) -> Object | None:
        entry = self._objects.get(key)
        return entry if entry is None or type(entry) is dict else self._opener.whole(entry)

    def list(self, namespace: str | None) -> Iterator[Object]:
        """Large objects are parsed one by one, so a caller that drops each one holds only one at a time."""
        if namespace is None:
            return map(self._opener.glance, [*self._objects.values()])
        if self._namespaces is None:
            self._namespaces = {}
            for key in self._objects:
                self._namespaces.setdefault(key.namespace, {})[key] = None
        return (self._opener.glance(self._objects[key]) for key in [*self._namespaces.get(namespace, ())])

    def all_keys(self) -> Collection[NamespacedName]:
        return self._objects.keys()

    def keys(self, *, at_rest: bool) -> _Keys:
        """The names of the objects that are at rest, or of the others."""
        return [key for key in self._objects if key not in self._moving] if at_rest else [*self._moving]

    def resting(self, key: NamespacedName) -> Resting | None:
        """What is known of an object at rest without reading it; None if it is not at rest."""
        entry = self._objects.get(key)
        return entry.resting if isinstance(entry, Packed) else None

    def in_motion(self) -> Iterator[Object]:
        """The objects that are not at rest, one by one like ``list``."""
        return map(self._opener.glance, self._entries_in_motion())

    def as_added(self) -> Iterator[Change]:
        """Each object that is not at rest, as if it had just been added."""
        return (Change(ChangeKind.ADDED, None, entry) for entry in self._entries_in_motion())

    def _entries_in_motion(self) -> _Entries:
        return [self._objects[key] for key in self._moving]

    def by_index(self, index: str, value: str) -> Iterator[Object]:
        return (self._opener.whole(self._objects[key]) for key in [*self.keys_by_index(index, value)])

    def keys_by_index(self, index: str, value: str) -> Collection[NamespacedName]:
        """The names of the objects of ``by_index``, which are not read."""
        members = self._indexes[index].get(value, _NOBODY)
        return members.keys() if isinstance(members, dict) else (members,)

    def is_found_under(self, index: str) -> bool:
        """Whether the index has any object."""
        return bool(self._indexes[index])

    def derived(
        self, index: str, value: str, derive: Callable[[Object], T], known: Mapping[NamespacedName, Derived[T]]
    ) -> dict[NamespacedName, Derived[T]]:
        """The result of ``derive`` for each object of ``by_index``.

        Args:
            known: the answer to the same question before: an object that has not changed since is not read.
        """
        found: dict[NamespacedName, Derived[T]] = {}
        for key in self.keys_by_index(index, value):
            entry, before = self._objects[key], known.get(key)
            if before is None or before.entry is not entry:
                before = Derived(entry, derive(self._opener.glance(entry)))
            found[key] = before
        return found

    def put(self, obj: Object, *, in_order: bool = True, entry: Entry | None = None) -> Iterable[Change]:
        """Apply a version that was seen: nothing changes if a newer one, or the deletion, is already known.

        ``in_order``: it comes from the server's stream, not from an answer that a newer event may have overtaken.
        ``entry``: the form to store, if the caller has made it already.
        """
        entry = self._packer.entry(obj) if entry is None else entry
        return self._put(Listed(entry, self._values_of(obj)), obj, in_order)

    def _put(self, new: Listed, parsed: Object | None, in_order: bool = True) -> Iterable[Change]:
        """``parsed``: the object of ``new``, if it is at hand; it is not needed here."""
        return self._put_identified(identity_of(new.entry), new, parsed, in_order)

    def _put_identified(self, it: Identity, new: Listed, parsed: Object | None, in_order: bool) -> Iterable[Change]:
        if self._belongs_to_a_deleted_object(it, in_order):
            return []
        old = self._objects.get(it.key)
        if old is None:
            return [Change(ChangeKind.ADDED, None, self._set(it.key, new), parsed)]
        before = identity_of(old)
        if before.uid != it.uid:
            return self._replace_with_other(before, it, new, parsed)
        if not is_newer(it.version, before.version):
            return []
        return [Change(ChangeKind.UPDATED, old, self._set(it.key, new), parsed)]

    def lacks(self, obj: Object) -> bool:
        """Whether ``put`` would change anything for this version; only the metadata of ``obj`` is read."""
        it = identity_in(obj)
        entry = self._objects.get(it.key)
        if self._belongs_to_a_deleted_object(it, in_order=False):
            return False
        if entry is None:
            return True
        old = identity_of(entry)
        if old.uid == it.uid:
            return is_newer(it.version, old.version)
        return not is_certainly_newer(old.version, it.version)

    def absent_from(self, listed: Iterable[Object], version: str) -> _Objects:
        """The identities, as objects, of those in the cache that should be in a list as of ``version`` and are missing
        there.
        """
        uids = {identity_in(obj).uid for obj in listed}
        known = map(identity_of, self._objects.values())
        return [it.head for it in known if it.uid not in uids and not is_certainly_newer(it.version, version)]

    def remove(self, obj: Object) -> Iterable[Change]:
        """Apply the deletion of ``obj``, given in its last version."""
        it = identity_in(obj)
        entry = self._objects.get(it.key)
        old = identity_of(entry) if entry is not None else None
        if old is not None and old.uid == it.uid and is_certainly_newer(old.version, it.version):
            return []  # it left the selection and came back; this is the older event
        self._note_deletion(it.uid, it.version, observed=True)
        if old is None or old.uid != it.uid:
            return []
        self._unset(it.key)
        return [Change(ChangeKind.DELETED, obj, None)]

    @property
    def remembered_deletions(self) -> int:
        """How many deletions a late event or answer cannot undo."""
        return len(self._deletions)

    def forget(self, key: NamespacedName, uid: str) -> Iterable[Change]:
        """Treat the object as deleted, although only its deletion was requested.

        An object that is marked as ending stays: the server has sent that it still exists, and will send its deletion.
        """
        entry = self._objects.get(key)
        if entry is None or (known := identity_of(entry)).uid != uid:
            self._note_deletion(uid, "", observed=False)
            return []
        if known.deleted_at:
            return []
        self._note_deletion(uid, known.version, observed=False)
        self._unset(key)
        return [Change(ChangeKind.DELETED, entry, None)]

    def begin_list(self) -> int:
        """Call this before requesting a list, and pass the number to ``replace_all``."""
        self._list_number += 1
        return self._list_number

    def listed(self, obj: Object, entry: Entry) -> Listed:
        """For ``replace_all``: what is stored of ``obj`` beside ``entry``, so that it need not be parsed again."""
        return Listed(entry, self._values_of(obj))

    def replace_all(
        self, objects: Iterable[Listed], version: str, list_number: int, *, trust: bool
    ) -> Iterable[Change]:
        """Apply a whole list as of ``version``; changes that are newer than the list are kept.

        ``trust``: use the list even where the cache looks newer, because the server's history went back.
        """
        found = {(it := identity_of(listed.entry)).key: (it, listed) for listed in objects}
        alive = {it.uid for it, _ in found.values()}
        self._deletions = OrderedDict(
            (uid, deletion)
            for uid, deletion in self._deletions.items()
            if uid not in alive or (deletion.list_number >= list_number and not trust)
        )
        changes: _Changes = []
        for it, listed in found.values():
            changes += self._put_trusted(it, listed) if trust else self._put_identified(it, listed, None, True)
        for key, old in [*self._objects.items()]:
            if key not in found and (trust or not is_certainly_newer(identity_of(old).version, version)):
                self._unset(key)
                if not trust:
                    self._note_deletion(identity_of(old).uid, version, observed=True, list_number=list_number)
                changes.append(Change(ChangeKind.DELETED, old, None))
        return changes

    def _put_trusted(self, it: Identity, new: Listed) -> Iterable[Change]:
        old = self._objects.get(it.key)
        if old is None or identity_of(old).uid != it.uid:
            gone = [] if old is None else [Change(ChangeKind.DELETED, old, None)]
            return [*gone, Change(ChangeKind.ADDED, None, self._set(it.key, new))]
        if identity_of(old).version == it.version:
            return []
        return [Change(ChangeKind.UPDATED, old, self._set(it.key, new))]

    def _belongs_to_a_deleted_object(self, it: Identity, in_order: bool) -> bool:
        deletion = self._deletions.get(it.uid)
        if deletion is None:
            return False
        version = it.version
        later = is_certainly_newer(version, deletion.version)
        if not later and not is_number(version):
            later = in_order and version != deletion.version
        if deletion.observed:
            return not later  # later: it only left the selection, and is back
        # Only its deletion was requested; while it waits for finalizers, the server still shows it, marked as ending.
        return not (later and it.deleted_at)

    def _replace_with_other(
        self, before: Identity, it: Identity, new: Listed, parsed: Object | None
    ) -> Iterable[Change]:
        """The name now belongs to another object and its predecessor is gone, unless ``new`` is a late event of the
        predecessor.
        """
        if is_certainly_newer(before.version, it.version):
            return []
        self._note_deletion(before.uid, it.version, observed=True)
        old = self._objects[it.key]
        return [Change(ChangeKind.DELETED, old, None), Change(ChangeKind.ADDED, None, self._set(it.key, new), parsed)]

    def _note_deletion(self, uid: str, version: str, *, observed: bool, list_number: int | None = None) -> None:
        number, now = self._list_number if list_number is None else list_number, self._clock()
        self._deletions.pop(uid, None)
        self._deletions[uid] = _Deletion(version, observed, number, now)
        while len(self._deletions) > REMEMBERED_DELETIONS or self._is_outdated(
            next(iter(self._deletions.values())), now
        ):
            self._deletions.popitem(last=False)

    def _is_outdated(self, deletion: _Deletion, now: float) -> bool:
        return now - deletion.noted_at > (REMEMBERED_SECONDS if deletion.observed else _UNREPORTED_SECONDS)

    def _values_of(self, obj: Object) -> _IndexValues:
        try:
            values = tuple([_distinct(tuple(indexer(obj))) for indexer in self._indexers.values()])
        except Exception:
            if self._complain is None:
                raise
            values = tuple([self._values_by(indexer, obj) for indexer in self._indexers.values()])
        if (known := self._alike.get(values)) is not None:
            return known  # type: ignore[no-any-return]  # a key is its own value
        if len(self._alike) >= _ALIKE:
            self._alike.clear()
        values = tuple([self._alike.setdefault(each, each) for each in values])
        return self._alike.setdefault(values, values)  # type: ignore[no-any-return]

    def _values_by(self, indexer: Indexer, obj: Object) -> tuple[str, ...]:
        assert self._complain is not None
        try:
            return _distinct(tuple(indexer(obj)))
        except Exception as error:  # noqa: BLE001 - an object of an unforeseen shape must not stop all others
            self._complain(obj, error)
            return ()

    def _set(self, key: NamespacedName, new: Listed) -> Entry:
        """Store it, and return its entry."""
        entry, values = new
        if (before := self._objects.get(key)) is not None:
            if isinstance(entry, Packed):
                self._unset(key)  # else the tables would keep their own copies of its key
            else:
                self._drop_from_indexes(key)
                self._opener.close(before)
        self._objects[key] = entry
        if is_at_rest(entry):
            self._moving.pop(key, None)
        else:
            self._moving[key] = None
        if self._namespaces is not None:
            self._namespaces.setdefault(key.namespace, {})[key] = None
        if isinstance(entry, Packed):
            entry.values = values
        else:
            self._index_values[key] = values
        for name, found in zip(self._indexers, values, strict=True):
            for value in found:
                _add_member(self._indexes[name], value, key)
        return entry

    def _unset(self, key: NamespacedName) -> None:
        self._drop_from_indexes(key)
        self._opener.close(self._objects.pop(key))
        self._moving.pop(key, None)
        if self._namespaces is not None:
            members = self._namespaces[key.namespace]
            del members[key]
            if not members:
                del self._namespaces[key.namespace]

    def _drop_from_indexes(self, key: NamespacedName) -> None:
        entry = self._objects[key]
        found = entry.values if isinstance(entry, Packed) else self._index_values.pop(key)
        for name, values in zip(self._indexers, found, strict=True):
            for value in values:
                members = self._indexes[name][value]
                if isinstance(members, dict):
                    del members[key]
                if members == key or not members:
                    del self._indexes[name][value]


def _add_member(index: dict[str, _Members], value: str, key: NamespacedName) -> None:
    members = index.setdefault(value, key)
    if isinstance(members, dict):
        members[key] = None
    elif members is not key:
        index[value] = {members: None, key: None}


def _distinct(found: tuple[str, ...]) -> tuple[str, ...]:
    return found if len(found) < 2 else tuple(dict.fromkeys(found))


def is_newer(version: str, than: str) -> bool:
    """Whether ``version`` replaces ``than``; if they cannot be compared, the later one replaces the earlier."""
    if is_number(version) and is_number(than):
        return int(version) > int(than)
    return version != than


def is_certainly_newer(version: str, than: str) -> bool:
    """Whether both are numbers and ``version`` is the larger; an unknown (empty) one is older than any."""
    return is_number(version) and (not than or (is_number(than) and int(version) > int(than)))


def is_number(version: str) -> bool:
    """Whether versions of this server can be compared: decimal digits that fit into 64 bits."""
    return version.isdecimal() and len(version) <= _LONGEST_NUMBER
