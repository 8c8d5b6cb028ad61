"""The routes of a run from its pinned Story: which steps stream, whose packets each receives, and how each is served.

Only the steps with ``ref`` in the main list have containers. Steps of other kinds are primitives, through which packets
go. Pure. Source: streaming contract 3, 4 and 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from bubu_contract.durations import parse_positive_duration
from core.api.objects import NamespacedName, Object
from core.api.streaming import Streaming
from core.graph.contraction import contracted
from core.graph.cycles import find_cycle
from core.story.kinds import PER_PACKET, StepKind
from core.story.step import Step
from core.story.story import read_story
from core.story.streams import is_in_line, stream_graph
from core.telemetry.tracing.trace_parent import TraceParent
from hub.routes import RouteError, RunRoutes, StreamStep, compile_routes
from hub.settings import DEFAULT_DELIVERY, DeliverySettings, delivery_to_jobs, settings_of, taking_turns

CHANNEL_BUFFER: Final = 64
"""``BUBU_GRPC_CHANNEL_BUFFER_SIZE`` of every container that the operator starts."""
_STREAMING_FIELDS: Final = tuple(field.alias or name for name, field in Streaming.model_fields.items())


class StoryProblemError(ValueError):
    """The hub cannot serve runs of this Story. The message names every step and field, and the remedy."""


@dataclass(frozen=True, slots=True)
class BoundSettings:
    """What the binding of a step says about its packets."""

    raw: Mapping[str, Any] = field(default_factory=dict)
    """``rawSettings``: the merged settings of its transport."""
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    trace_parent: TraceParent | None = None
    with_in_packets: bool = False
    """Whether ``with`` is sent beside each packet; its container must know of that."""
    runs_jobs: bool = False
    """Whether each packet starts a Job, so that no client serves the step."""


def streaming_steps(story: Object) -> tuple[str, ...]:
    """The names of the steps that need a binding, in the order of the Story.

    Raises:
        StoryProblemError: the Story has no such step, or its steps cannot be read.
    """
    names = tuple(name for name, step in _main_steps(story).items() if step.declared.get("ref"))
    if not names:
        raise StoryProblemError("the Story has no step with ref; a realtime Story needs at least one")
    return names


def routes_of(
    run: NamespacedName, story: Object, inputs: Mapping[str, Any], settings: Mapping[str, BoundSettings], uid: str = ""
) -> RunRoutes:
    """The routes of a run.

    Args:
        story: as it is pinned.
        inputs: of the run.
        settings: of each streaming step.
        uid: of the StoryRun.

    Raises:
        StoryProblemError: this hub cannot serve it; with all problems.
    """
    steps = _main_steps(story)
    graph = stream_graph(steps.values())
    problems = [f"step {name}: needs names {missing}, which is not a step" for name, missing in graph.unknown]
    if (circle := find_cycle(graph)) is not None:
        problems.append(f"dependency cycle: {' → '.join(circle)}; remove one need")
    if problems:
        raise StoryProblemError("; ".join(problems))
    found = []
    turns = _object_or_none(story["spec"], "concurrency") or {}
    for name, step in steps.items():
        try:
            bound = settings[name] if step.declared.get("ref") else None
            found.append(_stream_step(step, graph.needs[name], bound, turns))
        except ValueError as error:
            problems.append(f"step {name}: {error}")
    if problems:
        raise StoryProblemError("; ".join(problems))
    try:
        return compile_routes(run, str(story["metadata"]["name"]), found, inputs=inputs, uid=uid)
    except RouteError as error:
        raise StoryProblemError(str(error)) from None


def needs_of(story: Object) -> dict[str, tuple[str, ...]]:
    """For each streaming step those whose packets it receives.

    Raises:
        StoryProblemError: the steps cannot be read, or need each other in a circle.
    """
    steps = _main_steps(story)
    graph = stream_graph(steps.values())
    if find_cycle(graph) is not None:
        raise StoryProblemError("dependency cycle; remove one need")
    return dict(contracted(graph, frozenset(streaming_steps(story))).needs)


def delivery_of(settings: Mapping[str, Any]) -> DeliverySettings:
    """How packets are delivered to a step with these merged settings of its transport.

    Raises:
        ValueError: a value is wrong or not supported; the message names the field.
    """
    chosen = {name: settings[name] for name in _STREAMING_FIELDS if settings.get(name) is not None}
    try:
        streaming = Streaming.model_validate(chosen)
    except ValidationError as error:
        raise ValueError("; ".join(_format(found["loc"], found["msg"]) for found in error.errors())) from None
    return settings_of(streaming, channel_buffer=_channel_buffer(settings))


def _main_steps(story: Object) -> dict[str, Step]:
    read = read_story(story)
    declared = read.spec.get("steps")
    if not isinstance(declared, list) or not all(isinstance(step, Mapping) for step in declared):
        raise StoryProblemError("spec.steps of the Story must be a list of steps")
    found: dict[str, Step] = {}
    for step in read.groups["steps"]:
        if not step.name or step.name in found:
            raise StoryProblemError(f"{step.place}.name must be a name that no other step has")
        found[step.name] = step
    return found


def _stream_step(
    step: Step, needs: tuple[str, ...], bound: BoundSettings | None, turns: Mapping[str, Any]
) -> StreamStep:
    """
    Args:
        bound: None for a primitive.
        turns: ``spec.concurrency`` of the Story.

    Raises:
        ValueError: the hub cannot carry out a step of this type, or a setting is wrong.
    """
    declared = step.declared
    condition = declared.get("if")
    if bound is None and step.kind not in PER_PACKET:
        words = ", ".join(sorted(PER_PACKET))
        raise ValueError(f"type: {declared.get('type')!r} is not possible in a stream; use one of {words}")
    delivery, runs_jobs = DEFAULT_DELIVERY, bound is not None and bound.runs_jobs
    if bound is not None:
        mode, scope = str(turns.get("mode") or "parallel"), str(turns.get("scope") or "storyrun")
        delivery = delivery_of(bound.raw)
        delivery = taking_turns(delivery_to_jobs(delivery) if runs_jobs else delivery, mode, scope)
    has_with = bound is None or runs_jobs or (bound.with_in_packets and bool(needs))
    return StreamStep(
        step.name,
        needs,
        delivery,
        kind=step.kind,
        condition=condition if isinstance(condition, str) else "",
        runtime=_object_or_none(declared, "runtime"),
        parameters=_object_or_none(declared, "with") if has_with else None,
        input_schema=bound.input_schema if bound is not None else None,
        output_schema=bound.output_schema if bound is not None else None,
        timeout=_timeout(declared) if step.kind is StepKind.EXECUTE_STORY else None,
        trace_parent=bound.trace_parent if bound is not None else None,
        is_in_line=is_in_line(step),
        runs_jobs=runs_jobs,
    )


def _timeout(step: Mapping[str, Any]) -> float | None:
    """
    Raises:
        ValueError: it is no duration.
    """
    word = (_object_or_none(step, "execution") or {}).get("timeout")
    if not isinstance(word, str) or not word.strip():
        return None
    try:
        return parse_positive_duration(word).total_seconds()
    except ValueError as error:
        raise ValueError(f"execution.timeout: {error}") from None


def _object_or_none(step: Mapping[str, Any], field: str) -> Mapping[str, Any] | None:
    value = step.get(field)
    return value if isinstance(value, Mapping) else None


def _channel_buffer(settings: Mapping[str, Any]) -> int:
    """Of the container; its own setting counts if it is smaller, because nothing beyond it may be in flight."""
    env = settings.get("env")
    word = env.get("BUBU_GRPC_CHANNEL_BUFFER_SIZE") if isinstance(env, Mapping) else None
    given = int(word) if isinstance(word, str) and word.isascii() and word.isdigit() and len(word) < 10 else 0
    return min(given, CHANNEL_BUFFER) if given else CHANNEL_BUFFER


def _format(location: tuple[int | str, ...], problem: str) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{path}: {problem}"
