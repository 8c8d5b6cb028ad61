"""The gates of a Story, by their keys in ``status.gates`` of a run.

The key of a step is its name. The key of a branch is its path, such as ``fan/approve``. Below a ``forEach``, the number
of the item takes the place of a name: ``fan/0``, ``fan/1/approve``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.api.loops import MAX_ITEMS
from core.api.objects import ReadOnlyObject
from core.story.kinds import StepKind
from webhooks.validate import steps

_NUMBERS: Final = frozenset(map(str, range(MAX_ITEMS)))


@dataclass(frozen=True, slots=True)
class DeclaredGate:
    """One gate, or one for each item; ``parts`` are the names in its path, ``None`` is the number of an item."""

    parts: tuple[str | None, ...]

    def has(self, name: str) -> bool:
        """Whether a decision with the key ``name`` is about this gate."""
        parts = name.split("/")
        return len(parts) == len(self.parts) and all(
            part in _NUMBERS if own is None else part == own for part, own in zip(parts, self.parts, strict=True)
        )

    def __str__(self) -> str:
        """``fan/<number>/approve``."""
        return "/".join("<number>" if part is None else part for part in self.parts)


def of_story(story: ReadOnlyObject) -> Iterator[DeclaredGate]:
    """The gates in all lists and branches, in spec order."""
    return (DeclaredGate(step.parts) for step in steps.every_step(story) if step.declared.get("type") == StepKind.GATE)
