"""Who gets packets from whom among the steps of a realtime Story that have a container. Pure.

Packets follow the declared ``needs``. Steps without a container, such as ``sleep``, work inside the hub: packets pass
through them. Source: streaming contract 7 and 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.graph.contraction import contracted
from core.graph.needs import Declared, build_graph


@dataclass(frozen=True, slots=True)
class StreamNeighbours:
    """The steps with a container next to one step, in the order of the Story; others between them do not count."""

    upstream: tuple[str, ...]
    """Those whose packets it gets; a step without any is a source."""
    downstream: tuple[str, ...]
    """Those which get its packets."""


def neighbours_of(step: str, steps: Iterable[Mapping[str, Any]]) -> StreamNeighbours:
    """The neighbours of ``step`` among ``steps``, the main steps of a Story."""
    declared = tuple(steps)
    graph = build_graph(Declared(each["name"], tuple(each.get("needs") or ())) for each in declared)
    streams = contracted(graph, frozenset(each["name"] for each in declared if each.get("ref")))
    by_place = graph.position.__getitem__
    return StreamNeighbours(
        tuple(sorted(streams.needs.get(step, ()), key=by_place)),
        tuple(sorted(streams.dependents.get(step, ()), key=by_place)),
    )
