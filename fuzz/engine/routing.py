"""A replacement for the controllers in tests of the engine alone: it hands runs over and sends wake-ups.

It follows the rules of ``reconcilers.router`` and ``reconcilers.storyrun``, which ``housekeeping`` uses themselves. The
status writes of a run's own scope wake nobody, so a step that relies on such a wake-up hangs here, as it would in
production.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.api.objects import NamespacedName, Object, has_ended
from core.api.phases import Phase
from core.engine.awaited import AwaitedDefinitions
from core.engine.errors import Definition
from core.engine.redrive.request import pending_redrive
from core.engine.run.supervisor import Supervisor
from core.engine.run.termination import orphans
from core.engine.status.stored_run import terminated_at
from core.kube.store import Change
from fuzz.engine.watches import OF_STREAMS, Known, controller_owner

STEP_PATH = "runs.bubustack.io/step-path"
"""Annotation of StepRuns and child runs below the top level: the full name of their step."""


class Router:
    """``only``: the runs that it adopts, besides child runs; None means all runs.

    ``run_ended`` gets the UID of each run that has ended, is being deleted or is deleted.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        only: set[NamespacedName] | None,
        run_ended: Callable[[str], None],
        awaited: AwaitedDefinitions,
    ) -> None:
        self._supervisor = supervisor
        self._only = only
        self._run_ended = run_ended
        self._awaited = awaited
        self.known: Known | None = None

    def tell(self, kind: str, change: Change) -> None:
        """Handles the changes of all caches."""
        match kind:
            case "StoryRun":
                self._story_run(change)
            case kind if kind in OF_STREAMS:
                wake_owner(self._supervisor, self.known, change.object)
            case "StepRun":
                self._wake_step(change.object)
                self._hand_over(controller_owner(change.object), change.object["metadata"]["namespace"])
            case "Job" | "Pod":
                self._wake_step_named(change.object)
            case "Story" if change.new is not None:
                self._story(change.new)
            case "Engram" | "EngramTemplate":
                metadata = change.object["metadata"]
                self._awaited.changed(Definition(kind, metadata["namespace"], metadata["name"]))

    def _story_run(self, change: Change) -> None:
        if not _concerns_the_run(change):
            return
        run = change.object
        key, owner = key_of_run(run), controller_owner(run)
        if _is_under_way(change.old) and not _is_under_way(change.new):
            self._run_ended(run["metadata"]["uid"])
        if change.new is not None and is_live(run) and self._is_ours(key, owner, run):
            self._supervisor.adopt(key)
        elif change.new is not None and has_ended(run):
            self._hand_over(run["metadata"], key.namespace)
        self._supervisor.wake(key)
        if owner is not None and owner.get("kind") == "StoryRun":
            self._supervisor.wake(NamespacedName(key.namespace, owner["name"]), step_path(run) or None)

    def _hand_over(self, owner: Object | None, namespace: str) -> None:
        """Adopts a run that has ended if its steps are still running, because another process had started them."""
        assert self.known is not None
        run = self.known.get("StoryRun", namespace, owner["name"]) if owner is not None else None
        if (
            owner is None
            or run is None
            or run["metadata"]["uid"] != owner["uid"]
            or run["metadata"].get("deletionTimestamp")
        ):
            return
        if has_ended(run) and orphans(self.known.by_owner("StepRun", owner["uid"])):
            self._supervisor.adopt(key_of_run(run))

    def _is_ours(self, key: NamespacedName, owner: Object | None, run: Object) -> bool:
        child = owner is not None and owner.get("kind") == "StoryRun"
        return self._only is None or child or key in self._only or pending_redrive(run) is not None

    def _story(self, story: Object) -> None:
        """Wakes the runs that wait for this Story."""
        assert self.known is not None
        place = story["metadata"]["namespace"], story["metadata"]["name"]
        for run in self.known.all("StoryRun"):
            if story_of(run) == place:
                waits = (run.get("status") or {}).get("phase") in (None, "", Phase.PENDING)
                self._supervisor.wake(key_of_run(run), None if waits else "")

    def _wake_step_named(self, obj: Object) -> None:
        """For a Job or a Pod: wakes the step of the StepRun with the name in it."""
        assert self.known is not None
        step_run = self.known.get("StepRun", obj["metadata"]["namespace"], obj["spec"]["stepRun"])
        if step_run is not None:
            self._wake_step(step_run)

    def _wake_step(self, step_run: Object) -> None:
        owner = controller_owner(step_run)
        if owner is not None and owner.get("kind") == "StoryRun":
            key = NamespacedName(step_run["metadata"]["namespace"], owner["name"])
            self._supervisor.wake(key, step_path(step_run) or None)


def wake_owner(supervisor: Supervisor, known: Known | None, obj: Object) -> None:
    """For what a StepRun owns, and for its Pods: wakes its step."""
    owner = controller_owner(obj)
    name = obj["spec"]["stepRun"] if obj["kind"] == "Pod" else owner["name"] if owner is not None else ""
    step_run = known.get("StepRun", obj["metadata"]["namespace"], name) if known is not None else None
    parent = controller_owner(step_run) if step_run is not None else None
    if step_run is not None and parent is not None:
        key = NamespacedName(step_run["metadata"]["namespace"], parent["name"])
        supervisor.wake(key, step_path(step_run) or None)


def key_of_run(run: Object) -> NamespacedName:
    return NamespacedName(run["metadata"]["namespace"], run["metadata"]["name"])


def is_live(run: Object) -> bool:
    """Whether the run needs work: it has not ended, or is to run again."""
    if run["metadata"].get("deletionTimestamp"):
        return False
    return not has_ended(run) or pending_redrive(run) is not None


def _is_under_way(run: Object | None) -> bool:
    return run is not None and not has_ended(run) and not run["metadata"].get("deletionTimestamp")


def story_of(run: Object) -> tuple[str, str]:
    """Namespace and name of the run's Story."""
    reference = run["spec"].get("storyRef") or {}
    return str(reference.get("namespace") or run["metadata"]["namespace"]), str(reference.get("name") or "")


def step_path(obj: Object) -> str:
    """The full name of the step of a StepRun or a child run: ``fan/a``, or ``spec.stepId`` at the top level."""
    path = (obj["metadata"].get("annotations") or {}).get(STEP_PATH)
    return str(path or obj["spec"].get("stepId") or "")


def _concerns_the_run(change: Change) -> bool:
    """Whether more changed than the progress, which its own scope writes."""
    if change.old is None or change.new is None:
        return True
    return _face(change.old) != _face(change.new)


def _face(run: Object) -> tuple[Any, ...]:
    """The fields of a run that others may change, and those of its end."""
    metadata, status = run["metadata"], run.get("status") or {}
    own = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}
    told = (status.get(field) for field in ("phase", "message", "gates", "childrenCleanedAt"))
    return own, run.get("spec"), *told, terminated_at(run)
