"""Text in a field of a manifest, whatever the field holds."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """The string without surrounding blanks and lone surrogates; empty for a value that is not a string."""
    if not isinstance(value, str):
        return ""
    stripped = value.strip()
    return stripped if stripped.isascii() else stripped.encode("utf-8", "replace").decode()
