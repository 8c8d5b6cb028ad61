"""Creates the controllers of a list of rows, connects them to the informers, and runs them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from core.api.resource import STORY_RUN, Resource
from core.policy.settings import OperatorSettings
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.controller import Controller, ControllerOptions, Key, Observer
from reconcilers.runtime.watch import connect_controller


class ControllerSet:
    """Call ``connect`` when the informers are filled, then ``start_in`` and ``enqueue_everything``.

    Raises:
        ValueError: two rows have the same name.
    """

    def __init__(
        self, registrations: Sequence[ControllerRegistration], there: ControllerDependencies, observe: Observer
    ) -> None:
        names = [row.name for row in registrations]
        if len(set(names)) < len(names):
            raise ValueError(f"controllers must have different names: {', '.join(names)}")
        self._there = there
        self._made = [(row, _controller(row, there, observe)) for row in registrations]

    def connect(self) -> None:
        """Connect the watches, so that every change enqueues the keys that it concerns.

        Raises:
            LookupError: a row watches a kind without an informer.
        """
        for row, controller in self._made:
            connect_controller(row.watches, self._there.world, controller)

    def start_in(self, nursery: trio.Nursery) -> None:
        """Start the workers, and the tasks beside them."""
        for row, controller in self._made:
            if row.beside is not None:
                nursery.start_soon(row.beside, self._there, controller, name=f"beside controller {row.name}")
        for _, controller in self._made:
            nursery.start_soon(controller.run)

    def enqueue_everything(self) -> None:
        """Enqueue all existing objects: the informers received their initial lists before the handlers were
        connected.
        """
        self._enqueue_all(lambda row: row.enqueue_at_start)

    def settings_changed(self) -> None:
        """Enqueue the objects on which the operator's settings have an effect while they do not change."""
        self._enqueue_all(lambda row: row.enqueue_when_settings_change)

    def enqueue_all_of(self, kind: Resource) -> None:
        """Enqueue the objects of one kind: something that no object says has changed for all of them."""
        self._enqueue_all(lambda row: row.kind is kind)

    def enqueue(self, key: Key) -> None:
        """Have every controller look at the object of that name: this process has become its owner."""
        for _, controller in self._made:
            controller.enqueue(key)

    def _enqueue_all(self, chosen: Callable[[ControllerRegistration], bool]) -> None:
        """Enqueue the objects of the chosen controllers; none that is at rest is read for that.

        Those at rest come after all others: there may be many thousands, and the others have work to do.
        """
        made = [(row, controller) for row, controller in self._made if chosen(row)]
        for row, controller in made:
            informer, only = self._there.world.informer(row.kind), row.enqueue_only
            in_motion = informer.keys_in_motion() if only is None else map(Key.of, filter(only, informer.in_motion()))
            for key in [*in_motion]:
                controller.enqueue(key)
        for row, controller in made:
            if row.enqueue_only is None:
                controller.look_at(self._there.world.informer(row.kind).keys_at_rest)

    def collect(self) -> None:
        """Set the metrics of the controllers and of their queues."""
        for _, controller in self._made:
            controller.meter.collect()

    async def release(self, key: Key) -> None:
        """Return once no controller is at work for ``key``, which this process does not own any more."""
        for _, controller in self._made:
            await controller.release(key)


def _controller(row: ControllerRegistration, there: ControllerDependencies, observe: Observer) -> Controller:
    options = controller_options(row, there.settings)
    glance = None if row.glance is None else row.glance(there)
    return Controller(
        row.name,
        row.build(there),
        options,
        glance=glance,
        observe=observe,
        ownership=there.ownership,
        of_runs=row.kind is STORY_RUN,
    )


def controller_options(row: ControllerRegistration, settings: Callable[[], OperatorSettings]) -> ControllerOptions:
    now = settings()
    wanted = row.options(now)
    return ControllerOptions(
        workers=wanted.max_concurrent_reconciles,
        base_delay=wanted.base_delay,
        max_delay=wanted.max_delay,
        reconcile_timeout=lambda: settings().reconcile_timeout,
    )
