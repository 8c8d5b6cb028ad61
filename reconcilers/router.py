"""From events to the tasks of the engine that wait for them.

Informer handlers are called here, synchronously, and only wake a task, which then reads the current state. So a lost,
late or repeated event costs time at most, never correctness. A record that the scope of a run writes itself wakes no
task: it would wake every step of the run each time. A child run wakes the step that started it when it appears, moves
to another phase or disappears. A definition wakes the steps that wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Final, NamedTuple

from core.api.objects import NamespacedName, Object, controller_of, has_ended, step_path
from core.api.resource import (
    ENGRAM,
    ENGRAM_TEMPLATE,
    JOB,
    POD,
    REFERENCE_GRANT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STREAM_DEPLOYMENT,
    STREAM_STATEFUL_SET,
    TRANSPORT,
    TRANSPORT_BINDING,
)
from core.engine.errors import Definition
from core.engine.run.supervisor import Supervisor
from core.kube.informer import Change
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from reconcilers.adapters.world import step_run_of_pod
from reconcilers.run_changes import (
    concerns_the_parent,
    concerns_the_run,
    is_waiting_to_begin,
    live_runs_of_story,
    no_longer_live,
    owning_run,
    story_was_edited,
)
from reconcilers.runtime.changes import spec_changed
from reconcilers.runtime.watch import Caches, Watch, WatchedCaches, connect


class WaitingTask(NamedTuple):
    """Tasks of a live run, as arguments of ``Supervisor.wake``."""

    run: NamespacedName
    step: str | None = None
    """The step with this full name; empty: the run's own tasks; None: every task of the run."""


def connect_engine(
    caches: WatchedCaches,
    supervisor: Supervisor,
    *,
    run_ended: Callable[[str], None],
    step_run_ended: Callable[[Object], None],
    definition_changed: Callable[[Definition], None],
    ownership: Ownership = WHOLE_CLUSTER,
) -> None:
    """Wake the engine whenever a change concerns a run that this process owns; call this once the caches are filled.

    It hears the ends of all runs and StepRuns, whichever process owns them: a run here may wait for one elsewhere.

    Args:
        run_ended: is called with the UID of each run that has ended, is being deleted or is gone.
        step_run_ended: is called with each StepRun that has ended or is gone. After either, others may find room.
        definition_changed: is called with each Engram and template that appears or changes, and with the namespace of
            each such ReferenceGrant.
    """

    def wake(waiting: WaitingTask, delay: timedelta) -> None:
        del delay
        if ownership.owns(waiting.run):
            supervisor.wake(waiting.run, waiting.step)

    connect(WAKE_UPS, caches, wake)
    connect((ENDED_RUNS,), caches, lambda uid, _: run_ended(uid))
    connect((ENDED_STEP_RUNS,), caches, lambda step_run, _: step_run_ended(step_run))
    connect(DEFINITIONS, caches, lambda definition, _: definition_changed(definition))


def connect_streams(
    caches: WatchedCaches,
    supervisor: Supervisor,
    *,
    definition_changed: Callable[[Definition], None],
    ownership: Ownership = WHOLE_CLUSTER,
) -> None:
    """The same for realtime steps, where their objects are watched."""

    def wake(waiting: WaitingTask, delay: timedelta) -> None:
        del delay
        if ownership.owns(waiting.run):
            supervisor.wake(waiting.run, waiting.step)

    connect(STREAM_WAKE_UPS, caches, wake)
    connect(STREAM_DEFINITIONS, caches, lambda definition, _: definition_changed(definition))


def runs_with_streams(bindings: Iterable[Object]) -> set[NamespacedName]:
    """The runs that the TransportBindings are of; some may have ended."""
    found = set()
    for binding in bindings:
        name = ((binding.get("spec") or {}).get("storyRunRef") or {}).get("name")
        if isinstance(name, str):
            found.add(NamespacedName(binding["metadata"]["namespace"], name))
    return found


def _of_run(change: Change, caches: Caches) -> Iterator[WaitingTask]:
    """The run itself, and the step that started it."""
    del caches
    run = change.object
    if concerns_the_run(change):
        yield WaitingTask(_run_key(run))
    if concerns_the_parent(change):
        yield from _step_of(run)


def _of_story(change: Change, caches: Caches) -> Iterator[WaitingTask]:
    """Runs that wait for their Story to appear or for its order of runs; a running one may have lost its Story."""
    if change.new is None:
        return
    for run in live_runs_of_story(change.new, caches):
        yield WaitingTask(_run_key(run), None if is_waiting_to_begin(run) else "")


def _of_step_run(change: Change, caches: Caches) -> Iterator[WaitingTask]:
    del caches
    yield from _step_of(change.object)


def _of_owned(change: Change, caches: Caches) -> Iterator[WaitingTask]:
    """The step whose StepRun controls the object."""
    owner = controller_of(change.object)
    if owner is not None and owner.get("kind") == STEP_RUN.kind:
        yield from _step_named(change.object["metadata"]["namespace"], owner["name"], caches)


def _of_pod(change: Change, caches: Caches) -> Iterator[WaitingTask]:
    pod = change.object
    yield from _step_named(pod["metadata"]["namespace"], step_run_of_pod(pod), caches)


def _step_named(namespace: str, step_run_name: str, caches: Caches) -> Iterator[WaitingTask]:
    step_run = caches.informer(STEP_RUN).get(namespace, step_run_name)
    if step_run is not None:
        yield from _step_of(step_run)


def _step_of(obj: Object) -> Iterator[WaitingTask]:
    """The step of a StepRun or a child run."""
    run = owning_run(obj)
    if run is not None:
        yield WaitingTask(run, step_path(obj) or None)


def _uid_of_run(change: Change, caches: Caches) -> Iterator[str]:
    del caches
    yield change.object["metadata"]["uid"]


def _the_object(change: Change, caches: Caches) -> Iterator[Object]:
    del caches
    yield change.object


def _engram(change: Change, caches: Caches) -> Iterator[Definition]:
    del caches
    metadata = change.object["metadata"]
    yield Definition(ENGRAM.kind, metadata["namespace"], metadata["name"])


def _template(change: Change, caches: Caches) -> Iterator[Definition]:
    del caches
    yield Definition(ENGRAM_TEMPLATE.kind, "", change.object["metadata"]["name"])


def _transport(change: Change, caches: Caches) -> Iterator[Definition]:
    del caches
    yield Definition(TRANSPORT.kind, "", change.object["metadata"]["name"])


def _grants(change: Change, caches: Caches) -> Iterator[Definition]:
    """All grants of the namespace: which of them allows a reference is a matter of their contents."""
    del caches
    yield Definition(REFERENCE_GRANT.kind, change.object["metadata"]["namespace"], "")


def _step_run_ended(change: Change) -> bool:
    return change.new is None or (has_ended(change.new) and not has_ended(change.old or {}))


def _run_key(run: Object) -> NamespacedName:
    return NamespacedName(run["metadata"]["namespace"], run["metadata"]["name"])


WAKE_UPS: Final = (
    Watch(STORY_RUN, _of_run),
    Watch(STORY, _of_story, when=story_was_edited),
    Watch(STEP_RUN, _of_step_run),
    Watch(JOB, _of_owned),
    Watch(POD, _of_pod),
)
"""The tasks of the engine that a change wakes."""
ENDED_RUNS: Final = Watch(STORY_RUN, _uid_of_run, when=no_longer_live)
ENDED_STEP_RUNS: Final = Watch(STEP_RUN, _the_object, when=_step_run_ended)
DEFINITIONS: Final = (
    Watch(ENGRAM, _engram, when=spec_changed),
    Watch(ENGRAM_TEMPLATE, _template, when=spec_changed),
    Watch(REFERENCE_GRANT, _grants, when=spec_changed),
)
"""Changes for which a step may wait."""
STREAM_WAKE_UPS: Final = tuple(
    Watch(kind, _of_owned) for kind in (TRANSPORT_BINDING, STREAM_DEPLOYMENT, STREAM_STATEFUL_SET)
)
STREAM_DEFINITIONS: Final = (Watch(TRANSPORT, _transport, when=spec_changed),)
