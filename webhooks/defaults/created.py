"""The mark of its first creation, which admission writes into each new StoryRun and StoryTrigger.

A backup keeps it, so the operator recognizes an object that was restored (``core.workloads.restored``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.api.objects import ReadOnlyObject
from core.workloads import restored
from webhooks.validate.change import metadata_of

_KINDS = ("StoryRun", "StoryTrigger")


def with_created_mark(new: ReadOnlyObject, now: datetime) -> dict[str, Any]:
    """A copy of an object that is being created, with the mark; unchanged if it is of another kind, or damaged."""
    metadata = metadata_of(new)
    annotations = metadata.get("annotations") or {}
    if new.get("kind") not in _KINDS or not metadata or not isinstance(annotations, Mapping):
        return dict(new)
    return restored.with_created_mark(new, now)
