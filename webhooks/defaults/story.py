"""The values that are written into a Story before it is stored. Source: admission contract 4.1.

Existing retry policies are completed, and steps with side effects get a retry policy that forbids retries. Other absent
fields stay absent and are resolved when a run needs them, so that a change of the operator's settings applies to them.
"""

from __future__ import annotations

import copy
from typing import Any, Final, cast

from core.api.objects import Object, ReadOnlyObject
from core.policy.settings import OperatorSettings
from core.story.story import read_story

MAX_RETRIES: Final = 10
"""The maximum in a retry policy."""

_DELAY: Final = "1s"
_BACKOFF: Final = "exponential"


def with_defaults(story: ReadOnlyObject, settings: OperatorSettings) -> dict[str, Any]:
    """A copy of ``story`` with its defaults; a field that does not match the schema stays unchanged."""
    filled: dict[str, Any] = copy.deepcopy(dict(story))
    read = read_story(filled)
    for step in (cast("Object", placed.declared) for placed in read.top()):  # of the copy
        execution = step.get("execution")
        retry = execution.get("retry") if isinstance(execution, dict) else None
        if step.get("sideEffects") is True and retry is None:
            step["execution"] = {**(execution if isinstance(execution, dict) else {}), "retry": _never()}
        else:
            _complete(retry, settings)
    policy = read.spec.get("policy")
    if isinstance(policy, dict):
        for parent, key in ((policy.get("retries"), "stepRetryPolicy"), (policy.get("execution"), "retry")):
            _complete(parent.get(key) if isinstance(parent, dict) else None, settings)
    return filled


def _never() -> dict[str, Any]:
    return {"maxRetries": 0, "delay": _DELAY, "backoff": _BACKOFF}


def _complete(retry: Any, settings: OperatorSettings) -> None:
    if not isinstance(retry, dict):
        return
    if retry.get("maxRetries") is None:
        retry["maxRetries"] = min(settings.max_retries, MAX_RETRIES)
    if not retry.get("delay"):
        retry["delay"] = _DELAY
    if retry.get("backoff") is None:
        retry["backoff"] = _BACKOFF
