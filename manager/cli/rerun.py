"""What a redrive runs again and what it keeps. Pure: Story and run in, names out.

Source: StoryRun contract 18, in the improved form: what a failure had skipped runs again, and so do compensations and
``finally`` steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.api.phases import Phase
from core.api.suggestion import closest
from core.engine.plan import GroupName, GroupPlan, Refusal, StoryPlan, parse_story
from core.engine.words import member_or_none
from core.graph.reach import downstream
from core.graph.readiness import failure_skips
from manager.cli.problem import CommandError, UsageError

Object = dict[str, Any]

FAIL_FAST_WORDS: Final = "does not continue on failure"
"""In the message of a step that was skipped because another one had failed."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """All names are of steps of the Story itself; branches go with their step."""

    again: tuple[tuple[str, str], ...]
    """Each step that runs again, and why it is not kept; in spec order. No reasons when everything runs again."""
    kept: tuple[str, ...]
    """Steps whose result stays."""
    fresh: tuple[str, ...]
    """Steps that have not run yet."""


def plan_of(story: Object) -> StoryPlan:
    """Raises:
    CommandError: no run of the Story could start.
    """
    plan = parse_story(story)
    if isinstance(plan, Refusal):
        raise CommandError(
            f"Story {story['metadata']['name']!r} cannot run: {plan.message}", remedy="mend the Story first"
        )
    return plan


def rerun_of(plan: StoryPlan, run: Object, from_step: str = "") -> Rerun:
    """What a redrive from a step of ``plan``, or without one a redrive of everything, does."""
    phases = _phases(plan, run)
    if not from_step:
        again = {name: "" for name in plan.order if name in phases}
    else:
        again = {name: why for name, why in _from(plan, run, phases, from_step).items() if name in plan.steps}
    return Rerun(
        again=tuple((name, again[name]) for name in plan.order if name in again),
        kept=tuple(name for name in plan.order if name in phases and name not in again),
        fresh=tuple(name for name in plan.order if name not in phases and name not in again),
    )


def check_step(plan: StoryPlan, step: str) -> None:
    """Raises:
    CommandError: a run cannot be redriven from there.
    """
    if step in plan.steps:
        return
    if plan.find(step) is not None:
        first = step.partition("/")[0]
        raise CommandError(f"{step} is a branch, which runs again with its step", remedy=f"use --from {first}")
    near = closest(step, plan.order)
    remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(plan.order)}"
    raise CommandError(f"Story {plan.name!r} has no step {step!r}", remedy=remedy)


def failed_step(plan: StoryPlan, run: Object) -> str:
    """The one failed step to redrive from.

    Raises:
        CommandError: none has failed.
        UsageError: several, none of which runs again with another.
    """
    phases = _phases(plan, run)
    failed = [
        name for name in plan.order if name in phases and phases[name].failing and not plan.steps[name].allow_failure
    ]
    failed = _first_group(plan, failed)
    roots = [name for name in failed if not any(name in _behind(plan, other) for other in failed if other != name)]
    if not roots:
        name = run["metadata"]["name"]
        raise CommandError(f"no step of {name} has failed", remedy=f"leave out --failed to run all of {name} again")
    if len(roots) > 1:
        raise UsageError(
            f"{len(roots)} steps have failed, none of which runs again with another: {', '.join(roots)}",
            remedy=f"choose one with --from {roots[0]}, or leave out --failed to run everything again",
        )
    return roots[0]


def _first_group(plan: StoryPlan, names: Sequence[str]) -> list[str]:
    """Those of the earliest list: what came after it runs again anyway."""
    for group in plan.groups.values():
        if found := [name for name in names if name in group.graph.position]:
            return found
    return []


def _from(plan: StoryPlan, run: Object, phases: dict[str, Phase], step: str) -> dict[str, str]:
    group_name = next(name for name, group in plan.groups.items() if step in group.graph.position)
    group = plan.groups[group_name]
    again = dict.fromkeys(downstream(group.graph, [step]), f"follows from {step}") | {step: "asked for"}
    if group_name is GroupName.MAIN:
        again |= {name: why for name, why in _skipped(group, run, phases).items() if name not in again}
    later = list(GroupName)[list(GroupName).index(group_name) + 1 :]
    for each in later:
        again |= {name: "cleans up again" for name in plan.groups[each].order if name in phases}
    return again


def _skipped(group: GroupPlan, run: Object, phases: dict[str, Phase]) -> dict[str, str]:
    """Steps that a failure had skipped, and what follows from them."""
    states = (run.get("status") or {}).get("stepStates") or {}
    in_group = {name: phase for name, phase in phases.items() if name in group.graph.position}
    skipped = set(failure_skips(group.graph, in_group, group.rules)) | {
        name
        for name, phase in in_group.items()
        if phase is Phase.SKIPPED and FAIL_FAST_WORDS in str(states[name].get("message") or "")
    }
    return dict.fromkeys(downstream(group.graph, skipped), "had been skipped for a failure")


def _behind(plan: StoryPlan, step: str) -> frozenset[str]:
    group = next(group for group in plan.groups.values() if step in group.graph.position)
    return downstream(group.graph, [step])


def _phases(plan: StoryPlan, run: Object) -> dict[str, Phase]:
    """Of the steps that have one."""
    states = (run.get("status") or {}).get("stepStates") or {}
    found = {name: member_or_none(Phase, (states.get(name) or {}).get("phase")) for name in plan.order}
    return {name: phase for name, phase in found.items() if phase is not None}
