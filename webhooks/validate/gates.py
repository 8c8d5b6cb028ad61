"""The gates of a Story, by their keys in ``status.gates`` of a run.

The key of a step is its name. The key of a branch is its path, such as ``fan/approve``. Below a ``forEach``, the number
of the item takes the place of a name: ``fan/0``, ``fan/1/approve``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.loops import MAX_ITEMS
from core.api.objects import ReadOnlyObject
from core.story.kinds import StepKind
from core.story.step import Step
from webhooks.validate import steps

_NUMBERS: Final = frozenset(map(str, range(MAX_ITEMS)))


def of_story(story: ReadOnlyObject) -> Iterator[Step]:
    """The gates in all lists and branches, in spec order; one in a ``forEach`` stands for that of each item."""
    return (step for step in steps.every_step(story) if step.declared.get("type") == StepKind.GATE)


def is_meant(gate: Step, key: str) -> bool:
    """Whether a decision with ``key`` is about the gate."""
    parts = key.split("/")
    return len(parts) == len(gate.parts) and all(
        part in _NUMBERS if own is None else part == own for part, own in zip(parts, gate.parts, strict=True)
    )


def in_words(gate: Step) -> str:
    """``fan/<number>/approve``."""
    return "/".join("<number>" if part is None else part for part in gate.parts)
