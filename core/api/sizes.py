"""How large and how deep an object may be for this operator to read it.

One table for readers of objects from an API server, for admission and for the admission policies. A byte of
JSON may become thirty in memory (``{"a":{}}``), so values are counted as well as bytes: see ``values_in``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.api.resource import STEP_RUN

MAX_DEPTH: Final = 254
"""Of lists and objects in each other: what the serialiser writes; the parser would read more."""
MAX_VALUES: Final = 200_000
"""Of an object of any kind: 20 MB in memory at most, while it is being read."""
MAX_STEP_STATUS_BYTES: Final = 128 << 10
"""Of a StepRun's status, as compact JSON. Its output has 4 KiB unless ``engram.default-max-inline-size`` says
otherwise, and 256 signals take 64 KiB."""
MAX_STEP_STATUS_VALUES: Final = 8192
"""Of a StepRun's status: 0.7 MB in memory at most. An output of 4 KiB has 2,730 at most, 256 signals have 2,300."""
MAX_STEP_STATUS_DEPTH: Final = 40
"""Of a StepRun's status, for whoever writes one: containers offload what is nested deeper than 32 levels."""


@dataclass(frozen=True, slots=True)
class ObjectBounds:
    """Zero: as much as there is. ``status_…`` are about the field ``status`` alone."""

    values: int = MAX_VALUES
    status_bytes: int = 0
    status_values: int = 0


ANY: Final = ObjectBounds()
_OF_KIND: Final = {
    STEP_RUN.plural: ObjectBounds(
        values=5 * MAX_STEP_STATUS_VALUES,  # with its metadata, in which the server notes who set which field
        status_bytes=MAX_STEP_STATUS_BYTES,
        status_values=MAX_STEP_STATUS_VALUES,
    )
}


def bounds_of(plural: str) -> ObjectBounds:
    """The bounds of objects of the kind that is named so in paths."""
    return _OF_KIND.get(plural, ANY)


def values_in(raw: bytes) -> int:
    """How many values a JSON text has, or more where texts hold commas and brackets: its commas, lists and objects."""
    return raw.count(b",") + raw.count(b"{") + raw.count(b"[")
