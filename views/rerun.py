"""What a redrive runs again and what it keeps, in words. The engine's own functions decide, before the redrive. Pure.

Source: StoryRun contract 18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.api.conditions import find_condition
from core.api.objects import Object, step_path
from core.api.phases import ConditionType, Phase
from core.api.suggestion import closest
from core.engine.plan import Refusal, StoryPlan, parse_story
from core.engine.redrive.redrive import steps_that_waited_for_something_else, steps_to_run_again
from core.engine.step.state import steps_from
from core.graph.reach import downstream
from views.errors import NoFailedStepError, SeveralFailedStepsError, ViewError
from views.text import one_line


@dataclass(frozen=True, slots=True)
class RerunPreview:
    """Steps of the Story in spec order; a branch is only named if its step does not run again as a whole."""

    again: tuple[tuple[str, str], ...]
    """Steps that run again, and why they are not kept; without reasons when everything runs again."""
    kept: tuple[str, ...]
    """Steps whose result stays."""
    fresh: tuple[str, ...]
    """Steps that have not run yet."""
    effects: tuple[tuple[str, str], ...] = ()
    """Step or branch, and key, of the external effects that the steps to run again have already completed."""
    is_beside_stream: bool = False
    """The packet that has started the run is lost, or has gone on: its stream does not wait for the run any more."""


def plan_of(story: Object) -> StoryPlan:
    """Raises:
    ViewError: no run of the Story could start.
    """
    plan = parse_story(story)
    if isinstance(plan, Refusal):
        raise ViewError(
            f"Story {story['metadata']['name']!r} cannot run: {plan.message}", remedy="correct the Story first"
        )
    return plan


def rerun_of(plan: StoryPlan, run: Object, from_step: str = "") -> RerunPreview:
    """The effect of a redrive from a step of ``plan``; without a step, that of a redrive of everything."""
    phases = _phases(run)
    if from_step:
        found = steps_to_run_again(plan, steps_from((run.get("status") or {}).get("stepStates")), from_step)
        again = {name: _why(plan, name, from_step) for name in found if name == from_step or name in phases}
        others = steps_that_waited_for_something_else(plan, run) & phases.keys() - again.keys()
        again |= dict.fromkeys(sorted(others), "is of another type now")
    else:
        again = {name: "" for name in plan.order if name in phases}
    whole = [name for name in plan.order if name in again]
    branches = sorted(name for name in again if "/" in name and name.partition("/")[0] not in again)
    in_part = {name.partition("/")[0] for name in branches}
    siblings = [name for name in phases if "/" in name and name.partition("/")[0] in in_part and name not in again]
    return RerunPreview(
        again=tuple((name, again[name]) for name in [*branches, *whole]),
        kept=(
            *(name for name in plan.order if name in phases and name not in again and name not in in_part),
            *sorted(siblings),
        ),
        fresh=tuple(name for name in plan.order if name not in phases and name not in again),
    )


def effects_done(again: Sequence[str], step_runs: Iterable[Object], claims: Iterable[Object]) -> list[tuple[str, str]]:
    """Step and key of each completed EffectClaim whose StepRun belongs to a step in ``again``, or to its branch."""
    steps = {step_run["metadata"]["name"]: step_path(step_run) or "" for step_run in step_runs}
    done: list[tuple[str, str]] = []
    for claim in claims:
        spec = claim.get("spec") or {}
        step = steps.get((spec.get("stepRunRef") or {}).get("name"), "")
        runs_again = any(step == name or step.startswith(f"{name}/") for name in again)
        if runs_again and spec.get("completionStatus") == "completed":
            done.append((step, one_line(spec.get("effectKey") or "")))
    return sorted(done)


def _why(plan: StoryPlan, name: str, from_step: str) -> str:
    if name == from_step:
        return "requested"
    if name in plan.compensations.order or name in plan.finally_.order:
        return "cleanup step, runs again"
    return f"depends on {from_step}" if name in _behind(plan, from_step) else "did not run after the failure"


def check_step(plan: StoryPlan, step: str) -> None:
    """Raises:
    ViewError: the Story has no such step or branch.
    """
    if plan.find(step) is None:
        near = closest(step, plan.order)
        remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(plan.order)}"
        raise ViewError(f"Story {plan.name!r} has no step {step!r}", remedy=remedy)


def failed_step(plan: StoryPlan, run: Object) -> str:
    """The one failed step to redrive from; for a ``parallel`` step the branch, if only one of them failed.

    Raises:
        NoFailedStepError: no step has failed.
        SeveralFailedStepsError: a retry of one of them does not run the others again.
    """
    phases = _phases(run)
    failed = [
        name for name in plan.order if name in phases and phases[name].failing and not plan.steps[name].allow_failure
    ]
    failed = _first_group(plan, failed)
    roots = [name for name in failed if not any(name in _behind(plan, other) for other in failed if other != name)]
    if not roots:
        name = run["metadata"]["name"]
        raise NoFailedStepError(f"no step of {name} has failed")
    if len(roots) > 1:
        raise SeveralFailedStepsError(roots)
    return _only_branch(plan, phases, roots[0])


def _only_branch(plan: StoryPlan, phases: Mapping[str, Phase], step: str) -> str:
    """The failed branch of ``step``, so that the others are kept; ``step`` itself when several failed."""
    below = [name for name, phase in phases.items() if name.startswith(f"{step}/") and phase.failing]
    around = {name.rpartition("/")[0] for name in below}
    leaves = [name for name in below if name not in around and plan.find(name) is not None]
    return leaves[0] if len(leaves) == 1 else step


def _first_group(plan: StoryPlan, names: Sequence[str]) -> list[str]:
    """The names in the earliest list: later lists run again anyway."""
    for group in plan.groups.values():
        if found := [name for name in names if name in group.graph.position]:
            return found
    return []


def _behind(plan: StoryPlan, step: str) -> frozenset[str]:
    """The step and the steps that depend on it."""
    top = step.partition("/")[0]
    group = next(group for group in plan.groups.values() if top in group.graph.position)
    return downstream(group.graph, [top])


def _phases(run: Object) -> dict[str, Phase]:
    """The phases of the steps that have one."""
    states = steps_from((run.get("status") or {}).get("stepStates"))
    return {name: state.phase for name, state in states.items()}


def refusal_of(run: Object) -> str:
    """Why the last request was refused; empty if it was not."""
    condition = find_condition((run.get("status") or {}).get("conditions") or (), ConditionType.REDRIVE) or {}
    return one_line(condition.get("message") or "no reason is recorded") if condition.get("status") == "False" else ""
