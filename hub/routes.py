"""Where the packets of one run go: its steps, who follows whom, and how each is served. Compiled once for a run.

Packets follow the edges of ``needs``, whatever the order of the steps. A step without ``needs`` is a source. A step
with several needs receives the packets of each by themselves. Source: streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from core.graph.cycles import find_cycle
from core.graph.needs import Declared, build_graph
from hub.settings import DEFAULT_DELIVERY, DeliverySettings

MAX_DOWNSTREAMS: Final = 64


class RouteError(ValueError):
    """The steps of a run cannot be connected. The message names the step and the remedy."""


class StreamRun(NamedTuple):
    """Namespace and name of a StoryRun."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class StreamStep:
    """One streaming step, as the hub sees it."""

    name: str
    needs: tuple[str, ...] = ()
    delivery: DeliverySettings = DEFAULT_DELIVERY
    """How packets are delivered *to* this step."""


@dataclass(frozen=True, slots=True)
class RunRoutes:
    """The compiled topology of one run; make it with ``compile_routes``."""

    run: StreamRun
    story: str
    steps: Mapping[str, StreamStep]
    targets: Mapping[str, tuple[str, ...]]
    """For each step the steps that receive its packets, in the order of the Story."""
    sources: Mapping[str, tuple[str, ...]]
    """For each step the steps whose packets it receives."""


def compile_routes(
    run: StreamRun, story: str, steps: Iterable[StreamStep], *, max_downstreams: int = MAX_DOWNSTREAMS
) -> RunRoutes:
    """The routes of a run with these steps.

    Raises:
        RouteError: two steps have one name, a need is not a step, steps need each other in a circle, or a step has more
            than ``max_downstreams`` followers.
    """
    ordered = tuple(steps)
    graph = build_graph(Declared(step.name, step.needs) for step in ordered)
    if len(set(graph.order)) < len(ordered):
        raise RouteError(f"run {run}: two steps have the same name; names must be unique")
    if graph.unknown:
        step, missing = graph.unknown[0]
        raise RouteError(f"run {run}, step {step}: needs names {missing}, which is not a streaming step of the run")
    if (circle := find_cycle(graph)) is not None:
        raise RouteError(f"run {run}: steps need each other in a circle: {' → '.join(circle)}; remove one need")
    for name, targets in graph.dependents.items():
        if len(targets) > max_downstreams:
            raise RouteError(f"run {run}, step {name}: {len(targets)} steps need it; at most {max_downstreams} may")
    return RunRoutes(run, story, {step.name: step for step in ordered}, graph.dependents, graph.needs)
