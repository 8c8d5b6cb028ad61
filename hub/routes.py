"""Where the packets of one run go: its steps, who follows whom, and how each is served. Compiled once for a run.

Packets follow the edges of ``needs``, whatever the order of the steps. A step without ``needs`` is a source. A step
with several needs receives the packets of each by themselves, unless its settings say that it joins them. Primitives
are steps without a client: packets go through them. Source: streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from core.graph.cycles import find_cycle
from core.graph.needs import Declared, build_graph
from core.telemetry.tracing.trace_parent import TraceParent
from hub.settings import DEFAULT_DELIVERY, MAX_DOWNSTREAMS, DeliverySettings, JoinSettings, PartitionMode

Json = Any


class RouteError(ValueError):
    """The steps of a run cannot be connected. The message names the step and the remedy."""


class StreamRun(NamedTuple):
    """Namespace and name of a StoryRun."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class StreamStepKind(StrEnum):
    """What a step is: an Engram with a client, or a primitive of the hub."""

    ENGRAM = "engram"
    CONDITION = "condition"
    PARALLEL = "parallel"
    SLEEP = "sleep"
    STOP = "stop"
    EXECUTE_STORY = "executeStory"


PASSES_AT_ONCE: frozenset[StreamStepKind] = frozenset({StreamStepKind.CONDITION, StreamStepKind.PARALLEL})
"""Primitives that keep no packet."""


@dataclass(frozen=True, slots=True)
class StreamStep:
    """One streaming step, as the hub sees it."""

    name: str
    needs: tuple[str, ...] = ()
    delivery: DeliverySettings = DEFAULT_DELIVERY
    """How packets are delivered *to* this step."""
    kind: StreamStepKind = StreamStepKind.ENGRAM
    condition: str = ""
    """``if``; blank: always. A packet for which it is false does not go to the step."""
    runtime: Mapping[str, Json] | None = None
    """Inputs of the step for each packet, over ``inputs``, ``steps`` and ``packet``."""
    parameters: Mapping[str, Json] | None = None
    """``with``, over ``inputs``, of a primitive: its settings; and of a step that runs Jobs: a part of the inputs of
    each. That of another Engram configures its container.
    """
    input_schema: Mapping[str, Json] | None = None
    """JSON Schema of evaluated inputs, with defaults."""
    output_schema: Mapping[str, Json] | None = None
    """JSON Schema of what the packets of the step carry."""
    timeout: float | None = None
    """``execution.timeout`` of an ``executeStory``, in seconds."""
    trace_parent: TraceParent | None = None
    """The span of the step; None: the run is not traced."""
    runs_jobs: bool = False
    """Whether no client serves it: the hub starts a Job for each packet."""

    @property
    def is_primitive(self) -> bool:
        return self.kind is not StreamStepKind.ENGRAM

    @property
    def join(self) -> JoinSettings | None:
        """How it joins the packets of its needs; None if it receives each by itself."""
        return self.delivery.join if len(self.needs) > 1 else None

    @property
    def takes_as_it_is(self) -> bool:
        """Whether nothing is evaluated or changed on the way of a packet to this step."""
        return (
            self.kind is StreamStepKind.ENGRAM
            and not self.runs_jobs
            and not self.condition.strip()
            and self.runtime is None
            and self.join is None
            and self.delivery.partitioning.mode is PartitionMode.NONE
        )


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
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """Those of the StoryRun, for expressions."""
    uid: str = ""
    """Of the StoryRun; empty where there is no cluster."""


def compile_routes(
    run: StreamRun,
    story: str,
    steps: Iterable[StreamStep],
    *,
    inputs: Mapping[str, Json] | None = None,
    uid: str = "",
    max_downstreams: int = MAX_DOWNSTREAMS,
) -> RunRoutes:
    """The routes of a run with these steps.

    Raises:
        RouteError: two steps have one name, a need is not a step, steps need each other in a circle, a step has more
            than ``max_downstreams`` followers, or a rule or a quorum does not fit the steps.
    """
    ordered = tuple(steps)
    graph = build_graph(Declared(step.name, step.needs) for step in ordered)
    if len(set(graph.order)) < len(ordered):
        raise RouteError(f"run {run}: two steps have the same name; names must be unique")
    if graph.unknown:
        step, missing = graph.unknown[0]
        raise RouteError(f"run {run}, step {step}: needs names {missing}, which is not a streaming step of the run")
    if (circle := find_cycle(graph)) is not None:
        raise RouteError(f"run {run}: dependency cycle: {' → '.join(circle)}; remove one need")
    for name, targets in graph.dependents.items():
        if len(targets) > max_downstreams:
            raise RouteError(f"run {run}, step {name}: {len(targets)} steps need it; the maximum is {max_downstreams}")
    for each in ordered:
        _check_settings(run, each, graph.needs[each.name])
    by_name = {step.name: step for step in ordered}
    return RunRoutes(run, story, by_name, graph.dependents, graph.needs, dict(inputs or {}), uid)


def _check_settings(run: StreamRun, step: StreamStep, needs: tuple[str, ...]) -> None:
    if step.is_primitive and not needs:
        raise RouteError(
            f"run {run}, step {step.name}: it has no needs, so it receives no packets; name a step in needs"
        )
    join = step.join
    if join is not None and join.quorum > len(needs):
        text = f"fanIn.quorum is {join.quorum}, and the step has {len(needs)} needs"
        raise RouteError(f"run {run}, step {step.name}: {text}; use at most that")
