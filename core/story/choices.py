"""The steps of a Story in v1beta1, where a step chooses its kind by a field. Pure; any JSON can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from core.api.objects import STEP_LISTS, ReadOnlyObject
from core.story.kinds import SETTINGS
from core.story.step import MAX_BRANCH_DEPTH


class ChoosingStep(NamedTuple):
    written: ReadOnlyObject
    place: str
    """``spec.steps[2].parallel.steps[0]``."""

    @property
    def stored_place(self) -> str:
        """Its place in v1alpha1: ``spec.steps[2].with.steps[0]``."""
        return self.place.replace(".parallel.", ".with.")


def choosing_steps(story: ReadOnlyObject) -> Iterator[ChoosingStep]:
    """The steps in spec order, each followed by its branches, as deep as admission allows."""
    spec = story.get("spec")
    if isinstance(spec, Mapping):
        for group in STEP_LISTS:
            yield from _steps(spec.get(group), f"spec.{group}", 0)


def primitive_of(step: ReadOnlyObject) -> str | None:
    """The primitive of a step of v1beta1; the first one if it has several."""
    return next((primitive for primitive in SETTINGS if isinstance(step.get(primitive), dict)), None)


def _steps(items: Any, place: str, depth: int) -> Iterator[ChoosingStep]:
    for index, item in enumerate(items if isinstance(items, list) and depth <= MAX_BRANCH_DEPTH else ()):
        if isinstance(item, Mapping):
            here, parallel = f"{place}[{index}]", item.get("parallel")
            yield ChoosingStep(item, here)
            if isinstance(parallel, Mapping):
                yield from _steps(parallel.get("steps"), f"{here}.parallel.steps", depth + 1)
