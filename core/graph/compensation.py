"""The order in which work is undone: the last step is undone first.

A compensation is about the main steps that it needs or whose outputs it reads. When one of those depends on a main step
of another compensation, the other compensation waits, unless the compensations' declared needs say otherwise. Pure.
Source: StoryRun contract 14.4; the order is an extension: the reference starts them all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from core.graph.needs import Graph
from core.graph.reach import downstream


def undo_order(main: Graph, about: Mapping[str, Set[str]], needs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Additional needs of each compensation, by name, in the order of ``about``.

    Args:
        main: the main steps.
        about: the main steps that each compensation is about.
        needs: the declared needs of each compensation among the compensations; the result never contradicts them.
    """
    later = {name: downstream(main, steps) - steps if steps else frozenset() for name, steps in about.items()}
    edges = {name: set(needs[name]) for name in about}
    added: dict[str, list[str]] = {name: [] for name in about}
    for first in about:
        for second in about:
            undoes_first = bool(later[second] & about[first]) and not later[first] & about[second]
            if first != second and undoes_first and not _leads_to(edges, first, second) and first not in edges[second]:
                edges[second].add(first)
                added[second].append(first)
    return added


def _leads_to(edges: Mapping[str, Set[str]], start: str, goal: str) -> bool:
    """Whether ``start`` needs ``goal``, directly or through others."""
    seen, open_ends = {start}, [start]
    while open_ends:
        for need in edges[open_ends.pop()]:
            if need == goal:
                return True
            if need not in seen:
                seen.add(need)
                open_ends.append(need)
    return False
