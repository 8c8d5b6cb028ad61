"""The timeout of a step, and the retry policy of its StepRun.

Pure. Source: StepRun contract 11; the documented order StepRun, step, Story, Engram, template, operator is applied
(the reference stops after the Story).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, NamedTuple

from bubu_contract.durations import format_duration, parse_positive_duration
from core.api.objects import ReadOnlyObject
from core.policy.layers import PolicyError
from core.policy.retry import (
    MAX_RETRIES_LIMIT,
    BackoffStrategy,
    RetryPolicy,
    default_max_delay,
    retry_on_of,
    retry_on_problems,
)
from core.policy.settings import FALLBACK_STEP_TIMEOUT, OperatorSettings
from core.policy.sources import OPERATOR, TEMPLATE, Sources

DEFAULT_DELAY: Final = timedelta(seconds=1)
"""Of back-offs that the operator's settings do not name."""
STORED_RETRIES_LIMIT: Final = 10
"""The largest ``maxRetries`` that the CRD of StepRun accepts."""


BUILT_IN: Final = "built-in"
"""Instead of a layer: a value that no layer sets."""


class TimeoutChoice(NamedTuple):
    """The timeout of a step, and the layer that sets it."""

    timeout: timedelta
    layer: str

    def __str__(self) -> str:
        """``10s (timeout from: Story step)``, for messages."""
        layer = f" (timeout from: {self.layer})" if self.layer else ""
        return f"{format_duration(self.timeout)}{layer}"


def step_timeout(sources: Sources) -> timedelta:
    """The first timeout that any layer sets, most specific layer first.

    Raises:
        PolicyError: the most specific timeout is not a positive duration.
    """
    return timeout_choice(sources).timeout


def timeout_choice(sources: Sources) -> TimeoutChoice:
    """``step_timeout`` with its layer; raises the same error."""
    story = _at(sources.story, "spec", "policy")
    engram = _at(sources.engram, "spec")
    for layer, label, text in (
        ("Story step", "step execution.timeout", _at(sources.step, "execution").get("timeout")),
        ("Story policy", "Story spec.policy.timeouts.step", _at(story, "timeouts").get("step")),
        ("Story policy", "Story spec.policy.execution.timeout", _at(story, "execution").get("timeout")),
        ("Engram overrides", "Engram spec.overrides.timeout", _at(engram, "overrides").get("timeout")),
        (
            "Engram executionPolicy",
            "Engram spec.executionPolicy.timeout",
            _at(engram, "executionPolicy").get("timeout"),
        ),
        (TEMPLATE, "EngramTemplate spec.execution.timeout", _at(sources.template, "spec", "execution").get("timeout")),
    ):
        if text and text.strip():
            return TimeoutChoice(_duration(label, text), layer)
    by_operator = sources.settings.timeouts.default_step
    return TimeoutChoice(by_operator, OPERATOR) if by_operator else TimeoutChoice(FALLBACK_STEP_TIMEOUT, BUILT_IN)


def retry_spec(sources: Sources) -> dict[str, Any] | None:
    """``StepRun.spec.retry``: the step's policy, otherwise the Story's; missing fields come from the template's
    recommendations.

    A step with ``sideEffects: true`` and no policy of its own is not retried. ``maxRetries`` is always written, because
    the default of the CRD differs from the operator's. None: the StepRun gets no ``retry``.
    """
    return {field: value for field, (value, _) in _retry_fields(sources).items()} or None


def retry_layers(sources: Sources) -> dict[str, str]:
    """The layer of each field of ``retry_spec``."""
    return {field: layer for field, (_, layer) in _retry_fields(sources).items()}


def retry_notes(sources: Sources) -> list[str]:
    """The values of ``retry_spec`` that are not applied as they were asked for."""
    retries, layer = _asked_fields(sources).get("maxRetries", (0, ""))
    if int(retries) <= STORED_RETRIES_LIMIT:
        return []
    return [f"{layer}: {retries} retries are more than a StepRun can have; {STORED_RETRIES_LIMIT} are used"]


def _retry_fields(sources: Sources) -> dict[str, tuple[Any, str]]:
    """Each field of ``retry_spec`` with its value and layer."""
    asked = _asked_fields(sources)
    if not asked:
        return {}
    retries, layer = asked["maxRetries"]
    return asked | {"maxRetries": (min(int(retries), STORED_RETRIES_LIMIT), layer)}


def _asked_fields(sources: Sources) -> dict[str, tuple[Any, str]]:
    """The same, before ``maxRetries`` is bounded."""
    own, layer = _at(sources.step, "execution").get("retry"), "Story step"
    if own is None and sources.step.get("sideEffects"):
        own, layer = {"maxRetries": 0}, "Story step sideEffects"
    if own is None:
        own, layer = _at(sources.story, "spec", "policy", "retries").get("stepRetryPolicy"), "Story policy"
    recommended = _at(sources.template, "spec", "execution", "retry")
    gaps = {
        "delay": recommended.get("recommendedBaseDelay"),
        "maxDelay": recommended.get("recommendedMaxDelay"),
        "backoff": str(recommended.get("recommendedBackoff") or "").lower() or None,
        "retryOn": recommended.get("recommendedRetryOn"),
    }
    if own is None:
        gaps["maxRetries"] = recommended.get("recommendedMaxRetries")
    filled = {key: (value, TEMPLATE) for key, value in gaps.items() if value is not None} | {
        key: (value, layer) for key, value in (own or {}).items() if value not in (None, "")
    }
    if not filled:
        return {}
    return {"maxRetries": (sources.settings.max_retries, OPERATOR)} | filled


def retry_policy(spec: ReadOnlyObject | None, settings: OperatorSettings) -> RetryPolicy:
    """The policy in ``StepRun.spec.retry``; missing fields have the operator's defaults.

    Raises:
        PolicyError: a delay is not a positive duration, the backoff is unknown, or an entry of ``retryOn`` is neither
            a known word nor an exit code nor the name of an error.
    """
    spec = spec or {}
    if problems := [str(each) for each in retry_on_problems(spec.get("retryOn") or (), "retry.retryOn")]:
        raise PolicyError(problems)
    word = spec.get("backoff") or BackoffStrategy.EXPONENTIAL
    if word not in set(BackoffStrategy):
        raise PolicyError([f"retry.backoff {word!r} must be exponential, linear or constant"])
    backoff, retries = BackoffStrategy(word), spec.get("maxRetries")
    default_delay = settings.retry_delay if backoff is BackoffStrategy.EXPONENTIAL else DEFAULT_DELAY
    delay = _duration("retry.delay", spec["delay"]) if spec.get("delay") else default_delay
    longest = spec.get("maxDelay")
    return RetryPolicy(
        max_retries=min(settings.max_retries if retries is None else int(retries), MAX_RETRIES_LIMIT),
        delay=delay,
        max_delay=_duration("retry.maxDelay", longest) if longest else _default_max_delay(backoff, delay, settings),
        backoff=backoff,
        jitter_percent=int(spec.get("jitter") or 0),
        retry_on=retry_on_of(spec),
    )


def _default_max_delay(backoff: BackoffStrategy, delay: timedelta, settings: OperatorSettings) -> timedelta:
    """Never below the delay, which a policy may set without a maximum."""
    if settings.retry_max_delay is None or backoff is not BackoffStrategy.EXPONENTIAL:
        return default_max_delay(backoff, delay)
    return max(settings.retry_max_delay, delay)


def _duration(label: str, text: str) -> timedelta:
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise PolicyError([f"{label}: {error}"]) from None


def _at(source: ReadOnlyObject, *path: str) -> ReadOnlyObject:
    for key in path:
        source = source.get(key) or {}
    return source
