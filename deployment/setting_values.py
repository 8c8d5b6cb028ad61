"""The values of settings as text: for the page of all settings and for ``bobrapet config``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from bubu_contract.durations import short_duration
from core.policy.config_keys import KEYS, QUEUE_KEYS
from core.policy.retry import DEFAULT_MAX_DELAY
from core.policy.settings import FALLBACK_RETENTION_SECONDS, FALLBACK_STEP_TIMEOUT, OperatorSettings, QueueSettings

USED_WHEN_UNSET: Final = {
    "timeout.default-step": short_duration(FALLBACK_STEP_TIMEOUT),
    "storyrun.retention-seconds": str(FALLBACK_RETENTION_SECONDS),
    "retry.exponential-backoff-max": short_duration(DEFAULT_MAX_DELAY),
}
"""Settings without a built-in value that still have an effect."""


def value_of(settings: OperatorSettings, key: str) -> str | None:
    """The value of ``key``, as a ConfigMap has it; None if it is not set.

    Raises:
        KeyError: there is no such key.
    """
    value: Any = settings
    for part in KEYS[key].path:
        value = getattr(value, part)
    if key.startswith("controller.requeue-") and not value:
        return None
    return value_text(value)


def value_text(value: Any) -> str | None:
    """Raises:
    TypeError: it is not the value of one key.
    """
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case timedelta():
            return short_duration(value) if value else "0"
        case StrEnum():
            return value.value
        case tuple():
            return ",".join(value)
        case Mapping():
            raise TypeError("a family of keys has a table of its own")
        case _:
            return str(value)


def queue_values(queue: QueueSettings) -> dict[str, str]:
    """The values of a queue, by the last part of their keys."""
    return {word: str(getattr(queue, known.path[0])) for word, known in QUEUE_KEYS.items()}
