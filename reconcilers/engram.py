"""Engrams: check that their template exists, and count how much they are used.

Executions are counted from StepRuns without a write per StepRun: those that finished after the stored
``lastExecutionTime`` are new. Instants are whole seconds, so only past seconds are counted: nothing is missed or
counted twice. An index by the minute finds them, so that a count does not take longer as finished StepRuns pile up.
``Ready`` is set beside the reference's ``TemplateResolved``, so that ``kubectl wait --for=condition=Ready`` works.
Source: operator contract 14.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any, Final, NamedTuple

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.conditions import with_condition
from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType, Phase, Reason
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STEP_RUN, STORY
from core.api.unreadable import why_unreadable
from core.engine.ports import Clock, EventSink, EventType
from core.engine.step.record import is_final
from core.kube.client import KubeClient
from core.kube.informer import Change
from reconcilers.adapters.permissions import FRESH
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.watched_kind import WatchedKind
from reconcilers.adapters.world import ENGRAM_KEYS, TEMPLATE_NAME, World, engram_key, find, step_references
from reconcilers.definition import COUNT_DELAY, STATUS_WHY, referred_key, stored_errors, validated, write_status
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import phase_changed, spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

SETTLING: Final = timedelta(seconds=1)
"""How long after its end a second may still get StepRuns: their times come from clocks of other machines."""
ENDED_IN: Final = "ended-in"
"""Index of StepRuns: their Engram, and the ten seconds in which they ended; see ``ended_in``."""
_SPANS_OF_A_READ: Final = 3
"""How many spans are asked for in the time in which one StepRun at rest is read."""
_AHEAD: Final = timedelta(hours=1)
"""How far the clock of a container may be ahead."""
_SPAN: Final = timedelta(seconds=10)
_DIGITS: Final = len("2026-11-29T13:25:0")
"""How much of an instant names its ten seconds."""
_SECONDS: Final = len("2026-11-29T13:25:07Z")


class EngramReconciler:
    """Reconciles one Engram at a time, by key."""

    def __init__(self, client: KubeClient, world: World, events: EventSink, clock: Clock) -> None:
        self._client = client.in_background()
        self._world = world
        self._events = events
        self._clock = clock

    async def reconcile(self, key: Key) -> Outcome:
        engram = self._world.engrams.get(key.namespace, key.name)
        if engram is None or is_being_deleted(engram):
            return Done()
        reason, errors = await self._template_finding(engram)
        current_at = self._clock.now() - timedelta(seconds=self._world.step_runs.seconds_behind)
        stored = engram.get("status") or {}
        count = executions(stored, self._possibly_new(key, stored), current_at)
        status = self._validity(engram, reason, errors)
        if count.is_due:
            status |= count.status
        status["usageCount"] = len(self._world.stories.keys_by_index(ENGRAM_KEYS, str(key)))
        await write_status(self._client, self._world.engrams, ENGRAM, engram, status)
        if errors and stored_errors(engram) != errors:
            self._events.emit(engram, EventType.WARNING, reason, errors[0])
        return After(COUNT_DELAY) if count.more_to_come else Done()

    def _possibly_new(self, key: Key, stored: Object) -> Iterator[Object]:
        """The StepRuns that have not ended, and those that have ended since the last count; perhaps some others."""
        step_runs, since = self._world.step_runs, parse_instant_or_none(stored.get("lastExecutionTime"))
        spans = 0 if since is None else (self._clock.now() + _AHEAD - since) // _SPAN + 2
        every = step_runs.keys_by_index(ENGRAM_KEYS, str(key))
        if since is None or len(every) * _SPANS_OF_A_READ < spans:
            yield from step_runs.each_by_index(ENGRAM_KEYS, str(key))
            return
        yield from step_runs.each_by_index(ENDED_IN, _place(str(key), ""))
        for number in range(spans):
            span = format_instant(since + number * _SPAN)[:_DIGITS]
            yield from step_runs.each_by_index(ENDED_IN, _place(str(key), span))

    async def _template_finding(self, engram: Object) -> tuple[str, list[str]]:
        if why := why_unreadable(engram):
            return Reason.UNREADABLE, [f"the Engram cannot be read: {why}; make it smaller"]
        name = ((engram["spec"].get("templateRef") or {}).get("name") or "").strip()
        if not name:
            return "TemplateRefInvalid", ["spec.templateRef.name: is empty; name an EngramTemplate"]
        with port_errors():
            template = await find(self._client, self._world.engram_templates, ENGRAM_TEMPLATE, "", name)
        if template is None:
            return "TemplateNotFound", [f"spec.templateRef: EngramTemplate {name!r} does not exist; apply it"]
        return "TemplateResolved", []

    def _validity(self, engram: Object, reason: str, errors: list[str]) -> dict[str, Any]:
        now, resolves = self._clock.now(), "the template resolves"
        condition = ConditionType.TEMPLATE_RESOLVED
        status = validated(engram, errors, condition=condition, reason=reason, if_valid=resolves, now=now)
        status["conditions"] = with_condition(
            status["conditions"],
            ConditionType.READY,
            not errors,
            reason=reason,
            message="; ".join(errors) or resolves,
            generation=engram["metadata"].get("generation", 0),
            now=now,
        )
        return status


class ExecutionCount(NamedTuple):
    """The counters to store, and whether some StepRuns have finished too recently to be counted."""

    status: dict[str, Any]
    counted: int
    more_to_come: bool

    @property
    def is_due(self) -> bool:
        """Whether to store the counters now. StepRuns that only wait to be counted are stored with that count."""
        return self.counted > 0 or not self.more_to_come


def executions(stored: Object, step_runs: Iterable[Object], current_at: datetime) -> ExecutionCount:
    """The counters including the StepRuns that finished after the stored ``lastExecutionTime``.

    Args:
        current_at: everything that was stored before this instant is among ``step_runs``.
    """
    since = parse_instant_or_none(stored.get("lastExecutionTime"))
    since_text = format_instant(since) if since is not None else ""
    until = (current_at - SETTLING).replace(microsecond=0) - timedelta(seconds=1)
    uncounted = 0
    finishes = []
    for run in step_runs:  # one at a time: they may be large
        if since is not None and _surely_finished_by(run, since_text):
            continue
        uncounted += 1
        if finished := _finished_at(run):
            finishes.append((finished, run["status"].get("phase")))
    fresh = [(finished, phase) for finished, phase in finishes if since is None or finished > since]
    counted = [(finished, phase) for finished, phase in fresh if finished <= until]
    total = (stored.get("totalExecutions") or 0) + len(counted)
    failed = (stored.get("failedExecutions") or 0) + sum(phase == Phase.FAILED for _, phase in counted)
    latest = max((finished for finished, _ in counted), default=since)
    not_counted = uncounted - len(finishes) + len(fresh) - len(counted)
    status = {
        "triggers": max(total + not_counted, stored.get("triggers") or 0),
        "totalExecutions": total,
        "failedExecutions": failed,
        "lastExecutionTime": format_instant(latest) if latest else None,
    }
    return ExecutionCount(status, len(counted), more_to_come=len(counted) < len(fresh))


def ended_in(step_run: Object) -> list[str]:
    """For the index ``ENDED_IN``. Without a readable time it has not ended."""
    reference = (step_run.get("spec") or {}).get("engramRef")
    if not reference:  # a script step has none
        return []
    text = (step_run.get("status") or {}).get("finishedAt")
    span = text[:_DIGITS] if isinstance(text, str) and len(text) == _SECONDS and text.endswith("Z") else ""
    return [_place(engram_key(reference, step_run["metadata"]["namespace"]), span)]


def _place(engram: str, span: str) -> str:
    return f"{engram} {span}"


def _surely_finished_by(step_run: Object, instant: str) -> bool:
    """Compares texts only: nearly all of ten thousand StepRuns were counted long ago. ``instant`` has whole seconds."""
    text = (step_run.get("status") or {}).get("finishedAt")
    return isinstance(text, str) and len(text) == len(instant) and text.endswith("Z") and text <= instant


def _finished_at(step_run: Object) -> datetime | None:
    """When it finished, to the second; None until the operator has recorded its result."""
    status = step_run.get("status") or {}
    finished = parse_instant_or_none(status.get("finishedAt")) if is_final(status) else None
    return finished.replace(microsecond=0) if finished else None


def _of_story(change: Change, caches: Caches) -> Iterator[Key]:
    """The Engrams that the Story's steps refer to."""
    del caches
    for story in versions(change):
        for step in step_references(story):
            yield referred_key(step["ref"], story["metadata"]["namespace"])


def _of_template(change: Change, caches: Caches) -> Iterator[Key]:
    """The Engrams that refer to the template."""
    for template in versions(change):
        yield from starmap(Key, caches.informer(ENGRAM).keys_by_index(TEMPLATE_NAME, template["metadata"]["name"]))


def _of_step_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The Engram that the StepRun executes."""
    del caches
    for step_run in versions(change):
        if reference := step_run["spec"].get("engramRef"):  # a script step has none
            yield referred_key(reference, step_run["metadata"]["namespace"])


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return EngramReconciler(dependencies.client, dependencies.world, dependencies.events, dependencies.clock).reconcile


CONTROLLER: Final = ControllerRegistration(
    "engram",
    ENGRAM,
    _build,
    options=lambda settings: settings.engram_controller,
    watches=(
        Watch(ENGRAM, own_keys, when=spec_changed),
        Watch(STORY, _of_story, when=spec_changed),
        Watch(ENGRAM_TEMPLATE, _of_template, when=spec_changed),
        Watch(STEP_RUN, _of_step_run, when=phase_changed, delay=COUNT_DELAY),
    ),
    informers=(WatchedKind(STEP_RUN, {ENDED_IN: ended_in}),),
    permissions=(
        Permission(ENGRAM, ("patch",), STATUS_WHY, subresource="status"),
        Permission(ENGRAM_TEMPLATE, ("get",), FRESH),
    ),
)
