"""Who gets packets from whom among the main steps of a realtime Story. Pure; the one place of this rule.

A step gets the packets of the steps in its ``needs``. One without ``needs`` gets those of all steps before it in the
list, and ``needs: []`` makes it a source. Steps without a container, such as ``sleep``, work inside the hub: packets
pass through them. Needs that have the same sources are joined where nothing else is said. Source: streaming contract 7
and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from core.graph.contraction import contracted
from core.graph.needs import Declared, Graph, build_graph
from core.graph.reach import downstream, upstream
from core.story.kinds import PRIMITIVES, InStream
from core.story.step import Step

DEFAULT_DOWNSTREAMS: Final = 32
"""``routing.maxDownstreams`` of a step that says nothing about it: how many Engrams get one of its packets."""
_PASSING: Final = frozenset(
    kind for kind, known in PRIMITIVES.items() if known.in_stream in (InStream.FORWARD, InStream.DELAY)
)
"""The kinds of steps through which each packet goes on."""


@dataclass(frozen=True, slots=True)
class StreamNeighbours:
    """The steps with a container next to one step, in the order of the Story; others between them do not count."""

    upstream: tuple[str, ...]
    """Those whose packets it gets; a step without any is a source."""
    downstream: tuple[str, ...]
    """Those which get its packets."""


def neighbours_of(step: str, steps: Iterable[Step]) -> StreamNeighbours:
    """The neighbours of ``step`` among ``steps``, the main steps of a Story."""
    declared = tuple(steps)
    graph = stream_graph(declared)
    streams = contracted(graph, frozenset(each.name for each in declared if each.declared.get("ref")))
    by_place = graph.position.__getitem__
    return StreamNeighbours(
        tuple(sorted(streams.needs.get(step, ()), key=by_place)),
        tuple(sorted(streams.dependents.get(step, ()), key=by_place)),
    )


def stream_graph(steps: Iterable[Step]) -> Graph:
    """The graph along which packets go; ``steps`` are the main steps of a Story."""
    return build_graph(Declared(name, needs) for name, needs in packet_needs(steps).items())


def certain_followers(graph: Graph, step: str, steps: Mapping[str, Step]) -> tuple[str, ...]:
    """The Engrams to which each packet of ``step`` goes, directly or through primitives.

    Those that perhaps do not get it are left out: behind an ``if``, and with several needs, which they may join.
    """
    found: dict[str, None] = {}
    pending, seen = list(reversed(graph.dependents[step])), {step}
    while pending:
        name = pending.pop()
        each = steps[name]
        if name in seen or each.declared.get("if"):
            continue
        seen.add(name)
        if each.declared.get("ref"):
            if is_in_line(each) or len(graph.needs[name]) == 1:
                found[name] = None
        elif each.kind in _PASSING:
            pending += reversed(graph.dependents[name])
    return tuple(found)


def is_in_line(step: Step) -> bool:
    """Whether the step says nothing about ``needs``: then its place in the list says whose packets it gets."""
    return step.declared.get("needs") is None


def packet_needs(steps: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    """For each step those whose packets it gets: its ``needs``, as they are written, or those of its place in the list.

    A step without ``needs`` gets the packets of all Engrams before it, each once: what passes through a step without a
    container that has no ``needs`` either comes from that one. It gets none of a step that needs it, and none of a step
    of another transport, if both name one.
    """
    declared = {step.name: step for step in steps}
    needs = {name: _named(step) for name, step in declared.items()}
    place = {name: index for index, name in enumerate(declared)}
    looks_ahead = any(place.get(need, -1) > place[name] for name, named in needs.items() for need in named)
    line: list[str] = []
    """Steps whose packets one without ``needs`` gets, as far as the list was read."""
    for name, step in declared.items():
        if line and is_in_line(step):
            users = _users(name, needs) if looks_ahead else frozenset()
            before = [each for each in line if each not in users and not _are_apart(declared[each], step)]
            passing = {need for each in before if not declared[each].declared.get("ref") for need in needs[each]}
            needs[name] = tuple(each for each in before if each not in passing)
        if step.declared.get("ref") or (is_in_line(step) and needs[name]):
            line.append(name)
    return needs


def joined_by_default(
    graph: Graph, step: str, conditional: Set[str], reads: Callable[[], Set[str] | None]
) -> tuple[tuple[str, ...], ...]:
    """The needs of ``step`` whose packets are joined where nothing is said about it, in sets of two and more.

    Needs with the same sources are branches of one stream, whose packets have the same id. Packets of different sources
    have different ones, and would wait for each other in vain; so would those of branches that get only some of the
    packets. Such branches are joined if the step reads several of them.

    Args:
        graph: that of ``stream_graph``.
        conditional: steps that get, or pass on, only some of the packets that come to them.
        reads: asked only if it matters: the names that the step reads for each packet; None: perhaps all.
    """
    needs = graph.needs[step]
    if len(needs) < 2:
        return ()
    above = {need: upstream(graph, (need,)) for need in needs}
    sets: dict[frozenset[str], list[str]] = {}
    for need in needs:
        sets.setdefault(frozenset(each for each in above[need] if not graph.needs[each]), []).append(need)
    return tuple(
        tuple(members)
        for members in sets.values()
        if len(members) > 1 and _are_joined({need: above[need] for need in members}, conditional, reads)
    )


def _are_joined(
    branches: Mapping[str, frozenset[str]], conditional: Set[str], reads: Callable[[], Set[str] | None]
) -> bool:
    """``branches``: for each need, itself and all above it."""
    common = frozenset.intersection(*branches.values())
    if not conditional & (frozenset().union(*branches.values()) - common):
        return True
    read = reads()
    own = [{need} | (branch - common) for need, branch in branches.items()]
    return read is None or sum(not read.isdisjoint(steps) for steps in own) > 1


def _named(step: Step) -> tuple[str, ...]:
    declared = step.declared.get("needs")
    return tuple(need for need in declared if isinstance(need, str)) if isinstance(declared, list | tuple) else ()


def _users(step: str, needs: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """The steps that need ``step``, directly or through others."""
    return downstream(build_graph(Declared(name, named) for name, named in needs.items()), (step,)) - {step}


def _are_apart(one: Step, other: Step) -> bool:
    """Whether the two name different transports."""
    first, second = one.declared.get("transport"), other.declared.get("transport")
    return bool(first and second and first != second)
