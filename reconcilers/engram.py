"""Engrams: does their template exist, and how much are they used.

Executions are counted from StepRuns without a write per StepRun: what finished after the stored ``lastExecutionTime``
is new. A restart within the same second may miss one; nothing is counted twice. ``Ready`` is set beside the reference's
``TemplateResolved``, so that ``kubectl wait --for=condition=Ready`` works. Source: operator contract 14.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from core.kube.client import KubeClient

from core.api.conditions import with_condition
from core.api.instant import format_instant, parse_instant_or_none
from core.api.phases import ConditionType, Phase
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE
from core.engine.errors import GoneError, StaleError, UnavailableError
from core.engine.ports import Clock, EventSink, EventType
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import ENGRAM_KEYS, World, find
from reconcilers.definition import Object, validated, write_status
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import Done, Outcome, Retry


class EngramReconciler:
    """One Engram at a time, by key."""

    def __init__(self, client: KubeClient, world: World, events: EventSink, clock: Clock) -> None:
        self._client = client
        self._world = world
        self._events = events
        self._clock = clock

    async def reconcile(self, key: Key) -> Outcome:
        engram = self._world.engrams.get(key.namespace, key.name)
        if engram is None or engram["metadata"].get("deletionTimestamp"):
            return Done()
        try:
            reason, errors = await self._template_finding(engram)
            status = self._status(engram, reason, errors, str(key))
            before = (engram.get("status") or {}).get("validationErrors")
            await write_status(self._client, self._world.engrams, ENGRAM, engram, status)
        except (StaleError, UnavailableError) as error:
            return Retry(error)
        except GoneError:
            return Done()
        if errors and before != errors:
            self._events.emit(engram, EventType.WARNING, reason, errors[0])
        return Done()

    async def _template_finding(self, engram: Object) -> tuple[str, list[str]]:
        name = ((engram["spec"].get("templateRef") or {}).get("name") or "").strip()
        if not name:
            return "TemplateRefInvalid", ["spec.templateRef.name: is empty; name an EngramTemplate"]
        with port_errors():
            template = await find(self._client, self._world.engram_templates, ENGRAM_TEMPLATE, "", name)
        if template is None:
            return "TemplateNotFound", [f"spec.templateRef: EngramTemplate {name!r} does not exist; apply it"]
        return "TemplateResolved", []

    def _status(self, engram: Object, reason: str, errors: list[str], key: str) -> dict[str, Any]:
        now = self._clock.now()
        status = validated(engram, errors, condition=ConditionType.TEMPLATE_RESOLVED, reason=reason, now=now)
        status["conditions"] = with_condition(
            status["conditions"],
            ConditionType.READY,
            not errors,
            reason=reason,
            message="; ".join(errors) or "the template resolves",
            generation=engram["metadata"].get("generation", 0),
            now=now,
        )
        status["usageCount"] = len(self._world.stories.by_index(ENGRAM_KEYS, key))
        return status | executions(engram.get("status") or {}, self._world.step_runs.by_index(ENGRAM_KEYS, key))


def executions(stored: Object, step_runs: list[Object]) -> dict[str, Any]:
    """The counters after the StepRuns that finished since the stored ``lastExecutionTime``."""
    since = parse_instant_or_none(stored.get("lastExecutionTime"))
    fresh = [step_run for step_run in step_runs if _finished_since(step_run, since)]
    total = (stored.get("totalExecutions") or 0) + len(fresh)
    failed = sum(step_run["status"]["phase"] == Phase.FAILED for step_run in fresh)
    live = sum(parse_instant_or_none((run.get("status") or {}).get("finishedAt")) is None for run in step_runs)
    latest = max((_finished_at(step_run) for step_run in fresh), default=since)
    return {
        "triggers": max(total + live, stored.get("triggers") or 0),
        "totalExecutions": total,
        "failedExecutions": (stored.get("failedExecutions") or 0) + failed,
        "lastExecutionTime": format_instant(latest) if latest else None,
    }


def _finished_since(step_run: Object, since: datetime | None) -> bool:
    status = step_run.get("status") or {}
    finished = parse_instant_or_none(status.get("finishedAt"))
    phase = status.get("phase")
    if finished is None or phase not in set(Phase) or not Phase(phase).terminal:
        return False
    return since is None or finished > since


def _finished_at(step_run: Object) -> datetime:
    finished = parse_instant_or_none(step_run["status"]["finishedAt"])
    assert finished is not None, "only finished StepRuns are asked"
    return finished
