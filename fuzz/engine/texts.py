"""Texts of users and containers in the model, in fields that they may fill: any text, also texts of the operator."""

from __future__ import annotations

import zlib
from typing import Final

TEXTS: Final = (
    "fine",
    "Ended: budget signed off",
    "Skipped: its 'if' condition is false",
    "Skipped: nobody decided in time",
    "Queued due to story concurrency limit (9 running, limit 9); 1st in queue default",
    "Image cannot be pulled since 2026-01-02T03:04:05Z: no such image",
    "Waiting for approval until 2026-01-02T03:04:05Z",
    "DependencyFailed: a \u2028 {{ steps.a }} 'quoted' \U0001f600",
)


def text_of(*parts: object) -> str:
    """One of the texts; the same parts give the same text in every execution."""
    return TEXTS[zlib.crc32(repr(parts).encode()) % len(TEXTS)]
