"""Events → the run and step that wait for them.

Informer handlers are called here, synchronously, and only wake somebody: what happened is read again by whoever wakes.
A lost, late or repeated event therefore costs time at most, never correctness.
"""

from __future__ import annotations

from collections.abc import Callable

from core.engine.supervisor import Supervisor
from core.kube.informer import Change

from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.ports import Object, RunKey
from reconcilers.adapters.world import STORY_KEY, World, controller_owner
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
        self._world.step_runs.add_handler(self._each(self._step_run_changed))
        self._world.jobs.add_handler(self._each(self._job_changed))
        self._world.pods.add_handler(self._each(self._pod_changed))

    def _each(self, handle: Callable[[Object], None]) -> Callable[[Change], None]:
        def on_change(change: Change) -> None:
            obj = change.new if change.new is not None else change.old
            if obj is not None:
                handle(obj)

        return on_change

    def _story_run_changed(self, change: Change) -> None:
        obj = change.new if change.new is not None else change.old
        if obj is None:
            return
        key = Key.of(obj)
        self._story_runs.enqueue(key)
        self._supervisor.wake(RunKey(key.namespace, key.name))
        owner = controller_owner(obj)
        if owner is not None and owner.get("kind") == STORY_RUN.kind:
            self._supervisor.wake(RunKey(key.namespace, owner["name"]))

    def _story_changed(self, change: Change) -> None:
        """Runs that wait for their Story to appear."""
        obj = change.new
        if obj is None:
            return
        key = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
        for run in self._world.story_runs.by_index(STORY_KEY, key):
            phase = (run.get("status") or {}).get("phase")
            if phase in (None, "", "Pending"):
                self._supervisor.wake(RunKey(run["metadata"]["namespace"], run["metadata"]["name"]))

    def _step_run_changed(self, step_run: Object) -> None:
        owner = controller_owner(step_run)
        if owner is None or owner.get("kind") != STORY_RUN.kind:
            return
        namespace = step_run["metadata"]["namespace"]
        self._supervisor.wake(RunKey(namespace, owner["name"]), step_run["spec"].get("stepId"))
        if step_run["metadata"].get("deletionTimestamp"):
            self._story_runs.enqueue(Key(namespace, owner["name"]))

    def _job_changed(self, job: Object) -> None:
        owner = controller_owner(job)
        if owner is not None and owner.get("kind") == STEP_RUN.kind:
            self._step_run_named(job["metadata"]["namespace"], owner["name"])

    def _pod_changed(self, pod: Object) -> None:
        owner = controller_owner(pod)
        if owner is not None:  # a Job, which has the name of its StepRun
            self._step_run_named(pod["metadata"]["namespace"], owner["name"])

    def _step_run_named(self, namespace: str, name: str) -> None:
        step_run = self._world.step_runs.get(namespace, name)
        if step_run is not None:
            self._step_run_changed(step_run)
