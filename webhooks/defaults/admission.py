"""Values that admission writes into an object before it is stored: the entry point to the defaulters of all kinds.

Only Stories and new StoryRuns have defaults. For StepRuns the engine sets retries and idempotency key when it creates
one. Source: admission contract 1.1, 4.1 and 9.1.
"""

from __future__ import annotations

from typing import Any

from core.api.objects import ReadOnlyObject
from webhooks.cluster_view import ClusterView
from webhooks.defaults import story, storyrun


def with_defaults(new: ReadOnlyObject, world: ClusterView) -> dict[str, Any]:
    """The copy of ``new`` that will be stored; idempotent."""
    match new.get("kind"):
        case "Story":
            return story.with_defaults(new, world.settings)
        case "StoryRun":
            return storyrun.with_defaults(new, world)
    return dict(new)
