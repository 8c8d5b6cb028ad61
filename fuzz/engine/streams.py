"""Realtime Stories for cases: their Engrams, their steps, and what their transports allow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from core.engine.ports import STREAM
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram

LIVE: Final = "live"
FRAIL: Final = "frail"
HASTY: Final = "hasty-live"
STREAMS: Final = {
    LIVE: Engram(executor=STREAM, timeout_seconds=None),
    FRAIL: Engram(
        executor=STREAM, timeout_seconds=None, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=1.3))
    ),
    HASTY: Engram(executor=STREAM, timeout_seconds=3.0, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=0.4))),
}
"""The Engrams of realtime steps; ``FRAIL`` is started once more after its container has failed too often, and ``HASTY``
declares a timeout.
"""


def stream(name: str, *needs: str, ref: str = LIVE, **more: Any) -> dict[str, Any]:
    """A step that serves a stream; ``with_`` and ``if_`` stand for the keywords."""
    step: dict[str, Any] = {"name": name, "ref": {"name": ref}}
    if needs:
        step["needs"] = list(needs)
    return step | {key.removesuffix("_"): value for key, value in more.items()}


def realtime(*steps: dict[str, Any], drain_seconds: int = 0, **spec: Any) -> dict[str, Any]:
    """The spec of a realtime Story."""
    found: dict[str, Any] = {"pattern": "realtime", "steps": [*steps], **spec}
    if drain_seconds:
        lifecycle = {"lifecycle": {"drainTimeoutSeconds": drain_seconds}}
        found["transports"] = [{"name": "t", "transportRef": "t", "streaming": lifecycle}]
    return found
