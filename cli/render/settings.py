"""Settings of the operator for people: a table of many, or a few with their description. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from cli.configured import ConfigRow
from cli.render.table import table

_MARGIN: Final = 11
"""Columns of the left margin, which has one word."""
_LONGEST_VALUE: Final = 40


def rows_table(rows: Sequence[ConfigRow], *, wide: bool, no_headers: bool) -> str:
    """One line for each key; ``wide`` does not shorten values."""
    headers = ["KEY", "VALUE", "DEFAULT", "SOURCE", "CHANGE NEEDS"]
    cells = [
        [
            row.key,
            _value(row.value, wide=wide),
            _value(row.default, wide=wide),
            "refused" if row.error else row.source.value,
            row.need.value,
        ]
        for row in rows
    ]
    return table(headers, cells, no_headers=no_headers)


def details(row: ConfigRow, width: int) -> str:
    """Everything about one key."""
    return "\n".join(_details(row, max(width, 40)))


def _details(row: ConfigRow, width: int) -> Iterator[str]:
    yield row.key
    for word, text in (
        ("value", _value(row.value, wide=True)),
        ("default", _value(row.default, wide=True)),
        ("source", row.source.value),
        ("change", row.need.value),
        ("accepts", row.accepted),
        ("does", row.does),
        ("problem", row.error),
        ("warning", row.warning),
    ):
        if text:
            yield from textwrap.wrap(
                text,
                width,
                initial_indent=f"  {word:<{_MARGIN - 2}}",
                subsequent_indent=" " * _MARGIN,
                break_on_hyphens=False,
                break_long_words=False,
            )


def _value(value: str | None, *, wide: bool) -> str:
    if value is None:
        return "unset"
    if not value:
        return '""'
    return value if wide or len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}..."
