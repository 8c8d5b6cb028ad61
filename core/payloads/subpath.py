"""The part of a stored object that a reference selects: ``items[0].tags[*].name``. Pure. Source: SDK contract 5.2."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from core.payloads.errors import PayloadError, shown

MAX_TOKENS: Final = 128
"""More than the allowed nesting of a value."""

_SUBSCRIPTS: Final = re.compile(r"(\[([0-9]{1,9}|\*)\])+")
_SUBSCRIPT: Final = re.compile(r"\[([0-9]{1,9}|\*)\]")

Token: TypeAlias = str | int | None
"""A field, an index, or ``None`` for ``[*]``."""


def parsed(sub_path: str) -> tuple[Token, ...]:
    """The tokens of ``sub_path``; empty for a blank one, which selects the whole object.

    Raises:
        PayloadError: it is malformed, or has more tokens than a value can have levels.
    """
    tokens: list[Token] = []
    for segment in sub_path.strip().split("."):
        field, bracket, rest = segment.partition("[")
        if field.strip():
            tokens.append(field.strip())
        if not bracket:
            continue
        subscripts = f"[{rest}".strip()
        if not _SUBSCRIPTS.fullmatch(subscripts):
            raise PayloadError(f"storage sub-path {shown(sub_path)}: {shown(subscripts)} must be [n] or [*]")
        tokens += [None if item == "*" else int(item) for item in _SUBSCRIPT.findall(subscripts)]
    if len(tokens) > MAX_TOKENS:
        raise PayloadError(f"storage sub-path {shown(sub_path)} has more than {MAX_TOKENS} parts")
    return tuple(tokens)
