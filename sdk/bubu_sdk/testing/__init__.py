"""Test engrams and impulses without a cluster.

``EngramEnvironment`` runs an engram, ``check_batch`` checks that it keeps the contract; ``ImpulseEnvironment`` runs an
impulse and decides its requests; ``StreamHarness`` runs a streaming engram, with a hub in memory, and ``check_stream``
checks one; ``StoryRunner`` runs a Story on an embedded cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bubu_sdk.testing.cluster import InMemoryCluster
from bubu_sdk.testing.conformance import ConformanceError, check_batch
from bubu_sdk.testing.environment import EngramEnvironment, EngramOutcome
from bubu_sdk.testing.impulse_environment import ImpulseEnvironment, ImpulseOutcome, VirtualClock
from bubu_sdk.testing.impulse_operator import InMemoryOperator, Rejection
from bubu_sdk.testing.store import InMemoryStore

if TYPE_CHECKING:
    from bubu_sdk.testing.story_runner import StoryOutcome, StoryRunner
    from bubu_sdk.testing.stream_conformance import check_stream
    from bubu_sdk.testing.stream_harness import StreamHarness, StreamOutcome
    from bubu_sdk.testing.stream_hub import StreamHub, StreamOutput

__all__ = [
    "ConformanceError",
    "EngramEnvironment",
    "EngramOutcome",
    "ImpulseEnvironment",
    "ImpulseOutcome",
    "InMemoryCluster",
    "InMemoryOperator",
    "InMemoryStore",
    "Rejection",
    "StoryOutcome",
    "StoryRunner",
    "StreamHarness",
    "StreamHub",
    "StreamOutcome",
    "StreamOutput",
    "VirtualClock",
    "check_batch",
    "check_stream",
]

_LATER = {
    "StoryOutcome": "story_runner",
    "StoryRunner": "story_runner",
    "StreamHarness": "stream_harness",
    "StreamOutcome": "stream_harness",
    "check_stream": "stream_conformance",
}


def __getattr__(name: str) -> Any:
    """What few tests need is imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = _LATER.get(name, "stream_hub")
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("h2", "hpack", "hyperframe"):
            raise
        raise ImportError(f"{name} needs the extra: install 'bubu-sdk[streaming]'") from error
