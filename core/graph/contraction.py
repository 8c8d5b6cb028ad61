"""A graph without some of its steps: what needed one of them needs what that one needed.

Pure, iterative; it ends for graphs with circles, too. A realtime Story's primitives are carried out for each packet, so
only its other steps are started, in the order that remains. Source: streaming contract 3.
"""

from __future__ import annotations

from collections.abc import Set

from core.graph.needs import Declared, Graph, build_graph


def contracted(graph: Graph, kept: Set[str]) -> Graph:
    """The graph of the ``kept`` steps. Its needs are in the order in which they are met on the way up."""
    return build_graph(Declared(step, _needs_among(graph, step, kept)) for step in graph.order if step in kept)


def _needs_among(graph: Graph, step: str, kept: Set[str]) -> tuple[str, ...]:
    """The nearest kept steps above ``step``, on every way that leads up from it."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    open_ends = list(reversed(graph.needs[step]))
    while open_ends:
        need = open_ends.pop()
        if need in seen:
            continue
        seen.add(need)
        if need in kept:
            found[need] = None
        else:
            open_ends += reversed(graph.needs[need])
    return tuple(found)
