"""Reads a Story: the only code that walks its steps. Any JSON can be read, damaged documents included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.api.objects import STEP_LISTS, ReadOnlyObject
from core.api.phases import member_or_none
from core.story.kinds import StepKind
from core.story.step import Step

MAX_DEPTH: Final = 16
"""The nesting of ``parallel`` steps that is read; admission allows far less."""


@dataclass(frozen=True, slots=True)
class Story:
    spec: ReadOnlyObject
    """Empty if the document has none."""
    realtime: bool
    groups: Mapping[str, tuple[Step, ...]]
    """The steps of each of ``STEP_LISTS``, one for each item, with their branches in them."""

    def top(self) -> Iterator[Step]:
        """The steps of the lists themselves, in spec order."""
        for steps in self.groups.values():
            yield from steps

    def every_step(self) -> Iterator[Step]:
        """The steps in spec order, each followed by its branches."""
        for step in self.top():
            yield from with_branches(step)

    def find(self, path: str) -> Step | None:
        """The step of the path ``fan/a``, or ``fan/0/x`` inside an item."""
        steps, found = tuple(self.top()), None
        for part in path.split("/"):
            found = next((step for step in steps if _is_meant(step, part)), None)
            steps = found.branches if found is not None else ()
        return found


def read_story(document: object) -> Story:
    """The steps of a Story in wire form."""
    spec = _mapping(_mapping(document).get("spec"))
    realtime = is_realtime(spec)
    groups = {
        group: _steps(spec.get(group), f"spec.{group}", (), group, realtime and group == "steps")
        for group in STEP_LISTS
    }
    return Story(spec, realtime, groups)


def is_realtime(spec: ReadOnlyObject) -> bool:
    """Whether the main steps are a stream, and not a batch."""
    return spec.get("pattern") == "realtime"


def with_branches(step: Step) -> Iterator[Step]:
    """The step, and all below it, in spec order."""
    yield step
    for branch in step.branches:
        yield from with_branches(branch)


def _steps(
    items: object, place: str, around: tuple[str | None, ...], group: str, realtime: bool, *, for_each: bool = False
) -> tuple[Step, ...]:
    steps = []
    for index, item in enumerate(items if isinstance(items, list) else ()):
        declared, here = _mapping(item), f"{place}[{index}]"
        name = declared.get("name")
        name = name if isinstance(name, str) else ""
        parts = (*around, None if for_each else name)
        branches: tuple[Step, ...] = ()
        if declared.get("type") == "parallel" and len(around) < MAX_DEPTH:
            inside = _mapping(declared.get("with"))
            branches = _steps(
                inside.get("steps"), f"{here}.with.steps", parts, group, realtime, for_each="forEach" in inside
            )
        steps.append(Step(declared, _kind(declared), name, parts, here, group, realtime, branches))
    return tuple(steps)


def _kind(declared: ReadOnlyObject) -> StepKind:
    if declared.get("ref") or declared.get("run"):
        return StepKind.ENGRAM
    kind = member_or_none(StepKind, declared.get("type"))
    return StepKind.UNKNOWN if kind in (None, StepKind.ENGRAM) else kind


def _is_meant(step: Step, part: str) -> bool:
    return part.isdecimal() if step.parts[-1] is None else bool(part) and step.name == part


def _mapping(value: Any) -> ReadOnlyObject:
    return value if isinstance(value, Mapping) else {}
