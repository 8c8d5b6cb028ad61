"""The started steps of a run whose own Story is lost: the Story is gone, or the live one is not the one of the run.

A run executes its Story as it was when the run started; a copy of it is stored for the run. If someone deletes the
copy, only the live Story remains, if there is one. The run continues under the live Story as long as no started step
contradicts it. Every started step is brought to an end, whether or not a Story has it. Pure.
Source: StoryRun contract 4.11, 15.1, 17.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.api.objects import Object, step_path
from core.engine.plan import GroupName, GroupPlan, StepPlan, StoryPlan
from core.engine.streams.record import serves_stream
from core.graph.needs import Declared, build_graph
from core.graph.readiness import FailureRules
from core.story.kinds import StepKind


@dataclass(frozen=True, slots=True)
class Begun:
    """Full names of the started steps, from the status of a run and from the objects that were created for it."""

    names: tuple[str, ...]
    """All started steps, in the order in which they were recorded."""
    engrams: frozenset[str] = frozenset()
    """Those that have StepRuns."""
    calls: frozenset[str] = frozenset()
    """Those that have StoryRuns."""
    has_streams: bool = False
    """Whether any of them serves a stream, so the run is realtime whatever the present Story says."""

    @classmethod
    def of(cls, recorded: Iterable[str], step_runs: Sequence[Object], child_runs: Iterable[Object]) -> Begun:
        engrams, calls = (frozenset(filter(None, map(step_path, made))) for made in (step_runs, child_runs))
        names = tuple(dict.fromkeys((*recorded, *sorted(engrams | calls))))
        return cls(names, engrams, calls, any(map(serves_stream, step_runs)))

    def astray(self, plan: StoryPlan) -> tuple[str, ...]:
        """Started steps that the plan does not have, or has with another kind."""
        return tuple(name for name in self.names if self._contradicts(name, plan.find(name)))

    def _contradicts(self, name: str, step: StepPlan | None) -> bool:
        if step is None:
            return True
        is_engram, calls = step.kind is StepKind.ENGRAM, step.kind is StepKind.EXECUTE_STORY
        return (name in self.engrams and not is_engram) or (name in self.calls and not calls)


def bare_plan(begun: Begun) -> StoryPlan:
    """A plan that suffices to end the steps of a run without a Story; a step that contains others is ``parallel``."""
    inside: dict[str, dict[str, None]] = {"": {}}
    for name in begun.names:
        parts = name.split("/")
        for length in range(1, len(parts) + 1):
            each, around = "/".join(parts[:length]), "/".join(parts[: length - 1])
            inside[around][each] = None
            inside.setdefault(each, {})

    def step_of(name: str) -> StepPlan:
        kind = StepKind.PARALLEL if inside[name] else StepKind.UNKNOWN
        kind = StepKind.EXECUTE_STORY if name in begun.calls else kind
        kind = StepKind.ENGRAM if name in begun.engrams else kind
        branches = tuple(step_of(branch) for branch in inside[name])
        return StepPlan(name, kind, {"name": name.rpartition("/")[2]}, branches=branches)

    steps = {name: step_of(name) for name in inside[""]}
    empty = GroupPlan(build_graph(()), FailureRules(any_end_suffices=True))
    main = GroupPlan(build_graph(Declared(name) for name in steps), FailureRules())
    groups = {GroupName.MAIN: main, GroupName.COMPENSATIONS: empty, GroupName.FINALLY: empty}
    return StoryPlan(name="", namespace="", version="", steps=steps, groups=groups, is_realtime=begun.has_streams)


def plan_to_end(plan: StoryPlan, begun: Begun) -> StoryPlan:
    """The plan, plus the started steps that it does not have; a started step keeps the kind with which it started."""
    if begun.has_streams and not plan.is_realtime:
        plan = replace(plan, is_realtime=True)
    tops = {name.partition("/")[0] for name in begun.astray(plan)}
    if not tops:
        return plan
    named = tuple(name for name in begun.names if name.partition("/")[0] in tops)
    bare = bare_plan(replace(begun, names=named))
    graph = plan.main.graph
    strangers = [Declared(name) for name in bare.steps if name not in plan.steps]
    declared = [Declared(name, graph.needs[name]) for name in graph.order]
    main = replace(plan.main, graph=replace(build_graph([*declared, *strangers]), unknown=graph.unknown))
    return replace(plan, steps={**plan.steps, **bare.steps}, groups={**plan.groups, GroupName.MAIN: main})
