"""In which order work is undone: what was done last goes first.

A compensation stands for the main steps that it needs or whose outputs it reads. When one of those depends on a main
step of another compensation, the other waits, unless the compensations' own needs say otherwise. Pure.
Source: StoryRun contract 14.4; the order is ours, the reference starts them all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from core.graph.needs import Graph
from core.graph.reach import downstream


def undo_order(main: Graph, about: Mapping[str, Set[str]], needs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Further needs of each compensation, by name, in the order of ``about``.

    Args:
        main: the main steps.
        about: the main steps that each compensation stands for.
        needs: what each compensation needs among the compensations, as declared; never contradicted.
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
