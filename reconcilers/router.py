"""Events → the run and step that wait for them.

Informer handlers are called here, synchronously, and only wake somebody: what happened is read again by whoever wakes.
A lost, late or repeated event therefore costs time at most, never correctness. What a run's own scope records wakes
nobody: it would wake every step of the run for each of them. A child run is of interest to the step that started it
when it appears, moves to another phase or goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from core.api import keys
from core.api.objects import Object, controller_of, has_ended, is_being_deleted, step_path
from core.api.phases import Phase
from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.ports import RunKey
from core.engine.run.supervisor import Supervisor
from core.kube.informer import Change
from reconcilers.adapters.world import LIVE_RUNS, OWNER_UID, STORY_KEY, World, step_run_of_pod
from reconcilers.retention import said_of
from reconcilers.runtime.controller import Controller, Key

_RECORDED: Final = frozenset({keys.ANNOTATION_STEP_TIMERS, keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT})
"""Annotations in which a run's scope keeps what it needs itself."""


def _nobody(ended: object) -> None:
    """Listens to no end."""


class Router:
    """Connects the informers of a ``World`` with the supervisor and the StoryRun controller.

    ``run_ended`` hears the UID of each run that has ended, is being deleted or is gone; ``step_run_ended`` each StepRun
    that has ended or is gone: of these others may have been waiting for room.
    """

    def __init__(
        self,
        world: World,
        supervisor: Supervisor,
        story_runs: Controller,
        *,
        run_ended: Callable[[str], None] = _nobody,
        step_run_ended: Callable[[Object], None] = _nobody,
    ) -> None:
        self._world = world
        self._supervisor = supervisor
        self._story_runs = story_runs
        self._run_ended = run_ended
        self._step_run_ended = step_run_ended

    def connect(self) -> None:
        """Register all handlers; call it before the informers run."""
        self._world.story_runs.add_handler(self._story_run_changed)
        self._world.stories.add_handler(self._story_changed)
        self._world.step_runs.add_handler(self._step_run_changed)
        self._world.jobs.add_handler(self._job_changed)
        self._world.pods.add_handler(self._pod_changed)

    def _story_run_changed(self, change: Change) -> None:
        run = change.object
        if _concerns_the_run(change):
            self._story_runs.enqueue(Key.of(run))
            self._supervisor.wake(_run_key(run))
        if _concerns_the_parent(change):
            self._wake_step(run)
        if _is_live(change.old) and not _is_live(change.new):
            self._run_ended(run["metadata"]["uid"])
            for child in self._world.story_runs.by_index(OWNER_UID, run["metadata"]["uid"]):
                self._story_runs.enqueue(Key.of(child))  # which may have outlived its retention for this run
        self._tell_owner_of_the_end(change)

    def _story_changed(self, change: Change) -> None:
        """Runs that wait for their Story to appear, or for what it says of their order; and those that it keeps."""
        key = f"{change.object['metadata']['namespace']}/{change.object['metadata']['name']}"
        if said_of(change.old) != said_of(change.new):
            for run in self._world.story_runs.each_by_index(STORY_KEY, key):
                self._story_runs.enqueue(Key.of(run))
        if change.new is None or not _says_something_new(change):
            return
        for run in self._world.story_runs.each_by_index(LIVE_RUNS, key):
            if (run.get("status") or {}).get("phase") in (None, "", Phase.PENDING):
                self._story_runs.enqueue(Key.of(run))
                self._supervisor.wake(_run_key(run))
            else:  # one under way may have lost its Story
                self._supervisor.wake(_run_key(run), "")

    def _step_run_changed(self, change: Change) -> None:
        self._wake_step(change.object)
        self._tell_owner_of_the_end(change)
        if change.new is None or (has_ended(change.new) and not has_ended(change.old or {})):
            self._step_run_ended(change.object)
        if change.old is None and change.new is not None:
            self._tell_a_run_that_has_ended(change.new)

    def _tell_a_run_that_has_ended(self, step_run: Object) -> None:
        """Of what another operator has begun for it, which may not live to end that."""
        owner = controller_of(step_run)
        run = (
            self._world.story_runs.get(step_run["metadata"]["namespace"], owner["name"]) if owner is not None else None
        )
        if run is not None and has_ended(run) and not has_ended(step_run):
            self._story_runs.enqueue(Key.of(run))

    def _job_changed(self, change: Change) -> None:
        job = change.object
        owner = controller_of(job)
        if owner is not None and owner.get("kind") == STEP_RUN.kind:
            self._wake_step_of(job["metadata"]["namespace"], owner["name"])

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        self._wake_step_of(pod["metadata"]["namespace"], step_run_of_pod(pod))

    def _wake_step_of(self, namespace: str, step_run_name: str) -> None:
        step_run = self._world.step_runs.get(namespace, step_run_name)
        if step_run is not None:
            self._wake_step(step_run)

    def _wake_step(self, obj: Object) -> None:
        """The step that a StepRun or a child run is of."""
        owner = controller_of(obj)
        if owner is not None and owner.get("kind") == STORY_RUN.kind:
            self._supervisor.wake(RunKey(obj["metadata"]["namespace"], owner["name"]), step_path(obj) or None)

    def _tell_owner_of_the_end(self, change: Change) -> None:
        """A run that cleans up, or is to be let go, waits for its children to be gone."""
        owner = controller_of(change.object)
        if owner is not None and owner.get("kind") == STORY_RUN.kind and _is_going(change):
            self._story_runs.enqueue(Key(change.object["metadata"]["namespace"], owner["name"]))


def _concerns_the_run(change: Change) -> bool:
    """Whether more changed than the progress that its scope records."""
    if change.old is None or change.new is None:
        return True
    return _face(change.old) != _face(change.new)


def _face(run: Object) -> tuple[Any, ...]:
    """What others may change of a run, what it says of itself, which another leader may write over, and how it ends."""
    metadata, status = run["metadata"], run.get("status") or {}
    own = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}
    own["annotations"] = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _RECORDED
    }
    told = (status.get(field) for field in ("phase", "message", "gates", "childrenCleanedAt"))
    return own, run.get("spec"), *told


def _concerns_the_parent(change: Change) -> bool:
    if change.old is None or change.new is None:
        return True
    return _stage(change.old) != _stage(change.new)


def _stage(run: Object) -> tuple[Any, Any]:
    return (run.get("status") or {}).get("phase"), is_being_deleted(run)


def _says_something_new(change: Change) -> bool:
    """Whether a Story appeared or was edited; its own counts concern nobody who waits."""
    if change.old is None or change.new is None:
        return True
    return bool(change.old["metadata"].get("generation") != change.new["metadata"].get("generation"))


def _is_live(run: Object | None) -> bool:
    return run is not None and not has_ended(run) and not is_being_deleted(run)


def _is_going(change: Change) -> bool:
    """Whether it is gone, or has just been told to go."""
    if change.new is None:
        return True
    ending = is_being_deleted(change.new)
    return ending and not (change.old is not None and is_being_deleted(change.old))


def _run_key(run: Object) -> RunKey:
    return RunKey(run["metadata"]["namespace"], run["metadata"]["name"])
