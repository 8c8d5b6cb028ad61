"""A step of a Story, as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from core.api.objects import ReadOnlyObject
from core.story.kinds import StepKind

MAX_BRANCH_DEPTH: Final = 8
"""How deep ``parallel`` steps may be nested."""
ANY_ITEM: Final = "*"
"""Stands for the number of an item in the path of a step that runs for each item."""
_NOTHING: Final[ReadOnlyObject] = {}


class Step(NamedTuple):
    """A tuple: every run and every review makes one for each step, and a frozen dataclass takes longer to make."""

    declared: ReadOnlyObject
    """The step; empty if it is not an object."""
    kind: StepKind
    name: str
    """Empty if it has none, or one that is not a string."""
    parts: tuple[str | None, ...]
    """The names of the ``parallel`` steps around it and its own; None: the number of an item."""
    place: str
    """``spec.steps[2].with.steps[0]``."""
    group: str
    """The list that contains it, directly or in a ``parallel`` step: one of ``STEP_LISTS``."""
    realtime: bool
    """Whether it is part of a stream; compensations and ``finally`` never are."""
    branches: tuple[Step, ...] = ()
    """The items of ``with.steps`` of a ``parallel`` step, all of them."""

    @property
    def path(self) -> str:
        """``fan/a``, or ``fan/*`` for a step that runs for each item."""
        return "/".join(ANY_ITEM if part is None else part for part in self.parts)

    @property
    def depth(self) -> int:
        """The number of ``parallel`` steps around it."""
        return len(self.parts) - 1

    @property
    def word(self) -> str:
        """What people call its kind: ``engram``, or the ``type``."""
        return "engram" if self.declared.get("ref") else str(self.declared.get("type") or "engram")

    @property
    def serves_stream(self) -> bool:
        """Whether it is a main step of a realtime Story that has a container of its own."""
        return self.realtime and not self.depth and bool(self.declared.get("ref"))

    @property
    def parameters(self) -> ReadOnlyObject:
        """``with``; empty if it is not an object."""
        value = self.declared.get("with")
        return value if isinstance(value, Mapping) else _NOTHING

    @property
    def is_for_each(self) -> bool:
        """Whether it is a ``parallel`` step that runs for each item."""
        return self.declared.get("type") == StepKind.PARALLEL and "forEach" in self.parameters
