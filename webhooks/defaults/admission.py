"""Values that admission writes into an object before it is stored: the entry point to the defaulters of all kinds.

Only Stories have defaults. For StepRuns the engine sets retries and idempotency key when it creates one.
Source: admission contract 1.1, 4.1 and 9.1.
"""

from __future__ import annotations

from typing import Any

from core.api.objects import ReadOnlyObject
from core.policy.settings import OperatorSettings
from webhooks.defaults import story


def with_defaults(new: ReadOnlyObject, settings: OperatorSettings) -> dict[str, Any]:
    """The copy of ``new`` that will be stored; idempotent."""
    return story.with_defaults(new, settings) if new.get("kind") == "Story" else dict(new)
