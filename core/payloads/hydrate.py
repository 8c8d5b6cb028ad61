"""Replaces references by the values that they refer to. Source: SDK contract 5.

Only the part that the sub-path leads to is hydrated: an object may have offloaded parts of any size beside it. An
object with several references to it is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import trio

from bubu_contract.references import STORAGE_REFERENCE, Token, shown
from core.api import fieldpath
from core.expressions.limits import MAX_DEPTH
from core.expressions.paths import Json
from core.payloads import key as keys
from core.payloads import reference, wrapper
from core.payloads.errors import PayloadError
from core.payloads.reference import StorageReference
from core.payloads.store import ObjectReader

_VALUES_AT_ONCE: Final = 4_000
"""The number of values between two checkpoints, which takes less than a millisecond."""
_MAX_PATH: Final = 240
"""The longest path in an error, in characters."""

_Place: TypeAlias = "tuple[_Place, str | int] | None"
"""The place of a value: the place of its container, and its key there. Formatted only for an error."""


@dataclass(frozen=True, slots=True)
class HydrationBounds:
    """The limits of one hydration.

    Attributes:
        depth: nesting of objects and lists, where following a reference counts as a level; at most 128.
        object_bytes: size of one stored object.
        total_bytes: size of all stored objects that are read; also of all their parts that are put into the value.
        references: number of references that are followed.
    """

    depth: int = 32
    object_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 16 * 1024 * 1024
    references: int = 1_000


_BOUNDS: Final = HydrationBounds()


async def hydrate(
    value: Json,
    store: ObjectReader,
    *,
    namespace: str,
    field: str,
    bounds: HydrationBounds = _BOUNDS,
    below: str = "",
) -> Json:
    """``value``, with every storage reference replaced by the stored value, recursively.

    ConfigMap and Secret references stay. ``value`` is not changed, but the result shares with it the parts without
    references, so neither may be changed afterwards.
    inside, so neither must be changed afterwards.

    Args:
        namespace: of the run; only objects of this namespace are read.
        field: the root of paths in errors, such as ``spec.inputs``.
        below: a prefix of keys; references to other objects stay, too, and are not checked.
    Raises:
        PayloadError: a reference or its object is not valid, or a limit is exceeded.
        StoreUnavailableError: the store failed; nothing is wrong with the value.
    """
    await trio.lowlevel.checkpoint()
    return await _Hydration(store, namespace, field, bounds, below).value(value, None, 0, stored=False)


class _Hydration:
    """One call: the objects that it has read, and how much of its limits is used."""

    def __init__(self, store: ObjectReader, namespace: str, field: str, bounds: HydrationBounds, below: str) -> None:
        self._store = store
        self._below = below
        self._namespace = namespace
        self._field = field
        self._bounds = bounds
        self._depth = min(bounds.depth, MAX_DEPTH)
        self._objects: dict[str, Json] = {}
        self._followed = 0
        self._read_bytes = 0
        self._put_bytes = 0
        self._seen = 0

    async def value(self, node: Json, place: _Place, depth: int, *, stored: bool) -> Json:
        """``node``, hydrated. ``stored``: it comes from the store."""
        if not isinstance(node, (dict, list)):
            self._put(_json_bytes(node) if stored else 0, place)
            return node
        self._check_depth(place, depth)
        if isinstance(node, dict):
            if found := self._reference(node, place):
                target = await self._target(found, place, depth)
                return await self.value(target, place, depth + 1, stored=True)
            if reference.is_opaque(node):
                return node
        return await self._inside(node, place, depth, stored)

    async def _inside(self, node: dict[str, Json] | list[Json], place: _Place, depth: int, stored: bool) -> Json:
        changed: dict[str | int, Json] = {}
        size = 1
        children: Iterator[tuple[str | int, Json]] = iter(node.items() if isinstance(node, dict) else enumerate(node))
        while some := tuple(islice(children, _VALUES_AT_ONCE)):
            await self._look(len(some))
            for key, child in some:
                size += len(key) + 4 if isinstance(key, str) else 1
                if isinstance(child, (dict, list)):
                    hydrated = await self.value(child, (place, key), depth + 1, stored=stored)
                    if hydrated is not child:
                        changed[key] = hydrated
                else:
                    size += _json_bytes(child)
        self._put(size if stored else 0, place)
        if not changed:
            return node
        if isinstance(node, dict):
            return {**node, **changed}
        return [changed.get(index, child) for index, child in enumerate(node)]

    async def _target(self, found: StorageReference, place: _Place, depth: int) -> Json:
        """The object of ``found`` as it is stored: it may contain references, and may be one itself."""
        self._followed += 1
        if self._followed > self._bounds.references:
            raise self._complaint(place, f"more than {self._bounds.references:,} storage references; refer to fewer")
        stored = await self._object(found.key, place)
        return await self._selected(stored, found.tokens, found, place, depth, tolerant=False)

    async def _object(self, key: str, place: _Place) -> Json:
        if key in self._objects:
            return self._objects[key]
        try:
            self._objects[key] = await wrapper.unwrap(await self._content(key), key)
        except PayloadError as error:
            raise self._complaint(place, str(error)) from error
        return self._objects[key]

    async def _content(self, key: str) -> bytes:
        keys.check_namespace(key, self._namespace)
        content = await self._store.read(key, self._bounds.object_bytes)
        self._read_bytes += len(content)
        if self._read_bytes > self._bounds.total_bytes:
            raise PayloadError(_too_much(self._bounds))
        return content

    async def _selected(
        self,
        value: Json,
        tokens: tuple[Token, ...],
        found: StorageReference,
        place: _Place,
        depth: int,
        *,
        tolerant: bool,
    ) -> Json:
        """``tolerant``: inside ``[*]``, where a missing field or index is null."""
        for position, token in enumerate(tokens):
            while inner := self._reference(value, place):
                depth += 1
                self._check_depth(place, depth)
                value = await self._target(inner, place, depth)
            if isinstance(token, str):
                if not isinstance(value, dict):
                    raise self._mismatch(place, found, f"a field is looked up in {_kind(value)}")
                present = token in value
            else:
                if not isinstance(value, list):
                    raise self._mismatch(place, found, f"an index is applied to {_kind(value)}")
                if token is None:
                    return await self._each(value, tokens[position + 1 :], found, place, depth + 1)
                present = token < len(value)
            if not present:
                if tolerant:
                    return None
                raise self._mismatch(place, found, f"{_spelled(token)} is missing")
            value = value[token]
        return value

    async def _each(
        self, items: list[Json], tokens: tuple[Token, ...], found: StorageReference, place: _Place, depth: int
    ) -> Json:
        self._check_depth(place, depth)
        selected = []
        for item in items:
            selected.append(await self._selected(item, tokens, found, place, depth, tolerant=True))
            await self._look(1)
        return selected

    def _reference(self, node: Json, place: _Place) -> StorageReference | None:
        if not isinstance(node, dict) or not str(node.get(STORAGE_REFERENCE, "")).startswith(self._below):
            return None
        try:
            return reference.read(node)
        except PayloadError as error:
            raise self._complaint(place, str(error)) from error

    async def _look(self, values: int) -> None:
        """Count ``values``, and let other tasks run after some of them."""
        self._seen += values
        if self._seen >= _VALUES_AT_ONCE:
            self._seen = 0
            await trio.lowlevel.checkpoint()

    def _put(self, size: int, place: _Place) -> None:
        self._put_bytes += size
        if self._put_bytes > self._bounds.total_bytes:
            raise self._complaint(place, _too_much(self._bounds))

    def _check_depth(self, place: _Place, depth: int) -> None:
        if depth > self._depth:
            raise self._complaint(
                place,
                f"nested deeper than {self._depth} levels, references included; "
                "flatten it, and make sure that no stored object refers to itself",
            )

    def _mismatch(self, place: _Place, found: StorageReference, problem: str) -> PayloadError:
        return self._complaint(
            place, f"the sub-path {shown(found.sub_path)} does not fit the stored object {shown(found.key)}: {problem}"
        )

    def _complaint(self, place: _Place, problem: str) -> PayloadError:
        parts: list[str | int] = []
        while place is not None:
            place, part = place
            parts.append(part)
        below = fieldpath.render(reversed(parts))
        path = f"{self._field}{'.' if below and not below.startswith('[') else ''}{below}"
        return PayloadError(f"{path if len(path) <= _MAX_PATH else f'{path[:_MAX_PATH]}…'}: {problem}")


def _json_bytes(scalar: Json) -> int:
    """About the size of its JSON in bytes, and never more."""
    return len(scalar) + 2 if isinstance(scalar, str) else 1


def _too_much(bounds: HydrationBounds) -> str:
    return f"more than {bounds.total_bytes:,} bytes of stored objects in total; refer only to the needed parts"


def _spelled(token: str | int) -> str:
    return f"field {shown(token)}" if isinstance(token, str) else f"index {token}"


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a number"
