"""Realtime Stories for cases: their Engrams, their steps, and what their transports allow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from core.engine.ports import STREAM
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram

LIVE: Final = "live"
FRAIL: Final = "frail"
STREAMS: Final = {
    LIVE: Engram(executor=STREAM, timeout_seconds=None),
    FRAIL: Engram(
        executor=STREAM, timeout_seconds=None, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=1.3))
    ),
}
"""The Engrams of realtime steps; ``FRAIL`` is started once more after its container has failed too often."""


def stream(name: str, *needs: str, ref: str = LIVE, **more: Any) -> dict[str, Any]:
    """A step that serves a stream."""
    return engram(name, *needs, ref=ref, **more)


def realtime(*steps: dict[str, Any], drain_seconds: int = 0, **spec: Any) -> dict[str, Any]:
    """The spec of a realtime Story."""
    found: dict[str, Any] = {"pattern": "realtime", "steps": [*steps], **spec}
    if drain_seconds:
        lifecycle = {"lifecycle": {"drainTimeoutSeconds": drain_seconds}}
        found["transports"] = [{"name": "t", "transportRef": "t", "streaming": lifecycle}]
    return found
