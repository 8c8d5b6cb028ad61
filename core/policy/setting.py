"""A setting is one row beside its default: its key, how its value is read, when a change counts, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from core.policy.config_values import SettingReader

_ROW: Final = "row"
_ROWS: Final = "rows"
_Value = TypeVar("_Value")


class Counts(StrEnum):
    """When a change of a setting applies; the values are the words of the page."""

    LIVE = "live"
    NEW_CONTAINERS = "new containers"
    START = "start"


LIVE: Final = Counts.LIVE
NEW: Final = Counts.NEW_CONTAINERS
START: Final = Counts.START


@dataclass(frozen=True, slots=True)
class SettingRow:
    """``does`` is Markdown, for the page of all settings."""

    key: str
    read: SettingReader[Any]
    does: str
    counts: Counts = LIVE


def setting(key: str, default: _Value, read: SettingReader[_Value], does: str, counts: Counts = LIVE) -> _Value:
    """The field of a data class that ``key`` of the ConfigMap sets; it has ``default`` when the key is missing."""
    return field(default=default, metadata={_ROW: SettingRow(key, read, does, counts)})


def group(default: _Value, rows: Mapping[str, SettingRow]) -> _Value:
    """A field whose value is a data class that is used several times, each time under keys of its own.

    Args:
        rows: by field of that data class.
    """
    return field(default=default, metadata={_ROWS: rows})


def row_of(own: Field[Any]) -> SettingRow | None:
    """The row of a field; None if it is a group, or no key sets it alone."""
    return own.metadata.get(_ROW)


def rows_within(own: Field[Any]) -> Mapping[str, SettingRow]:
    """The rows that a ``group`` was given."""
    rows: Mapping[str, SettingRow] = own.metadata.get(_ROWS, {})
    return rows
