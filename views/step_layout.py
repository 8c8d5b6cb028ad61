"""The steps of a run in order: declared steps in spec order, branches below their ``parallel`` step.

Pure. A step's name is its path: ``fan/a`` is branch ``a`` of ``fan``, ``fan/0`` the first item of a ``forEach``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.api.objects import Object, ReadOnlyObject, step_path
from core.api.suggestion import closest
from core.story.step import ANY_ITEM, Step
from core.story.story import read_story
from views.errors import ViewError


@dataclass(frozen=True, slots=True)
class RunStep:
    name: str
    """The path."""
    step: ReadOnlyObject
    """As declared; for a step that only the run knows, an object with just its name."""
    list_name: str
    """``steps``, ``compensations`` or ``finally``; empty when only the run knows the step."""
    kind: str = "engram"
    """``engram`` or the primitive's type."""

    @property
    def depth(self) -> int:
        """How many ``parallel`` steps are around it."""
        return self.name.count("/")


def declared_steps(story: Object | None, recorded: Iterable[str] = ()) -> list[RunStep]:
    """Every step of a Story, branches after the step around them.

    The items of a ``forEach`` are those in ``recorded``. The primitives in the main list of a realtime Story are left
    out: the hub carries them out for each packet, so a run has no state of them.
    """
    read = read_story(story)
    names = frozenset(recorded)
    return [
        placed
        for step in read.top()
        if step.name and not (step.realtime and not step.serves_stream)
        for placed in _with_branches(step, step.name, names)
    ]


def recorded_steps(names: Iterable[str], known: Iterable[str]) -> list[RunStep]:
    """Steps that only the run knows, branches after the step around them."""
    listed = frozenset(known)
    rest = [name for name in names if name not in listed]
    first = {root: index for index, root in reversed(list(enumerate(_root(name) for name in rest)))}
    return [
        RunStep(name, {"name": _last(name)}, "")
        for name in sorted(rest, key=lambda name: (first[_root(name)], _natural(name)))
    ]


def parent_of(name: str) -> str:
    """The ``parallel`` step around a branch; empty for a step of the Story itself."""
    return name.rpartition("/")[0]


def known_step(run: str, names: Sequence[str], step: str) -> str:
    """The name of the step that a user means: its path, or its last part if only one step has that.

    Raises:
        ViewError: the run has no such step; the message names the steps that it has.
    """
    if step in names:
        return step
    named = [name for name in names if name.rpartition("/")[2] == step]
    if len(named) == 1:
        return named[0]
    near = closest(step, list(names))
    remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(names)}"
    raise ViewError(f"run {run} has no step {step!r}", remedy=remedy)


def path_of(step_run: Mapping[str, Any]) -> str:
    """The path of the step that a StepRun or a child StoryRun belongs to."""
    return step_path(step_run)


def fits(pattern: str, name: str) -> bool:
    """Whether ``name`` is the step ``pattern``, where ``*`` stands for the number of an item."""
    wanted, given = pattern.split("/"), name.split("/")
    return len(wanted) == len(given) and all(
        part == word or (part == ANY_ITEM and word.isdecimal()) for part, word in zip(wanted, given, strict=True)
    )


def _with_branches(step: Step, name: str, recorded: frozenset[str]) -> Iterator[RunStep]:
    yield RunStep(name, step.declared, step.group, step.word)
    branches = [branch for branch in step.branches if branch.name]
    if step.is_for_each:
        for item in _items(name, recorded):
            for branch in branches[:1]:
                yield from _with_branches(branch, f"{name}/{item}", recorded)
        return
    for branch in branches:
        yield from _with_branches(branch, f"{name}/{branch.name}", recorded)


def _items(name: str, recorded: frozenset[str]) -> list[str]:
    """Numbers of the items that have begun, in order; ``*`` if there is none yet."""
    prefix = f"{name}/"
    found = {rest.split("/")[0] for each in recorded if each.startswith(prefix) and (rest := each[len(prefix) :])}
    return sorted((item for item in found if item.isdecimal()), key=int) or [ANY_ITEM]


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key: items by their number, other parts by their name."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split("/")]


def _root(name: str) -> str:
    return name.partition("/")[0]


def _last(name: str) -> str:
    return name.rpartition("/")[2]
