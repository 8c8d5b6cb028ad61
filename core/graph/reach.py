"""The steps before and after a step. Pure, iterative. Source: StoryRun contract 18.2 (transitive dependents)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.graph.needs import Graph


def downstream(graph: Graph, steps: Iterable[str]) -> frozenset[str]:
    """``steps`` and everything that needs one of them, directly or through others."""
    return _closure(graph.dependents, steps)


def upstream(graph: Graph, steps: Iterable[str]) -> frozenset[str]:
    """``steps`` and everything that they need, directly or through others."""
    return _closure(graph.needs, steps)


def _closure(edges: Mapping[str, tuple[str, ...]], steps: Iterable[str]) -> frozenset[str]:
    found = set(steps)
    open_ends = list(found)
    while open_ends:
        for step in edges[open_ends.pop()]:
            if step not in found:
                found.add(step)
                open_ends.append(step)
    return frozenset(found)
