"""The part of a stored object that a reference names: ``items[0].tags[*].name``. Pure. Source: SDK contract 5.2."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from core.payloads.errors import PayloadError, shown

MAX_TOKENS: Final = 128
"""More than the levels that a value may have."""

_SUBSCRIPTS: Final = re.compile(r"(\[([0-9]{1,9}|\*)\])+")
_SUBSCRIPT: Final = re.compile(r"\[([0-9]{1,9}|\*)\]")

Token: TypeAlias = str | int | None
"""A field, an index, or ``None`` for ``[*]``."""


def parsed(sub_path: str) -> tuple[Token, ...]:
    """The tokens of ``sub_path``; none for a blank one, which names the whole.

    Raises:
        PayloadError: malformed, or more tokens than a value can have levels.
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
            raise PayloadError(f"storage sub-path {shown(sub_path)}: {shown(subscripts)} is neither [n] nor [*]")
        tokens += [None if item == "*" else int(item) for item in _SUBSCRIPT.findall(subscripts)]
    if len(tokens) > MAX_TOKENS:
        raise PayloadError(f"storage sub-path {shown(sub_path)} has more than {MAX_TOKENS} parts")
    return tuple(tokens)
