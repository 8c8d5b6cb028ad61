"""In the name of which controller, and in which form, Events are recorded."""

from __future__ import annotations

from typing import Any

import pytest

from core.engine.ports import EventType
from core.kube.events import EventRecorder
from reconcilers.adapters.event_sink import KubeEventSink
from tests.unit.reconcilers.reconciler_samples import NOW, open_world, run, step_run, stored, story


class NotingRecorder(EventRecorder):
    """Keeps the Events that it gets."""

    notes: list[tuple[str, str, Any]]

    def record(self, regarding: Any, type_: str, reason: str, message: str, **more: Any) -> None:
        self.notes.append(("recorded", reason, more["reporting_controller"]))

    def record_labelled(self, regarding: Any, type_: str, reason: str, message: str, **more: Any) -> None:
        self.notes.append(("labelled", reason, (more["component"], more["labels"])))


async def noted(regarding: dict[str, Any], reason: str) -> tuple[str, str, Any]:
    async with open_world() as (client, _):
        recorder = NotingRecorder(client, now=lambda: NOW)
        recorder.notes = []
        KubeEventSink(recorder).emit(regarding, EventType.NORMAL, reason, "told")
    [note] = recorder.notes
    return note


@pytest.mark.parametrize(
    ("regarding", "controller"),
    [
        (run(), "storyrun-controller"),
        (step_run(run()), "steprun-controller"),
        (story(), "story-controller"),
        (stored("Engram", "http"), "engram-controller"),
        (stored("StoryTrigger", "t"), "storytrigger-controller"),
        (stored("ConfigMap", "config"), "bobrapet"),
    ],
)
async def test_the_kind_of_the_object_tells_who_reports(regarding: dict[str, Any], controller: str) -> None:
    assert await noted(regarding, "JobRestarted") == ("recorded", "JobRestarted", controller)


@pytest.mark.parametrize(
    "reason", ["JobStatusPatched", "JobCompleted", "JobStatusFallback", "JobRetryScheduled", "OutputKeyMismatch"]
)
async def test_what_happens_to_jobs_is_told_with_labels(reason: str) -> None:
    labels = {"bubustack.io/story-name": "report", "bubustack.io/correlation-id": "order-42"}
    form, _, (component, told) = await noted(step_run(run(), meta={"labels": labels}), reason)
    assert (form, component) == ("labelled", "steprun-controller")
    assert told == {
        **labels,
        "bubustack.io/storyrun": "one",
        "bubustack.io/steprun": "one-fetch",
        "bubustack.io/step": "fetch",
        "bubustack.io/engram": "http",
    }
