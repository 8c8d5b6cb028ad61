"""What a Story asks for, read once per scope and then constant.

Pure: the Story as a wire dict in, a frozen plan or a ``Refusal`` out. Implied dependencies come from the parsed
templates (core.expressions.analysis), never from text patterns. A damaged Story is refused, never a crash.
Source: StoryRun contract 8, 11, 14 and 15.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from core.api.duration import parse_positive_duration
from core.api.phases import Reason
from core.engine.ports import Object
from core.engine.words import member_or_none
from core.expressions import analysis
from core.graph.cycles import find_cycle
from core.graph.needs import Declared, Graph, build_graph
from core.graph.readiness import Rules


class StepKind(StrEnum):
    """What a step does; the values but ``engram`` are those of ``type``."""

    ENGRAM = "engram"
    CONDITION = "condition"
    SLEEP = "sleep"
    STOP = "stop"
    PARALLEL = "parallel"
    EXECUTE_STORY = "executeStory"
    WAIT = "wait"
    GATE = "gate"
    UNKNOWN = "unknown"
    """Neither ``ref`` nor a known ``type``."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run of this Story cannot start; all problems together in ``message``."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    name: str
    kind: StepKind
    declared: Mapping[str, Any]
    """The step as it stands in the Story."""
    condition: str
    """``if``; blank means always."""
    allow_failure: bool
    looks_anywhere: bool
    """Some template chooses the step it reads at run time, so that the graph cannot tell what to wait for."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """``with``, or nothing."""
        value = self.declared.get("with")
        return value if isinstance(value, Mapping) else {}

    @property
    def requires(self) -> tuple[str, ...]:
        return tuple(path for path in self.declared.get("requires") or () if isinstance(path, str))


@dataclass(frozen=True, slots=True)
class StoryPlan:
    name: str
    namespace: str
    version: str
    steps: Mapping[str, StepPlan]
    """By name, in spec order."""
    graph: Graph
    rules: Rules
    story_timeout: timedelta | None
    graceful_shutdown: timedelta | None
    output: Mapping[str, Any] | None
    inputs_schema: Mapping[str, Any] | None
    outputs_schema: Mapping[str, Any] | None

    @property
    def order(self) -> tuple[str, ...]:
        return self.graph.order


def parse_story(story: Object) -> StoryPlan | Refusal:
    """The plan of a Story, or why no run of it can start."""
    spec = story.get("spec")
    if not isinstance(spec, Mapping):
        return Refusal(Reason.INVALID_CONFIGURATION, "the Story has no spec")
    missing = _unsupported(spec)
    if missing:
        return Refusal(
            Reason.NOT_SUPPORTED_YET,
            f"this Story uses {', '.join(missing)}, which this version does not support; remove it to run the Story",
        )
    steps: dict[str, StepPlan] = {}
    declared: list[Declared] = []
    for index, item in enumerate(_list(spec, "steps")):
        name = item.get("name") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not name:
            return Refusal(Reason.INVALID_CONFIGURATION, f"spec.steps[{index}].name is missing")
        if name in steps:
            return Refusal(Reason.INVALID_CONFIGURATION, f"spec.steps[{index}].name {name!r} is already taken")
        steps[name], edges = _step(name, item)
        declared.append(edges)
    graph = build_graph(declared)
    problem = _graph_problem(graph)
    if problem is not None:
        return Refusal(Reason.INVALID_CONFIGURATION, problem)
    metadata, policy = _mapping(story, "metadata"), _mapping(spec, "policy")
    timeouts, retries = _mapping(policy, "timeouts"), _mapping(policy, "retries")
    return StoryPlan(
        name=str(metadata.get("name", "")),
        namespace=str(metadata.get("namespace", "")),
        version=str(spec.get("version") or "").strip(),
        steps=steps,
        graph=graph,
        rules=Rules(
            allowed=frozenset(name for name, step in steps.items() if step.allow_failure),
            continue_on_failure=retries.get("continueOnStepFailure") is True,
        ),
        story_timeout=_positive_duration(timeouts.get("story")),
        graceful_shutdown=_positive_duration(timeouts.get("gracefulShutdownTimeout")),
        output=_mapping_or_none(spec, "output"),
        inputs_schema=_mapping_or_none(spec, "inputsSchema"),
        outputs_schema=_mapping_or_none(spec, "outputsSchema"),
    )


def bare_plan(names: Iterable[str], engram_steps: Set[str]) -> StoryPlan:
    """What is known of a run whose Story is gone: names only, enough to bring its steps to an end."""
    steps = {
        name: StepPlan(
            name=name,
            kind=StepKind.ENGRAM if name in engram_steps else StepKind.UNKNOWN,
            declared={"name": name},
            condition="",
            allow_failure=False,
            looks_anywhere=False,
        )
        for name in names
    }
    return StoryPlan(
        name="",
        namespace="",
        version="",
        steps=steps,
        graph=build_graph(Declared(name) for name in steps),
        rules=Rules(),
        story_timeout=None,
        graceful_shutdown=None,
        output=None,
        inputs_schema=None,
        outputs_schema=None,
    )


def _unsupported(spec: Mapping[str, Any]) -> list[str]:
    """Features that change how the run as a whole is carried out; a single step's feature fails that step instead."""
    found = []
    if spec.get("pattern") == "realtime":
        found.append("spec.pattern: realtime")
    if _list(spec, "compensations"):
        found.append("spec.compensations")
    if _list(spec, "finally"):
        found.append("spec.finally")
    concurrency = _mapping(spec, "policy").get("concurrency")
    if isinstance(concurrency, int) and concurrency > 0:
        found.append("spec.policy.concurrency")
    return found


def _step(name: str, item: Mapping[str, Any]) -> tuple[StepPlan, Declared]:
    kind = _kind(item)
    condition = item.get("if")
    condition = condition if isinstance(condition, str) else ""
    references = [analysis.condition_references(condition)] if condition.strip() else []
    if kind in (StepKind.ENGRAM, StepKind.EXECUTE_STORY) and item.get("with"):
        references.append(analysis.references_of(item["with"]))
    plan = StepPlan(
        name=name,
        kind=kind,
        declared=item,
        condition=condition,
        allow_failure=item.get("allowFailure") is True,
        looks_anywhere=any(found.unknown_steps for found in references),
    )
    needs = tuple(need for need in _list(item, "needs") if isinstance(need, str))
    return plan, Declared(name, needs, frozenset[str]().union(*(found.steps for found in references)))


def _kind(item: Mapping[str, Any]) -> StepKind:
    if item.get("ref"):
        return StepKind.ENGRAM
    kind = member_or_none(StepKind, item.get("type"))
    return StepKind.UNKNOWN if kind in (None, StepKind.ENGRAM) else kind


def _graph_problem(graph: Graph) -> str | None:
    if graph.unknown:
        pairs = ", ".join(f"{step}->{need}" for step, need in graph.unknown)
        return f"unknown dependencies: {pairs}; every name in needs and in templates must be a step of this Story"
    cycle = find_cycle(graph)
    if cycle is not None:
        return f"steps need each other in a circle: {' -> '.join(cycle)}; remove one of these dependencies"
    return None


def _positive_duration(text: object) -> timedelta | None:
    """Blank and invalid durations count as absent (StoryRun contract 15.1); admission refuses them."""
    try:
        return parse_positive_duration(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _mapping_or_none(parent, key) or {}


def _mapping_or_none(parent: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else None


def _list(parent: Mapping[str, Any], key: str) -> list[Any]:
    value = parent.get(key)
    return value if isinstance(value, list) else []
