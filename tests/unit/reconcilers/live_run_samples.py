"""A Story that is always on, and its runs as they are stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from core.workloads.live_run import live_run_manifest
from tests.unit.reconcilers.reconciler_samples import NOW, stored

STEP: Object = {"name": "listen", "ref": {"name": "ears"}}
SPEC: Object = {"pattern": "realtime", "streamingStrategy": "PerStory", "steps": [STEP]}


def always_on(generation: int = 1, *, uid: str = "s-1", **spec: Any) -> Object:
    return stored("Story", "talk", spec={**SPEC, **spec}, meta={"uid": uid, "generation": generation})


def live_run(
    story: Object,
    predecessor: Object | None = None,
    *,
    restarts: int = 0,
    phase: str = "Running",
    made: datetime = NOW,
    lived: timedelta | None = None,
    **spec: Any,
) -> Object:
    """A run that the operator has made; with ``lived`` it has ended."""
    before = predecessor["metadata"]["uid"] if predecessor is not None else ""
    manifest = live_run_manifest(story, before, restarts)
    metadata = {**manifest["metadata"], "creationTimestamp": format_instant(made)}
    status: Object = {"phase": phase}
    if lived is not None:
        status["finishedAt"] = format_instant(made + lived)
    name = metadata.pop("name")
    return stored("StoryRun", name, spec={**manifest["spec"], **spec}, status=status, meta=metadata)


def replaced(run: Object, why: str = "replaced") -> Object:
    """The run after the operator has canceled it."""
    annotations = {**run["metadata"]["annotations"], keys.ANNOTATION_LIVE_REPLACED: why}
    return {
        **run,
        "metadata": {**run["metadata"], "annotations": annotations},
        "spec": {**run["spec"], "cancelRequested": True},
    }
