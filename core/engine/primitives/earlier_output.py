"""Outputs of an earlier run, for a run that was submitted to reuse them. Its Story need not declare a cache.

A step takes the output of the same step of the earlier run if that has succeeded, and if the executions are equal
(``core.workloads.execution``). So that no effect is left out, some steps always execute: ``may_be_reused`` and
``why_not_reusable`` say which. No run fails or waits because of this. Source: StepRun contract 20.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import trio

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import NamespacedName, Object, step_path
from core.api.unreadable import why_unreadable
from core.engine.calls import patiently
from core.engine.context.step_context import StepContext
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError
from core.engine.ports import AttemptOrder, Binding, EventType
from core.engine.primitives.output_copies import OutputCopies
from core.engine.primitives.success import why_not_successful
from core.engine.step import record
from core.engine.step.manifest import step_run_name
from core.workloads.output_cache import CacheRules

PATIENCE_SECONDS: Final = 5.0
"""For the stored data of one output."""
_TRACES: Final = ("effects", "signals", "signalEvents")
"""Fields of the status of a StepRun that show that it did more than to return an output."""


@dataclass(frozen=True, slots=True)
class ReusedOutput:
    """The output of the equal step."""

    output: Any
    source: Mapping[str, Any]
    """``status.cachedFrom``: the execution whose output it is, perhaps of a run before the earlier one."""


def reuses_from(run: Object) -> str:
    """Name of the run whose outputs ``run`` may take; empty: none. A run that was asked to run again takes none."""
    annotations = run["metadata"].get("annotations") or {}
    name = str(annotations.get(keys.ANNOTATION_CACHE_REUSE) or "").strip()
    return "" if record.has_run_again(run) or ignores_entries(run) else name


def ignores_entries(run: Object) -> bool:
    """Whether the run was submitted to execute everything; its outputs are still cached."""
    annotations = run["metadata"].get("annotations") or {}
    return str(annotations.get(keys.ANNOTATION_CACHE_LOOKUP) or "").strip().lower() == "false"


def cache_policy(step_run: Object, binding: Binding) -> Mapping[str, Any] | None:
    """The ``cache`` block that counts for a StepRun."""
    overrides = (step_run["spec"].get("executionOverrides") or {}).get("cache")
    return overrides if isinstance(overrides, Mapping) else binding.cache


def may_be_reused(declared: Mapping[str, Any], policy: Mapping[str, Any] | None) -> bool:
    """Whether the step and its cache block allow it: no side effects are declared, and entries may be read."""
    rules = CacheRules.of(policy)
    return declared.get("sideEffects") is not True and (policy is None or (rules is not None and rules.reads))


def why_not_reusable(step_run: Object, step: str, key: str, ttl_seconds: int, now: datetime) -> str | None:
    """Why the output of a StepRun of an earlier run cannot be taken; None: it can."""
    status = step_run.get("status") or {}
    if why_unreadable(step_run):
        return "it cannot be read"
    if step_path(step_run) != step or not record.claims_success(step_run):
        return "it is another step, or has not succeeded"
    if record.execution_key_of(step_run) != key:
        return "its inputs, its Engram or its template differ"
    if not isinstance(status.get("output"), Mapping) or not status["output"]:
        return "it has no output"
    if any(status.get(field) for field in _TRACES):
        return "it has performed effects or sent signals"
    made_at = _made_at(status)
    if ttl_seconds > 0 and (made_at is None or now >= made_at + timedelta(seconds=ttl_seconds)):
        return "it is older than the cache of the step allows"
    return None


class EarlierOutputs:
    """The outputs of the earlier run, as one step uses them."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._copies = OutputCopies(context)

    async def look_up(self, order: AttemptOrder, binding: Binding) -> ReusedOutput | None:
        """The output of the equal step of the earlier run; None: execute."""
        context, name = self._context, reuses_from(self._context.run)
        policy = cache_policy(order.step_run, binding)
        is_main = context.step.parts[0] in context.run_context.plan.main.graph.position
        if not name or not order.execution_key or not is_main or not may_be_reused(context.step.declared, policy):
            return None
        found = await self._equal(name, order.execution_key, CacheRules.of(policy))
        if found is None:
            return None
        try:
            with trio.move_on_after(PATIENCE_SECONDS):
                return await self._taken(found, order, binding)
            self._report(f"of run {name!r} was not reused: the store did not answer in time")
        except (StorageUnavailableError, NoStoreError, RejectedError) as error:
            self._report(f"of run {name!r} was not reused: {error}")
        return None

    async def _equal(self, name: str, key: str, rules: CacheRules | None) -> Object | None:
        """The StepRun of the earlier run whose output can be taken."""
        context, engine = self._context, self._context.engine
        earlier = await patiently(engine.runs.read_run, NamespacedName(context.namespace, name), pace=context.pace())
        if earlier is None or (earlier.get("status") or {}).get("childrenCleanedAt"):
            gone = "does not exist" if earlier is None else "has no StepRuns any more"
            context.emit(EventType.WARNING, "EarlierRunGone", f"all steps execute: run {name!r} {gone}")
            return None
        found = await engine.step_runs.read_step_run(earlier, step_run_name(name, context.step.name))
        ttl_seconds = rules.ttl_seconds if rules is not None else 0
        if found is None or why_not_reusable(found, context.step.name, key, ttl_seconds, context.now()) is not None:
            return None
        return found

    async def _taken(self, found: Object, order: AttemptOrder, binding: Binding) -> ReusedOutput | None:
        """A copy of the output, if the Story and the template accept it as they are now."""
        step_run, whole = order.step_run, await self._copies.whole(found["status"]["output"])
        if await why_not_successful(self._context, binding, record.with_output(step_run, whole)) is not None:
            return None
        output = await self._copies.for_step_run(whole, step_run["metadata"]["name"], binding)
        return ReusedOutput(output, _source(found, order.execution_key))

    def _report(self, text: str) -> None:
        text = f"the output of step {self._context.step.name!r} {text}"
        self._context.emit(EventType.WARNING, "OutputCacheUnavailable", text)


def _made_at(status: Mapping[str, Any]) -> datetime | None:
    source = status.get("cachedFrom") if status.get("cached") else None
    return parse_instant_or_none((source or {}).get("storedAt") or status.get("finishedAt"))


def _source(found: Object, key: str) -> dict[str, Any]:
    status, metadata = found["status"], found["metadata"]
    known = (status.get("cachedFrom") or {}) if status.get("cached") else {}
    source = {
        "key": key,
        "storedAt": known.get("storedAt") or status.get("finishedAt"),
        "storyRun": known.get("storyRun") or found["spec"]["storyRunRef"]["name"],
        "stepRun": known.get("stepRun") or metadata["name"],
    }
    return {name: value for name, value in source.items() if value}
