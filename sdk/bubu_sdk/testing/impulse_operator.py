"""Decides StoryTriggers in memory, as the operator does: it creates or reuses the StoryRun, or rejects the request.

It decides what the Trigger contract 4.1 to 4.4 says of names, inputs and reuse; it knows neither Stories nor their
schemas. A test may keep it from deciding, let it reject, and let it decide later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from bubu_contract import instants, submission
from bubu_sdk.errors import Object
from bubu_sdk.kube import RUNS_API
from bubu_sdk.storytrigger import ANNOTATION_TRIGGER_NAME, ANNOTATION_TRIGGER_TOKEN, Outcome
from bubu_sdk.testing.cluster import InMemoryCluster
from bubu_sdk.timing import utc_now

_INPUT_HASH = "storyrun.bubustack.io/trigger-input-hash"


@dataclass(frozen=True)
class Rejection:
    """Why a StoryTrigger is rejected."""

    reason: str = "ValidationFailed"
    message: str = "rejected by the test"


class InMemoryOperator:
    """The StoryTrigger controller of an in-memory cluster. Thread-safe."""

    def __init__(self, cluster: InMemoryCluster) -> None:
        self._cluster = cluster
        self._lock = threading.RLock()
        self.holds = False
        """While true, StoryTriggers stay undecided; ``decide_pending`` decides them."""
        self.rejects: Callable[[Object], Rejection | None] = lambda _: None
        """Called with a StoryTrigger before it is decided; a ``Rejection`` rejects it."""

    def observe(self, method: str, path: str) -> None:
        """Look at the cluster after a request."""
        if method == "POST" and path.endswith("/storytriggers") and not self.holds:
            self.decide_pending()

    def decide_pending(self) -> int:
        """Decide all undecided StoryTriggers; returns their number."""
        with self._lock:
            pending = [
                (path, trigger)
                for path, trigger in self._cluster.objects.items()
                if "/storytriggers/" in path and not (trigger.get("status") or {}).get("decision")
            ]
            for path, trigger in pending:
                self._cluster.add(path, {**trigger, "status": self._decide(trigger)})
            return len(pending)

    def _decide(self, trigger: Object) -> Object:
        if rejection := self.rejects(trigger):
            return _status(trigger, Outcome.REJECTED, rejection.reason, rejection.message)
        metadata, spec = trigger["metadata"], trigger["spec"]
        namespace, story, delivery = metadata["namespace"], spec["storyRef"], spec["deliveryIdentity"]
        key = delivery.get("key") or ""
        identity = key or delivery["submissionId"]
        name = submission.story_run_name(story.get("namespace") or namespace, story["name"], identity)
        path = f"{RUNS_API}/namespaces/{namespace}/storyruns/{name}"
        existing = self._cluster.objects.get(path)
        if existing is None:
            marks = {ANNOTATION_TRIGGER_NAME: metadata["name"]}
            if key:
                marks |= {ANNOTATION_TRIGGER_TOKEN: key, _INPUT_HASH: submission.input_hash(spec.get("inputs"))}
            copied = {field: spec[field] for field in ("storyRef", "impulseRef", "inputs") if field in spec}
            self._cluster.add(
                path,
                {
                    "apiVersion": "runs.bubustack.io/v1alpha1",
                    "kind": "StoryRun",
                    "metadata": {"name": name, "namespace": namespace, "annotations": marks},
                    "spec": copied,
                    "status": {"phase": "Running"},
                },
            )
            return _status(trigger, Outcome.CREATED, "StoryRunCreated", f"created {name}", name)
        same = submission.input_hash(existing["spec"].get("inputs")) == submission.input_hash(spec.get("inputs"))
        if same and existing["spec"].get("impulseRef") == spec.get("impulseRef"):
            return _status(trigger, Outcome.REUSED, "StoryRunReused", f"reused {name}", name)
        return _status(trigger, Outcome.REJECTED, "StoryRunConflict", f"StoryRun {name} differs")


def _status(trigger: Object, outcome: Outcome, reason: str, message: str, story_run: str = "") -> Object:
    now = instants.format_instant(utc_now())
    status: Object = {
        "decision": str(outcome),
        "reason": reason,
        "message": message,
        "acceptedAt": now,
        "completedAt": now,
    }
    if story_run:
        status["storyRunRef"] = {"name": story_run, "namespace": trigger["metadata"]["namespace"]}
    return status
