"""Logs the ends of runs, steps and attempts with the ids of their trace.

It follows the informers: an SDK records the end of most steps, and another leader may have begun a run. The log has
them at level debug, and failures at level info: metrics count the others, traces show them, and a line for each of
millions of steps would hide the rest. Source: operator contract 8.1, 8.2 and 10.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from core.api.objects import Object, controller_of, has_ended, step_path
from core.api.phases import Phase
from core.engine.step.record import is_final, retries_of
from core.kube.informer import Change
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.telemetry.logs import get_logger
from core.telemetry.tracing.run_trace import TraceRules, run_trace, untraced
from reconcilers.adapters.world import World

_log = get_logger("controller.storyrun")


class RunLog:
    """Handlers for the informers of StoryRuns and StepRuns."""

    def __init__(
        self,
        world: World,
        rules: Callable[[], TraceRules] = untraced,
        ownership: Ownership = WHOLE_CLUSTER,
    ) -> None:
        self._world = world
        self._rules = rules
        self._ownership = ownership

    def connect(self) -> None:
        self._world.step_runs.add_handler(self.step_run_changed)
        self._world.story_runs.add_handler(self.story_run_changed)

    def story_run_changed(self, change: Change) -> None:
        run = change.new
        if run is None or change.old is None or not has_ended(run) or has_ended(change.old):
            return
        metadata, status = run["metadata"], run["status"]
        if not self._ownership.owns((metadata["namespace"], metadata["name"])):
            return
        story = str(((run.get("spec") or {}).get("storyRef") or {}).get("name") or "")
        self._tell("a run ended", status, run, "", {"story": story})

    def step_run_changed(self, change: Change) -> None:
        step_run = change.new
        if step_run is None or change.old is None:
            return
        old, new = change.old.get("status") or {}, step_run.get("status") or {}
        ended = is_final(new) and not is_final(old)
        failed = retries_of(new) == retries_of(old) + 1
        run = self._run_of(step_run) if ended or failed else None
        if run is None:
            return
        path, attempt = step_path(step_run), retries_of(old) + 1
        if failed:
            self._tell("an attempt failed; a retry follows", new, run, path, {"attempt": attempt})
        if ended:
            self._tell("a step ended", new, run, path, {"attempt": retries_of(new) + 1})

    def trace_of(self, run: str, path: str) -> Mapping[str, str]:
        """The ids for records with ``run`` (``namespace/name``) and ``step``; none of a run that is gone or damaged."""
        namespace, _, name = run.partition("/")
        known = self._world.story_runs.get(namespace, name)
        try:
            return trace_fields(known, path, self._rules()) if known is not None else {}
        except (AttributeError, KeyError, TypeError, ValueError):  # a damaged object must not cost the record
            return {}

    def _run_of(self, step_run: Object) -> Object | None:
        """The run of the step, if this process works for it."""
        owner, namespace = controller_of(step_run) or {}, step_run["metadata"]["namespace"]
        if not self._ownership.owns((namespace, str(owner.get("name")))):
            return None
        run = self._world.story_runs.get(namespace, str(owner.get("name")))
        return run if run is not None and run["metadata"]["uid"] == owner.get("uid") else None

    def _tell(
        self, message: str, status: Mapping[str, Any], run: Object, path: str, fields: Mapping[str, str | int]
    ) -> None:
        failed = status.get("phase") in (Phase.FAILED, Phase.TIMEOUT, Phase.ABORTED)
        level = logging.INFO if failed else logging.DEBUG
        if not _log.is_enabled_for(level):
            return
        metadata = run["metadata"]
        record: dict[str, Any] = {"run": f"{metadata['namespace']}/{metadata['name']}"}
        if path:
            record["step"] = path
        record |= {**fields, "phase": status.get("phase")}
        _log.write(level, message, record | trace_fields(run, path, self._rules()))


def trace_fields(run: Object, path: str, rules: TraceRules) -> dict[str, str]:
    """``trace_id`` and ``span_id`` of the run, or of its step with that path; empty while runs are not traced."""
    if not rules.records:
        return {}
    trace = run_trace(run, rules)
    return {"trace_id": trace.trace_id, "span_id": trace.step_id(path) if path else trace.root_id}
