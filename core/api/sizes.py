"""The largest size and depth of objects that the operator reads.

One table for readers of objects from an API server, for admission and for the admission policies. A byte of JSON may
become thirty in memory (``{"a":{}}``), so values are counted as well as bytes: see ``values_in``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.api.resource import STEP_RUN

MAX_DEPTH: Final = 254
"""Nesting of lists and objects: the serialiser's limit; the parser would accept more."""
MAX_VALUES: Final = 200_000
"""Values of an object of any kind: at most 20 MB in memory while it is read."""
MAX_STEP_STATUS_BYTES: Final = 128 << 10
"""Size of a StepRun's status, as compact JSON. Its output has up to 4 KiB unless ``engram.default-max-inline-size`` is
set, and 256 signals take 64 KiB.
"""
MAX_STEP_STATUS_VALUES: Final = 8192
"""Values of a StepRun's status: at most 0.7 MB in memory. An output of 4 KiB has at most 2,730, 256 signals have
2,300.
"""
MAX_STEP_STATUS_DEPTH: Final = 40
"""Depth of a StepRun's status, for writers: containers offload data that is nested deeper than 32 levels."""


@dataclass(frozen=True, slots=True)
class ObjectBounds:
    """Zero: no limit. ``status_…`` apply to the field ``status`` only."""

    values: int = MAX_VALUES
    status_bytes: int = 0
    status_values: int = 0


ANY: Final = ObjectBounds()
_OF_KIND: Final = {
    STEP_RUN.plural: ObjectBounds(
        values=5 * MAX_STEP_STATUS_VALUES,  # with its metadata, in which the server records the owner of each field
        status_bytes=MAX_STEP_STATUS_BYTES,
        status_values=MAX_STEP_STATUS_VALUES,
    )
}


def bounds_of(plural: str) -> ObjectBounds:
    """The bounds for objects of the kind with this plural name."""
    return _OF_KIND.get(plural, ANY)


def values_in(raw: bytes) -> int:
    """An upper bound of the values in a JSON text: its commas, lists and objects; those in strings are counted, too."""
    return len(raw) - len(raw.translate(None, b",{["))  # five times as fast as to count each sign by itself
