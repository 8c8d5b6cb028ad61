"""Where the packets of one run go: its steps, who follows whom, and how each is served. Compiled once for a run.

Packets follow the edges of ``needs``, whatever the order of the steps. A step without ``needs`` is a source. A step
with several needs joins their packets as its settings say; without settings it joins those of needs with the same
sources (``core.story.streams``), and receives the others by themselves. Primitives are steps without a client: packets
go through them. Source: streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, NamedTuple

from core.api.objects import NamespacedName
from core.graph.cycles import find_cycle
from core.graph.needs import Declared, Graph, build_graph
from core.story.kinds import PRIMITIVES, InStream, StepKind
from core.story.streams import joined_by_default
from core.telemetry.tracing.trace_parent import TraceParent
from hub.settings import DEFAULT_DELIVERY, DeliverySettings, JoinSettings, PartitionMode

Json = Any
_STREAM_ID_BYTES: Final = 96


class RouteError(ValueError):
    """The steps of a run cannot be connected. The message names the step and the remedy."""


PASSES_AT_ONCE: Final = frozenset(
    kind for kind, known in PRIMITIVES.items() if known.in_stream in (InStream.FORWARD, InStream.END)
)
"""Primitives that keep no packet."""
_DEFAULT_JOIN = JoinSettings(needs_key=False)


class StreamJoin(NamedTuple):
    """How a step joins the packets of its needs."""

    settings: JoinSettings
    sets: tuple[tuple[str, ...], ...]
    """Needs whose packets are joined with each other; packets of other needs pass by themselves."""


@dataclass(frozen=True, slots=True)
class StreamStep:
    """One streaming step, as the hub sees it."""

    name: str
    needs: tuple[str, ...] = ()
    delivery: DeliverySettings = DEFAULT_DELIVERY
    """How packets are delivered *to* this step."""
    kind: StepKind = StepKind.ENGRAM
    """An Engram, which has a client, or a primitive that can be in a stream."""
    condition: str = ""
    """``if``; blank: always. A packet for which it is false does not go to the step."""
    runtime: Mapping[str, Json] | None = None
    """Inputs of the step for each packet, over ``inputs``, ``steps`` and ``packet``."""
    parameters: Mapping[str, Json] | None = None
    """``with``, over ``inputs``: the settings of a primitive; of a step that runs Jobs, a part of the inputs of each;
    for another Engram without ``runtime`` what it finds beside each packet, as its inputs.
    """
    input_schema: Mapping[str, Json] | None = None
    """JSON Schema of evaluated inputs, with defaults."""
    output_schema: Mapping[str, Json] | None = None
    """JSON Schema of what the packets of the step carry."""
    timeout: float | None = None
    """``execution.timeout`` of an ``executeStory``, in seconds."""
    trace_parent: TraceParent | None = None
    """The span of the step; None: the run is not traced."""
    is_in_line: bool = False
    """Whether its needs are those of its place in the Story, which names none: it receives each packet by itself."""
    join: StreamJoin | None = None
    """How it joins the packets of its needs; None if it receives each by itself. ``compile_routes`` finds it out."""
    runs_jobs: bool = False
    """Whether no client serves it: the hub starts a Job for each packet."""

    @property
    def is_primitive(self) -> bool:
        return self.kind is not StepKind.ENGRAM

    @property
    def is_conditional(self) -> bool:
        """Whether it may receive, or send on, only some of the packets that come to it."""
        return bool(self.condition.strip()) or self.kind is StepKind.STOP or bool(self.delivery.rules)

    @property
    def takes_as_it_is(self) -> bool:
        """Whether nothing is evaluated or changed on the way of a packet to this step."""
        return (
            self.kind is StepKind.ENGRAM
            and not self.runs_jobs
            and not self.condition.strip()
            and self.runtime is None
            and self.parameters is None
            and self.join is None
            and self.delivery.partitioning.mode is PartitionMode.NONE
        )


@dataclass(frozen=True, slots=True)
class RunRoutes:
    """The compiled topology of one run; make it with ``compile_routes``."""

    run: NamespacedName
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

    @property
    def are_evaluated(self) -> bool:
        """Whether anything is evaluated, joined or delayed in the run."""
        return any(
            not step.takes_as_it_is
            or step.output_schema is not None
            or bool(step.delivery.rules)
            or len(self.targets[name]) > step.delivery.max_downstreams
            for name, step in self.steps.items()
        )


def compile_routes(
    run: NamespacedName,
    story: str,
    steps: Iterable[StreamStep],
    *,
    inputs: Mapping[str, Json] | None = None,
    uid: str = "",
) -> RunRoutes:
    """The routes of a run with these steps.

    Raises:
        RouteError: two steps have one name, a need is not a step, steps need each other in a circle, or a rule or a
            quorum does not fit the steps.
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
    for each in ordered:
        _check_settings(run, each, graph.needs[each.name])
    conditional = frozenset(step.name for step in ordered if step.is_conditional)
    by_name = {step.name: replace(step, join=_join_of(step, graph, conditional)) for step in ordered}
    return RunRoutes(run, story, by_name, graph.dependents, graph.needs, dict(inputs or {}), uid)


def _check_settings(run: NamespacedName, step: StreamStep, needs: tuple[str, ...]) -> None:
    if step.is_primitive and not needs:
        raise RouteError(
            f"run {run}, step {step.name}: it has no needs, so it receives no packets; name a step in needs"
        )
    join = step.delivery.join
    if join is not None and len(needs) > 1 and join.quorum > len(needs):
        text = f"fanIn.quorum is {join.quorum}, and the step has {len(needs)} needs"
        raise RouteError(f"run {run}, step {step.name}: {text}; use at most that")


def _join_of(step: StreamStep, graph: Graph, conditional: Set[str]) -> StreamJoin | None:
    needs = graph.needs[step.name]
    if len(needs) < 2 or step.is_in_line:
        return None
    if step.delivery.join is not None:
        return StreamJoin(step.delivery.join, (needs,))
    if step.is_primitive:
        return None
    sets = joined_by_default(graph, step.name, conditional, lambda: _reads(step, graph))
    return StreamJoin(_DEFAULT_JOIN, sets) if sets else None


def _reads(step: StreamStep, graph: Graph) -> frozenset[str] | None:
    """The steps that ``if`` and ``runtime`` read; None: perhaps all."""
    from core.story.edges import read_per_packet  # few runs need it: a hub without it is smaller

    return read_per_packet(step.condition, step.runtime, graph.order)


def stream_id_of(run: NamespacedName, step: str, epoch: str) -> str:
    """The name of the stream to a step: at most 96 bytes, and never that of another step or epoch."""
    readable = f"{run}/{step}@{epoch}"
    if len(readable.encode()) <= _STREAM_ID_BYTES:
        return readable
    digest = sha256("\0".join((*run, step, epoch)).encode()).hexdigest()[:32]
    return f"{digest}@{epoch}"
