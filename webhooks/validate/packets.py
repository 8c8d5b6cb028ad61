"""Whose packets the steps of a realtime Story get, and whether one packet has all that a step reads.

A packet has the data of the step that sent it, of primitives on its way, and in a join of all branches. Source:
admission contract 4.5 and 4.6, streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import TRANSPORT
from core.api.text import text
from core.graph.needs import Graph
from core.policy.streaming import merged_settings
from core.story import edges
from core.story.step import Step
from core.story.streams import DEFAULT_DOWNSTREAMS, certain_followers, is_in_line, joined_by_default, stream_graph
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate.dependency import Steps

NEEDS_ABSENT: Final = Rule("story/needs-absent", "4.5", severity=Severity.WARNING)
NOT_JOINED: Final = Rule("story/packet-without-step", "4.6", severity=Severity.WARNING)
TOO_FEW: Final = Rule("story/max-downstreams", "4.5", severity=Severity.WARNING)

_MAX_WAYS: Final = 64
"""Ways of packets to one step; nothing is said about a step with more."""


def check(spec: ReadOnlyObject, steps: Steps, world: ClusterView) -> Iterator[Finding]:
    """Findings about the main steps; nothing for a batch Story."""
    placed = {name: each for name, each in steps.items() if each.realtime}
    graph = stream_graph(placed.values())
    settings = {name: _settings(each.declared, spec, world) for name, each in placed.items()}
    for name, each in placed.items():
        if graph.position[name] and is_in_line(each):
            yield _in_line(each, graph.needs[name])
        yield from _not_joined(name, each, placed, graph, settings)
        yield from _too_few(name, each, placed, graph, settings[name].get("routing") or {})


def _in_line(placed: Step, needs: tuple[str, ...]) -> Finding:
    if needs:
        message = f"has no needs, so it gets the packets of the steps before it: {', '.join(needs)}"
        return NEEDS_ABSENT.at(placed.place, message, "name them in needs; a source has needs: []")
    message = "has no needs, and is a source: the steps before it have another transport, need it, or send nothing"
    return NEEDS_ABSENT.at(placed.place, message, "write needs: []")


def _too_few(name: str, placed: Step, steps: Steps, graph: Graph, routing: ReadOnlyObject) -> Iterator[Finding]:
    if not placed.declared.get("ref") or routing.get("rules"):
        return
    followers = certain_followers(graph, name, steps)
    most = routing.get("maxDownstreams") or DEFAULT_DOWNSTREAMS
    if len(followers) > most:
        message = f"{len(followers)} steps get its packets, and maxDownstreams lets {most} of them have each"
        remedy = f"set routing.maxDownstreams to {len(followers)} in the streaming settings of its transport"
        yield TOO_FEW.at(placed.place, message, remedy)


def _not_joined(
    name: str, placed: Step, steps: Steps, graph: Graph, settings: dict[str, ReadOnlyObject]
) -> Iterator[Finding]:
    step = placed.declared
    read = edges.read_per_packet(step.get("if"), step.get("runtime"), graph.order)
    if not read:
        return
    ways = _ways_to(name, steps, graph, settings, read)
    if len(ways) > _MAX_WAYS or any(read <= way for way in ways):
        return
    where = f"{placed.place}.{'runtime' if step.get('runtime') is not None else 'if'}"
    words = ", ".join(each for each in graph.order if each in read)
    missing = [each for each in graph.order if each in read and not any(each in way for way in ways)]
    if missing:
        message = f"reads {words} for each packet, and no packet that comes to the step has data of {missing[0]}"
        remedy = f"add {missing[0]} to needs, which joins the packets, or let the step between pass its data on"
        yield NOT_JOINED.at(where, message, remedy)
    else:
        message = f"reads {words} for each packet, and a packet has only one of them: they are not joined"
        remedy = "set fanIn in the streaming settings of the transport, and let the packets have a common bubu.join.key"
        yield NOT_JOINED.at(where, message, remedy)


def _ways_to(
    name: str, steps: Steps, graph: Graph, settings: dict[str, ReadOnlyObject], read: Set[str]
) -> set[frozenset[str]]:
    """For each way of a packet to the step, the steps whose data it then has."""
    step, needs = steps[name], graph.needs[name]
    sets: tuple[tuple[str, ...], ...] = ()
    if len(needs) > 1 and not is_in_line(step) and step.declared.get("ref"):
        conditional = {each for each, of in steps.items() if _is_conditional(of.declared, settings[each])}
        is_set = settings[name].get("fanIn") is not None
        sets = (needs,) if is_set else joined_by_default(graph, name, conditional, lambda: read)
    found: set[frozenset[str]] = set()
    for joined in sets:
        found.add(frozenset().union(*(way for need in joined for way in _ways_through(need, steps, graph))))
    for need in needs:
        if not any(need in joined for joined in sets):
            found |= _ways_through(need, steps, graph)
    return found


def _ways_through(need: str, steps: Steps, graph: Graph) -> set[frozenset[str]]:
    """The same, at the end of ``need``. Stops at more than are looked at."""
    found: set[frozenset[str]] = set()
    open_ends = [(need, frozenset[str]())]
    while open_ends and len(found) <= _MAX_WAYS and len(open_ends) <= _MAX_WAYS:
        step, behind = open_ends.pop()
        way = behind | {step}
        if steps[step].declared.get("ref") or not graph.needs[step]:
            found.add(way)
        elif step not in behind:  # in a circle, which is refused elsewhere
            open_ends += ((each, way) for each in graph.needs[step])
    return found


def _is_conditional(step: ReadOnlyObject, settings: ReadOnlyObject) -> bool:
    rules = (settings.get("routing") or {}).get("rules")
    return bool(text(step.get("if"))) or step.get("type") == "stop" or bool(step.get("ref") and rules)


def _settings(step: ReadOnlyObject, spec: ReadOnlyObject, world: ClusterView) -> ReadOnlyObject:
    """The merged settings of the step's transport, as far as they can be seen."""
    wanted = text(step.get("transport"))
    for declared in spec.get("transports") or ():
        if not wanted or text(declared.get("name")) == wanted:
            found = world.find(TRANSPORT, "", text(declared.get("transportRef")))
            return merged_settings({} if isinstance(found, Unseen) else found.get("spec") or {}, declared)
    return {}
