"""The needs of steps: declared ``needs``, plus the steps that a step's templates refer to.

Pure. The caller has parsed the templates (core.expressions); a reference here is only a name.
Not here: cycles (core.graph.cycles). Source: StoryRun contract 8.1 to 8.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bubu_contract import identity


@dataclass(frozen=True, slots=True)
class Declared:
    """The needs and references of one step, as declared."""

    name: str
    needs: tuple[str, ...] = ()
    references: frozenset[str] = frozenset()
    """Step names found in templates; the underscore alias of a name counts as the name."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges between the steps of one group. Every name in a value is a key: unknown names are reported separately."""

    order: tuple[str, ...]
    """Spec order; it decides all ties."""
    position: Mapping[str, int]
    """Index in ``order``."""
    needs: Mapping[str, tuple[str, ...]]
    dependents: Mapping[str, tuple[str, ...]]
    unknown: tuple[tuple[str, str], ...]
    """Sorted ``(step, name)`` pairs for names that are not a step of the group."""


def build_graph(steps: Iterable[Declared]) -> Graph:
    """The graph of a group; edges are unique, the declared ones first, then the implied ones by name."""
    declared = tuple(steps)
    order = tuple(step.name for step in declared)
    names = frozenset(order)
    aliases = aliases_of(order)
    needs: dict[str, tuple[str, ...]] = {}
    dependents: dict[str, list[str]] = {name: [] for name in order}
    unknown: set[tuple[str, str]] = set()
    for step in declared:
        wanted = dict.fromkeys(step.needs)
        wanted.update(dict.fromkeys(sorted(aliases.get(name, name) for name in step.references)))
        unknown.update((step.name, name) for name in wanted if name not in names)
        needs[step.name] = tuple(name for name in wanted if name in names)
        for name in needs[step.name]:
            dependents[name].append(step.name)
    return Graph(
        order=order,
        position={name: index for index, name in enumerate(order)},
        needs=needs,
        dependents={name: tuple(users) for name, users in dependents.items()},
        unknown=tuple(sorted(unknown)),
    )


def aliases_of(names: Iterable[str]) -> dict[str, str]:
    """Name with underscores → name; a step with exactly that name has precedence, then the first in spec order."""
    real = tuple(names)
    found: dict[str, str] = {}
    for name in real:
        found.setdefault(identity.step_alias(name), name)
    found.update((name, name) for name in real)
    return found
