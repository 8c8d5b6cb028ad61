"""The layout of built-in kinds: their fields by protobuf number and by JSON name (read once from ``types.json``)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

_EMPTY: Final[tuple[Any, ...]] = ("", 0, None, {}, [])


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a Go struct.

    Attributes:
        name: JSON name; empty for an embedded struct, whose fields take its place.
        kind: ``string``, ``int``, ``bool``, ``double``, ``bytes``, ``time``, ``microtime``, ``duration``, ``quantity``,
            ``intorstring``, ``rawjson``, ``strings`` or the name of a message.
        is_pointer: an empty value differs from an absent one.
        shows_empty: an empty value is written.
    """

    name: str
    kind: str
    is_list: bool
    is_map: bool
    is_pointer: bool
    shows_empty: bool

    @property
    def is_message(self) -> bool:
        return "." in self.kind

    def keeps(self, value: Any) -> bool:
        """Whether a real server would still show ``value`` after storing it."""
        return self.is_pointer or self.shows_empty or value not in _EMPTY


def message_of(api_version: str, kind: str) -> str | None:
    """The message for a kind; None for kinds that are not built in."""
    found: str | None = _table()["kinds"].get(f"{api_version} {kind}")
    return found


@functools.cache
def fields_by_number(message: str) -> Mapping[int, Field]:
    """The fields of a message by protobuf number."""
    return {int(number): _field(raw) for number, raw in _table()["messages"][message].items()}


@functools.cache
def fields_by_name(message: str) -> Mapping[str, Field]:
    """The fields of a message by JSON name, including those of embedded structs."""
    found: dict[str, Field] = {}
    for field in fields_by_number(message).values():
        found |= {field.name: field} if field.name else fields_by_name(field.kind)
    return found


def _field(raw: list[str]) -> Field:
    name, kind, label, kept = raw
    return Field(name, kind, label == "[]", label == "{}", label == "*", bool(kept))


@functools.cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = orjson.loads(Path(__file__).with_name("types.json").read_bytes())
    return table
