"""How long a step may run, and the retry policy it is created with.

Pure. Source: StepRun contract 11; the documented chain StepRun, step, Story, Engram, template, operator is honoured
(the reference stops after the Story).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from core.api.duration import parse_positive_duration
from core.policy.layers import PolicyError, Sources
from core.policy.retry import DEFAULT_MAX_DELAY, MAX_RETRIES_LIMIT, Backoff, RetryPolicy
from core.policy.settings import FALLBACK_STEP_TIMEOUT

Object = Mapping[str, Any]

DEFAULT_DELAY: Final = timedelta(seconds=1)


def step_timeout(sources: Sources) -> timedelta:
    """The first timeout that any layer sets, most specific first.

    Raises:
        PolicyError: the most specific one is not a positive duration.
    """
    story = _at(sources.story, "spec", "policy")
    engram = _at(sources.engram, "spec")
    for label, text in (
        ("step execution.timeout", _at(sources.step, "execution").get("timeout")),
        ("Story spec.policy.timeouts.step", _at(story, "timeouts").get("step")),
        ("Story spec.policy.execution.timeout", _at(story, "execution").get("timeout")),
        ("Engram spec.overrides.timeout", _at(engram, "overrides").get("timeout")),
        ("Engram spec.executionPolicy.timeout", _at(engram, "executionPolicy").get("timeout")),
        ("EngramTemplate spec.execution.timeout", _at(sources.template, "spec", "execution").get("timeout")),
    ):
        if text and text.strip():
            return _duration(label, text)
    return sources.settings.timeouts.default_step or FALLBACK_STEP_TIMEOUT


def retry_spec(sources: Sources) -> dict[str, Any] | None:
    """``StepRun.spec.retry``: the step's policy, else the Story's, gaps filled by the template's recommendations.

    A step with ``sideEffects: true`` and no policy of its own is not retried. None: nothing is written.
    """
    own = _at(sources.step, "execution").get("retry")
    if own is None and sources.step.get("sideEffects"):
        own = {"maxRetries": 0}
    if own is None:
        own = _at(sources.story, "spec", "policy", "retries").get("stepRetryPolicy")
    recommended = _at(sources.template, "spec", "execution", "retry")
    gaps = {
        "delay": recommended.get("recommendedBaseDelay"),
        "maxDelay": recommended.get("recommendedMaxDelay"),
        "backoff": str(recommended.get("recommendedBackoff") or "").lower() or None,
    }
    if own is None:
        gaps["maxRetries"] = recommended.get("recommendedMaxRetries")
    filled = {key: value for key, value in gaps.items() if value is not None} | {
        key: value for key, value in (own or {}).items() if value not in (None, "")
    }
    return filled or None


def retry_policy(spec: Object | None, default_max_retries: int) -> RetryPolicy:
    """The policy that ``StepRun.spec.retry`` means; invalid or absent fields have their defaults.

    Raises:
        PolicyError: a delay is not a positive duration, or the backoff is unknown.
    """
    spec = spec or {}
    backoff = spec.get("backoff") or Backoff.EXPONENTIAL
    if backoff not in set(Backoff):
        raise PolicyError([f"retry.backoff {backoff!r} must be exponential, linear or constant"])
    retries = spec.get("maxRetries")
    return RetryPolicy(
        max_retries=min(default_max_retries if retries is None else int(retries), MAX_RETRIES_LIMIT),
        delay=_duration("retry.delay", spec["delay"]) if spec.get("delay") else DEFAULT_DELAY,
        max_delay=_duration("retry.maxDelay", spec["maxDelay"]) if spec.get("maxDelay") else DEFAULT_MAX_DELAY,
        backoff=Backoff(backoff),
        jitter_percent=int(spec.get("jitter") or 0),
    )


def _duration(label: str, text: str) -> timedelta:
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise PolicyError([f"{label}: {error}"]) from None


def _at(source: Object, *path: str) -> Object:
    for key in path:
        source = source.get(key) or {}
    return source
