"""The time by which a run must have ended, and been deleted if its Story says so, after the last disturbance (I15).

It is computed from the work of the run's steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

from bubu_contract.durations import parse_positive_duration
from core.engine.settings import RunDefaults
from core.policy.retry import retry_delay
from fuzz.engine.actions import Verb
from fuzz.engine.adapters import UNBOUND_SECONDS, Engram
from fuzz.engine.answers import LONG_SECONDS
from fuzz.engine.case import Case
from fuzz.engine.kept import due_by
from fuzz.engine.worker import Act, Script, script_of

SLACK_SECONDS: Final = 120.0
"""The longest pause between two tries of a call, the wait for an answer, and a drain; all of it twice."""
STEP_SECONDS: Final = 2.0
UNREACHABLE_SECONDS: Final = 60.0
"""How long a container tries to reach the server."""
REPEATING: Final = frozenset(
    {Verb.REDRIVE, Verb.REDRIVE_FROM, Verb.DELETE_JOB, Verb.DELETE_POD, Verb.CUT_OFF, Verb.DELETE_STEP_RUN}
)
"""Actions that can make steps run once more."""
GOING: Final = frozenset({Verb.DELETE_ENGRAM, Verb.DELETE_TEMPLATE})
"""Actions after which a step may wait for a definition, before each attempt."""


def bound_seconds(case: Case) -> float:
    """Seconds from the last fault or action; the sum over all steps and runs, although many run at once.

    The time for which containers are frozen comes on top.
    """
    specs = [case.spec, *(action.value for action in case.actions if action.verb is Verb.EDIT_STORY)]
    once = sum(_story_seconds(case, spec, 0) for spec in specs)
    times = 1 + sum(action.verb in REPEATING for action in case.actions)
    clock = sum(abs(float(action.value)) for action in case.actions if action.verb is Verb.STEP_CLOCK)
    kept = max((seconds for spec in specs for seconds in due_by(spec) if seconds < inf), default=0.0)
    return once * times * len(case.names) + kept + _trigger_seconds(case) + clock + SLACK_SECONDS


def _trigger_seconds(case: Case) -> float:
    """How long StoryTriggers wait and are kept, if no longer than an execution."""
    return sum(seconds for seconds in case.times if seconds < LONG_SECONDS)


def _story_seconds(case: Case, spec: Mapping[str, Any], depth: int) -> float:
    seconds = 0.0
    for group in ("steps", "compensations", "finally"):
        steps = spec.get(group) or ()
        seconds += sum(_step_seconds(case, step, step["name"], depth) for step in steps)
        if group != "steps" and any(_may_wait_for_ever(step) for step in steps):
            seconds += RunDefaults().cleanup_timeout.total_seconds()
    return seconds


def _may_wait_for_ever(step: Mapping[str, Any]) -> bool:
    settings = step.get("with") or {}
    waits = step.get("type") in ("gate", "wait") and not settings.get("timeout")
    inside = settings.get("steps") or () if step.get("type") == "parallel" else ()
    return waits or step.get("type") == "executeStory" or any(_may_wait_for_ever(branch) for branch in inside)


def _step_seconds(case: Case, step: Mapping[str, Any], path: str, depth: int) -> float:
    settings = step.get("with") or {}
    if "ref" in step:
        return STEP_SECONDS + _engram_seconds(case, step, path)
    match step.get("type"):
        case "parallel":
            branches: Sequence[Mapping[str, Any]] = settings.get("steps") or ()
            items = settings.get("forEach")
            if items is None:
                return STEP_SECONDS + sum(_step_seconds(case, one, f"{path}/{one['name']}", depth) for one in branches)
            count = len(items) if isinstance(items, list) else len(case.inputs.get("list", ()))
            each = sum(_step_seconds(case, one, f"{path}/0", depth) for one in branches)
            return STEP_SECONDS + count * each
        case "executeStory":
            name = str((settings.get("storyRef") or {}).get("name"))
            if depth > 3 or name not in case.stories:
                return STEP_SECONDS
            once = _story_seconds(case, case.stories[name], depth + 1) + STEP_SECONDS
            return once * (settings.get("maxIterations") or 1) + STEP_SECONDS
        case "sleep":
            return STEP_SECONDS + _duration(settings.get("duration"))
        case "gate" | "wait":
            return STEP_SECONDS + _duration(settings.get("timeout"))
    return STEP_SECONDS


def _engram_seconds(case: Case, step: Mapping[str, Any], path: str) -> float:
    name = step["ref"]["name"]
    engram = case.engrams.get(name, Engram())
    waits = name not in case.engrams or any(action.verb in GOING for action in case.actions)
    seconds = UNBOUND_SECONDS * (engram.retry.max_retries + 2) if waits else 0.0
    for attempt in range(engram.retry.max_retries + 1):
        script: Script = script_of(case.scripts, path, attempt)
        takes = script.after_seconds + script.exit_lag_seconds + _effect_seconds(script)
        limit = LONG_SECONDS if engram.timeout_seconds is None else engram.timeout_seconds
        seconds += limit if script.act is Act.HANG else min(takes, limit)
        seconds += script.grace_seconds + retry_delay(engram.retry, attempt + 1, 1.0).total_seconds()
    return seconds


def _effect_seconds(script: Script) -> float:
    """The longest time that a container needs for its effect, and that the next attempt waits for its lease."""
    effect = script.effect
    if effect is None:
        return 0.0
    return (
        effect.before_seconds + effect.after_seconds + effect.wait_seconds + effect.lease_seconds + UNREACHABLE_SECONDS
    )


def _duration(text: object) -> float:
    try:
        return parse_positive_duration(text).total_seconds() if isinstance(text, str) else 0.0
    except ValueError:
        return 0.0
