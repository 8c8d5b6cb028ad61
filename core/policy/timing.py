"""The timeout of a step, and the retry policy of its StepRun.

Pure. Source: StepRun contract 11; the documented order StepRun, step, Story, Engram, template, operator is applied
(the reference stops after the Story).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from core.api.duration import parse_positive_duration
from core.api.objects import ReadOnlyObject
from core.policy.layers import PolicyError
from core.policy.retry import MAX_RETRIES_LIMIT, BackoffStrategy, RetryPolicy, default_max_delay
from core.policy.settings import FALLBACK_STEP_TIMEOUT
from core.policy.sources import Sources

DEFAULT_DELAY: Final = timedelta(seconds=1)
STORED_RETRIES_LIMIT: Final = 10
"""The largest ``maxRetries`` that the CRD of StepRun accepts."""


def step_timeout(sources: Sources) -> timedelta:
    """The first timeout that any layer sets, most specific layer first.

    Raises:
        PolicyError: the most specific timeout is not a positive duration.
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
    """``StepRun.spec.retry``: the step's policy, otherwise the Story's; missing fields come from the template's
    recommendations.

    A step with ``sideEffects: true`` and no policy of its own is not retried. ``maxRetries`` is always written, because
    the default of the CRD differs from the operator's. None: the StepRun gets no ``retry``.
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
    if not filled:
        return None
    retries = int(filled.get("maxRetries", sources.settings.max_retries))
    return filled | {"maxRetries": min(retries, STORED_RETRIES_LIMIT)}


def retry_policy(spec: ReadOnlyObject | None, default_max_retries: int) -> RetryPolicy:
    """The policy in ``StepRun.spec.retry``; missing fields have their defaults.

    Raises:
        PolicyError: a delay is not a positive duration, or the backoff is unknown.
    """
    spec = spec or {}
    word = spec.get("backoff") or BackoffStrategy.EXPONENTIAL
    if word not in set(BackoffStrategy):
        raise PolicyError([f"retry.backoff {word!r} must be exponential, linear or constant"])
    backoff, retries = BackoffStrategy(word), spec.get("maxRetries")
    delay = _duration("retry.delay", spec["delay"]) if spec.get("delay") else DEFAULT_DELAY
    longest = spec.get("maxDelay")
    return RetryPolicy(
        max_retries=min(default_max_retries if retries is None else int(retries), MAX_RETRIES_LIMIT),
        delay=delay,
        max_delay=_duration("retry.maxDelay", longest) if longest else default_max_delay(backoff, delay),
        backoff=backoff,
        jitter_percent=int(spec.get("jitter") or 0),
    )


def _duration(label: str, text: str) -> timedelta:
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise PolicyError([f"{label}: {error}"]) from None


def _at(source: ReadOnlyObject, *path: str) -> ReadOnlyObject:
    for key in path:
        source = source.get(key) or {}
    return source
