"""Sizes in few characters: ``712 B``, ``4.0 KiB``, ``1.2 GiB``."""

from __future__ import annotations

from typing import Final

_STEP: Final = 1024
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def short_size(size_bytes: int) -> str:
    """The size as text."""
    if size_bytes < _STEP:
        return f"{size_bytes} B"
    size = size_bytes / _STEP
    for unit in _UNITS[:-1]:
        if size < _STEP:
            return f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} {_UNITS[-1]}"
