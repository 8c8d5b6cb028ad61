"""Events → the run and step that wait for them.

Informer handlers are called here, synchronously, and only wake somebody: what happened is read again by whoever wakes.
A lost, late or repeated event therefore costs time at most, never correctness. What a run's own scope writes into its
status wakes nobody: it would ring every step of the run for each of them.
"""

from __future__ import annotations

from typing import Any

from core.api.phases import Phase
from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.ports import Object, RunKey
from core.engine.supervisor import Supervisor
from core.kube.informer import Change
from reconcilers.adapters.world import STORY_KEY, World, controller_owner, step_run_of_pod
from reconcilers.runtime.controller import Controller, Key


class Router:
    """Connects the informers of a ``World`` with the supervisor and the StoryRun controller."""

    def __init__(self, world: World, supervisor: Supervisor, story_runs: Controller) -> None:
        self._world = world
        self._supervisor = supervisor
        self._story_runs = story_runs

    def connect(self) -> None:
        """Register all handlers; call it before the informers run."""
        self._world.story_runs.add_handler(self._story_run_changed)
        self._world.stories.add_handler(self._story_changed)
        self._world.step_runs.add_handler(self._step_run_changed)
        self._world.jobs.add_handler(self._job_changed)
        self._world.pods.add_handler(self._pod_changed)

    def _story_run_changed(self, change: Change) -> None:
        if not _concerns_the_run(change):
            return
        run = change.object
        namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
        self._story_runs.enqueue(Key(namespace, name))
        self._supervisor.wake(RunKey(namespace, name))
        owner = controller_owner(run)
        if owner is not None and owner.get("kind") == STORY_RUN.kind:
            self._supervisor.wake(RunKey(namespace, owner["name"]))
            if _is_going(change):
                self._story_runs.enqueue(Key(namespace, owner["name"]))

    def _story_changed(self, change: Change) -> None:
        """Runs that wait for their Story to appear."""
        story = change.new
        if story is None:
            return
        key = f"{story['metadata']['namespace']}/{story['metadata']['name']}"
        for run in self._world.story_runs.by_index(STORY_KEY, key):
            if (run.get("status") or {}).get("phase") in (None, "", Phase.PENDING):
                self._story_runs.enqueue(Key.of(run))
                self._supervisor.wake(RunKey(run["metadata"]["namespace"], run["metadata"]["name"]))

    def _step_run_changed(self, change: Change) -> None:
        step_run = change.object
        self._wake_step(step_run)
        owner = controller_owner(step_run)
        if owner is not None and owner.get("kind") == STORY_RUN.kind and _is_going(change):
            self._story_runs.enqueue(Key(step_run["metadata"]["namespace"], owner["name"]))

    def _job_changed(self, change: Change) -> None:
        job = change.object
        owner = controller_owner(job)
        if owner is not None and owner.get("kind") == STEP_RUN.kind:
            self._wake_step_of(job["metadata"]["namespace"], owner["name"])

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        self._wake_step_of(pod["metadata"]["namespace"], step_run_of_pod(pod))

    def _wake_step_of(self, namespace: str, step_run_name: str) -> None:
        step_run = self._world.step_runs.get(namespace, step_run_name)
        if step_run is not None:
            self._wake_step(step_run)

    def _wake_step(self, step_run: Object) -> None:
        owner = controller_owner(step_run)
        if owner is not None and owner.get("kind") == STORY_RUN.kind:
            key = RunKey(step_run["metadata"]["namespace"], owner["name"])
            self._supervisor.wake(key, (step_run.get("spec") or {}).get("stepId"))


def _concerns_the_run(change: Change) -> bool:
    """Whether more changed than the progress that its scope records."""
    if change.old is None or change.new is None:
        return True
    return _face(change.old) != _face(change.new)


def _face(run: Object) -> tuple[Any, ...]:
    """What others may change of a run, and how it ends."""
    metadata, status = run["metadata"], run.get("status") or {}
    own = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}
    return own, run.get("spec"), status.get("phase"), status.get("gates"), status.get("childrenCleanedAt")


def _is_going(change: Change) -> bool:
    return change.new is None or bool(change.object["metadata"].get("deletionTimestamp"))
