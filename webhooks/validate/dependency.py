"""How the steps of a Story depend on each other: ``needs``, circles, ``requires``.

Source: admission contract 4.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from core.api.objects import STEP_LISTS
from core.api.suggestion import closest
from core.graph.cycles import find_cycle
from core.graph.needs import Declared, Graph, build_graph
from core.graph.reach import upstream
from core.story import edges
from core.story.step import Step
from webhooks.finding import CauseType, Finding, Rule

NEED_UNKNOWN: Final = Rule("story/need-unknown", "4.5", CauseType.NOT_FOUND)
NEED_LATER: Final = Rule("story/need-later", "4.5", CauseType.FORBIDDEN)
NEED_SELF: Final = Rule("story/need-self", "4.4")
CYCLE: Final = Rule("story/cycle", "4.5")
REQUIRE_FORM: Final = Rule("story/require-form", "4.5")
REQUIRE_UNKNOWN: Final = Rule("story/require-unknown", "4.5", CauseType.NOT_FOUND)
REQUIRE_UNREACHED: Final = Rule("story/require-unreached", "4.5")

_MAX_CYCLES: Final = 10
_MAX_SUGGESTIONS: Final = 10  # for one step; each needs a comparison with all names
_REQUIRE_SEGMENTS: Final = 3

Steps = Mapping[str, Step]
"""Steps of the three lists by name; if two have the same name, the first."""
Visible = Mapping[str, Mapping[str, None]]
"""Names of steps, in spec order, by the list that can refer to them."""


def declared(name: str, placed: Step, owners: Mapping[str, str]) -> Declared:
    """The dependencies of a step: its ``needs``, and the steps whose outputs its expressions read.

    ``owners`` are the steps around branches.
    """
    return Declared(name, tuple(placed.declared.get("needs") or ()), edges.steps_read(placed, owners))


def check(steps: Steps, dependencies: Iterable[Declared], graph: Graph, owners: Mapping[str, str]) -> Iterator[Finding]:
    """All errors in the dependencies of ``steps``, step by step, then cycles.

    ``graph`` belongs to ``dependencies``, and has the edges that a run follows.
    """
    visible = visible_from(steps)
    for name, placed in steps.items():
        known = visible[placed.group]
        yield from _needs(name, placed, steps, known)
        yield from _requires(placed, known, Reached(name, placed, steps, graph), owners)
    yield from _cycles(steps, dependencies, graph)


def visible_from(steps: Steps) -> Visible:
    """For each list, the names of steps that may have ended before one of its own starts: its own and earlier ones."""
    found: dict[str, dict[str, None]] = {}
    for last, list_name in enumerate(STEP_LISTS):
        lists = STEP_LISTS[: last + 1]
        found[list_name] = dict.fromkeys(name for name, other in steps.items() if other.group in lists)
    return found


class Reached:
    """The steps that have ended when the step ``name``, ``placed``, starts; steps of earlier lists always have.

    Its own needs are found at once; needs of those steps are only searched if necessary.
    """

    def __init__(self, name: str, placed: Step, steps: Steps, graph: Graph) -> None:
        self._name = name
        self._earlier = STEP_LISTS[: STEP_LISTS.index(placed.group)]
        self._steps = steps
        self._graph = graph
        self._upstream: frozenset[str] | None = None

    def __contains__(self, other: str) -> bool:
        if other != self._name and other in self._graph.needs[self._name]:
            return True
        if other in self._steps and self._steps[other].group in self._earlier:
            return True
        if self._upstream is None:
            self._upstream = upstream(self._graph, [self._name]) - {self._name}
        return other in self._upstream


def remedy_for(unknown: str, known: Iterable[str]) -> str:
    """Suggests the step that the author probably meant."""
    names = list(known)
    guess = closest(unknown, names)
    return f"did you mean {guess}?" if guess else f"the steps are: {', '.join(names) or 'none'}"


def _needs(name: str, placed: Step, steps: Steps, known: Collection[str]) -> Iterator[Finding]:
    suggestions = 0
    for index, need in enumerate(placed.declared.get("needs") or ()):
        path = f"{placed.place}.needs[{index}]"
        if need == name:
            yield NEED_SELF.at(path, f"step {name!r} needs itself", "remove it")
        elif need not in steps:
            suggestions += 1
            others = (other for other in known if other != name)
            remedy = remedy_for(need, others) if suggestions <= _MAX_SUGGESTIONS else "correct or remove it"
            yield NEED_UNKNOWN.at(path, f"there is no step {need!r}", remedy)
        elif need not in known:
            where = steps[need].group
            message = f"{need!r} is a step of {where}; these steps run after {placed.group}"
            yield NEED_LATER.at(path, message, f"move one of the two, or remove {need!r}")


def _requires(placed: Step, known: Collection[str], reached: Reached, owners: Mapping[str, str]) -> Iterator[Finding]:
    for index, required in enumerate(placed.declared.get("requires") or ()):
        path = f"{placed.place}.requires[{index}]"
        segments = required.split(".")
        if segments[0] != "steps" or len(segments) < _REQUIRE_SEGMENTS or not all(segments):
            yield REQUIRE_FORM.at(
                path, f"{required!r} does not name an output", "write for example steps.fetch.output.url"
            )
            continue
        meant = owners.get(segments[1], segments[1])
        if meant not in known:
            remedy = remedy_for(segments[1], known)
            yield REQUIRE_UNKNOWN.at(path, f"there is no step {segments[1]!r} before this step", remedy)
        elif meant not in reached:
            message = f"step {segments[1]!r} might not have ended when this step starts"
            yield REQUIRE_UNREACHED.at(path, message, f"add {meant!r} to needs")


def _cycles(steps: Steps, dependencies: Iterable[Declared], graph: Graph) -> Iterator[Finding]:
    """Circles, each in full; one edge of a circle is removed before the next circle is searched."""
    if find_cycle(graph) is None:  # almost always
        return
    open_ = {step.name: step for step in dependencies}
    for name, step in open_.items():
        if name in step.needs:
            open_[name] = replace(step, needs=tuple(need for need in step.needs if need != name))
    for _ in range(_MAX_CYCLES):
        graph = build_graph(open_.values())
        circle = find_cycle(graph)
        if circle is None:
            return
        message = f"dependency cycle: {' → '.join(circle)}"
        yield CYCLE.at(steps[circle[0]].place, message, "remove one of these needs")
        first, second = circle[0], circle[1]
        kept = tuple(need for need in graph.needs[first] if need != second)
        open_[first] = Declared(first, kept)
