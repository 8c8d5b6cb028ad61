"""What only the leader does: the engine, the controllers, and the routes that wake them.

Made from informers that are filled already; what they hold is enqueued once, then every change as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import trio

from core.api.resource import STORY, STORY_RUN, Resource
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.engine_context import EngineContext
from core.engine.ports import Clock, RunKey
from core.engine.run.supervisor import Supervisor
from core.engine.settings import EngineSettings
from core.engine.slots.queueing import limits_of
from core.engine.slots.slots import Slots
from core.kube.client import KubeClient
from core.kube.events import EventRecorder
from core.kube.informer import Change, Informer
from core.policy.references import Reference, why_denied
from core.policy.settings import ControllerSettings, OperatorSettings
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from manager.evaluation import evaluator_of
from manager.live import LiveGauges, QueueGauges
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.event_sink import KubeEventSink
from reconcilers.adapters.job_executor import JobExecutor
from reconcilers.adapters.pinned_story import story_of
from reconcilers.adapters.run_store import KubeRunStore
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.stored_payloads import StoredPayloads
from reconcilers.adapters.world import World, engram_key, step_references
from reconcilers.definition import COUNT_DELAY
from reconcilers.engram import EngramReconciler
from reconcilers.engramtemplate import EngramTemplateReconciler
from reconcilers.output_log import OutputLog
from reconcilers.resync import Resync
from reconcilers.router import Router
from reconcilers.runtime.controller import Controller, ControllerOptions, Key, Reconcile
from reconcilers.story import StoryReconciler
from reconcilers.story_revisions import StoryRevisionReconciler
from reconcilers.storyrun import StoryRunReconciler

_log = get_logger("controller.storyrun")


class Operator:
    """``run()`` works until it is cancelled; nothing of it outlives the call."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        settings: Callable[[], OperatorSettings],
        recorder: EventRecorder,
        clock: Clock,
        operator_namespace: str,
        *,
        volume_claims: Path | None = None,
    ) -> None:
        self._world = world
        self._settings = settings
        start = settings()
        self._evaluator = evaluator_of(settings, clock.now)
        events = KubeEventSink(recorder)
        binder = Binder(client, world, settings)
        executor = JobExecutor(client, world, binder, SecretCheck(client, operator_namespace, settings), events)
        store = KubeRunStore(client, world)
        self._slots = Slots(lambda: limits_of(settings()), clock)
        self._limiter = ConcurrencyLimiter(store)
        self.supervisor = Supervisor(
            EngineContext(
                runs=store,
                executor=executor,
                evaluator=self._evaluator,
                payloads=StoredPayloads(client, settings, operator_namespace, volume_claims),
                events=events,
                clock=clock,
                settings=self._engine_settings(),
                slots=self._slots,
                concurrency=self._limiter,
            ),
            _scope_crashed,
        )
        runs = StoryRunReconciler(client, world, self.supervisor, clock, settings)
        stories = StoryReconciler(client, world, events, clock, settings)
        engrams = EngramReconciler(client, world, events, clock)
        templates = EngramTemplateReconciler(client, world, clock)
        revisions = StoryRevisionReconciler(client, world, clock)
        self._runs = self._controller("storyrun", runs.reconcile, start.story_run)
        self._stories = self._controller("story", stories.reconcile, start.story)
        self._engrams = self._controller("engram", engrams.reconcile, start.engram_controller)
        self._templates = self._controller("catalog-engramtemplate", templates.reconcile, start.template)
        self._revisions = self._controller("storyrevision", revisions.reconcile, start.story)

    async def run(self) -> None:
        self._connect()
        live, queues = LiveGauges(self.supervisor, self._world.story_runs), QueueGauges(self._slots)
        with metrics.collected_by(live.collect), metrics.collected_by(queues.collect):
            await self._work()

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._evaluator.keep_warm)
            nursery.start_soon(self.supervisor.run)
            nursery.start_soon(Resync(self._world, self.supervisor, self._runs).run)
            for controller in (self._runs, self._stories, self._engrams, self._templates, self._revisions):
                nursery.start_soon(controller.run)
            self._enqueue_everything()

    def _controller(self, name: str, reconcile: Reconcile, options: ControllerSettings) -> Controller:
        return Controller(
            name,
            reconcile,
            ControllerOptions(
                workers=options.max_concurrent_reconciles,
                base_delay=options.base_delay,
                max_delay=options.max_delay,
                reconcile_timeout=self._settings().reconcile_timeout,
            ),
            observe=_observed,
        )

    def _connect(self) -> None:
        """Who looks again when what changes."""
        world = self._world
        limiter, slots = self._limiter, self._slots
        Router(
            world, self.supervisor, self._runs, run_ended=limiter.ended, step_run_ended=slots.step_run_ended
        ).connect()
        world.stories.add_handler(self._story_changed)
        world.engrams.add_handler(self._engram_changed)
        world.engram_templates.add_handler(self._template_changed)
        world.reference_grants.add_handler(self._grant_changed)
        world.story_runs.add_handler(self._run_milestone)
        world.step_runs.add_handler(self._step_run_milestone)
        world.story_revisions.add_handler(self._revision_changed)
        outputs = OutputLog(lambda: self._settings().step_output_logging)
        world.step_runs.add_handler(outputs.step_run_changed)
        world.story_runs.add_handler(outputs.story_run_changed)

    def _enqueue_everything(self) -> None:
        """The initial lists came before the handlers."""
        for informer, controller in (
            (self._world.story_runs, self._runs),
            (self._world.stories, self._stories),
            (self._world.engrams, self._engrams),
            (self._world.engram_templates, self._templates),
        ):
            _enqueue_all(informer, controller)

    def _story_changed(self, change: Change) -> None:
        if not _spec_changed(change):
            return
        for story in _versions(change):
            self._stories.enqueue(Key.of(story))
            self._revisions.enqueue(Key.of(story))
            for step in step_references(story):
                self._engrams.enqueue(_key(engram_key(step["ref"], story["metadata"]["namespace"])))

    def _engram_changed(self, change: Change) -> None:
        if not _spec_changed(change):
            return
        for engram in _versions(change):
            key = Key.of(engram)
            self._engrams.enqueue(key)
            self._templates.enqueue(Key("", (engram["spec"].get("templateRef") or {}).get("name", "")))
            for story in self._world.stories.by_index("engrams", str(key)):
                self._stories.enqueue(Key.of(story))

    def _template_changed(self, change: Change) -> None:
        if not _spec_changed(change):
            return
        for template in _versions(change):
            name = template["metadata"]["name"]
            self._templates.enqueue(Key("", name))
            for engram in self._world.engrams.by_index("template", name):
                self._engrams.enqueue(Key.of(engram))

    def _grant_changed(self, change: Change) -> None:
        """A grant given or revoked decides about every Story that refers across namespaces."""
        del change
        _enqueue_all(self._world.stories, self._stories)

    def settings_changed(self) -> None:
        """Other limits count from now on."""
        self._slots.limits_changed()

    def _run_milestone(self, change: Change) -> None:
        if _phase(change.old) != _phase(change.new):
            for run in _versions(change):
                story = _key(engram_key(run["spec"].get("storyRef") or {}, run["metadata"]["namespace"]))
                self._stories.queue.add_after(story, COUNT_DELAY)
                self._revisions.queue.add_after(story, COUNT_DELAY)

    def _step_run_milestone(self, change: Change) -> None:
        if _phase(change.old) != _phase(change.new):
            for step_run in _versions(change):
                reference = step_run["spec"].get("engramRef") or {}
                key = _key(engram_key(reference, step_run["metadata"]["namespace"]))
                self._engrams.queue.add_after(key, COUNT_DELAY)

    def _revision_changed(self, change: Change) -> None:
        story = story_of(change.object)
        if story is not None:
            self._revisions.enqueue(Key(*story))

    def _engine_settings(self) -> EngineSettings:
        settings = self._settings()
        return EngineSettings(
            max_inline_inputs_bytes=settings.runs.max_inline_inputs_size_bytes,
            graceful_shutdown=timedelta(seconds=settings.engram.graceful_shutdown_timeout_seconds),
            cleanup_timeout=settings.runs.cleanup_timeout,
            gate_timeout=settings.timeouts.approval_default,
            wait_timeout=settings.timeouts.external_data_default,
            max_story_depth=settings.runs.max_story_depth,
            queues=lambda: self._settings().runs.queues,
            max_priorities=lambda: self._settings().runs.max_priorities,
            offloaded_data=lambda: self._settings().templating.offloaded_data_policy,
            max_recursion_depth=lambda: self._settings().engram.max_recursion_depth,
            why_story_refused=partial(self._why_refused, STORY_RUN),
            why_call_refused=partial(self._why_refused, STORY),
        )

    def _why_refused(self, source: Resource, namespace: str, story_namespace: str, story_name: str) -> str | None:
        """Why an object of the kind ``source`` in ``namespace`` may not refer to a Story, or None."""
        reference = Reference(
            from_group=source.group,
            from_kind=source.kind,
            from_namespace=namespace,
            to_group=STORY.group,
            to_kind=STORY.kind,
            to_namespace=story_namespace,
            to_name=story_name,
        )
        grants = self._world.reference_grants.list(story_namespace)
        return why_denied(reference, self._settings().cross_namespace_policy, grants)


def _scope_crashed(key: RunKey, error: BaseException) -> None:
    metrics.count(catalogue.CONTROLLER_RECONCILE_ERRORS, controller="storyrun", error_type=type(error).__name__)
    if isinstance(error, Exception):
        _log.error("a run crashed; it starts again from its recorded state", run=str(key), error=error)


def _observed(controller: str, outcome: str, seconds: float) -> None:
    metrics.count(catalogue.CONTROLLER_RECONCILE, controller=controller, result=outcome)
    metrics.observe(catalogue.CONTROLLER_RECONCILE_DURATION, seconds, controller=controller)


def _enqueue_all(informer: Informer, controller: Controller) -> None:
    for obj in informer.each():
        controller.enqueue(Key.of(obj))


def _versions(change: Change) -> list[dict[str, Any]]:
    """Old and new: a dropped reference wakes its former target, too."""
    return [obj for obj in (change.old, change.new) if obj is not None]


def _spec_changed(change: Change) -> bool:
    if change.old is None or change.new is None:
        return True
    old, new = change.old["metadata"], change.new["metadata"]
    return bool(
        old.get("generation") != new.get("generation") or old.get("deletionTimestamp") != new.get("deletionTimestamp")
    )


def _phase(obj: dict[str, Any] | None) -> str:
    phase: str = ((obj or {}).get("status") or {}).get("phase", "")
    return phase


def _key(text: str) -> Key:
    namespace, _, name = text.partition("/")
    return Key(namespace, name)
