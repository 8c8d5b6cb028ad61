"""Logs the outputs of steps and runs: the keys and sizes of an output, never its data.

Outputs belong to tenants and may be confidential, while administrators of the cluster read the log. Off unless
``debug.enable-step-output-logging`` is true. Source: operator contract 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from core.api.objects import Object, controller_of, step_path
from core.api.phases import TERMINAL_PHASES
from core.engine.step.record import retries_of
from core.kube.informer import Change
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.telemetry.logs import TraceOf, get_logger, log_traces, no_trace
from reconcilers.adapters.world import World

MAX_KEYS: Final = 32
"""The largest number of keys that a record names."""
MAX_KEY_CHARACTERS: Final = 64

_log = get_logger("controller.storyrun")


class OutputLog:
    """Handlers for the informers of StepRuns and StoryRuns; each end with an output is one record at level info."""

    def __init__(
        self, is_on: Callable[[], bool], ownership: Ownership = WHOLE_CLUSTER, trace_of: TraceOf = no_trace
    ) -> None:
        self._is_on = is_on
        self._ownership = ownership
        self._trace_of = trace_of

    def connect(self, world: World) -> None:
        world.step_runs.add_handler(self.step_run_changed)
        world.story_runs.add_handler(self.story_run_changed)

    def step_run_changed(self, change: Change) -> None:
        if self._is_on() and (step_run := _just_ended(change)) is not None:
            owner, attempt = controller_of(step_run) or {}, retries_of(step_run["status"]) + 1
            path = step_path(step_run)
            self._write("a step ended with an output", step_run, owner.get("name", ""), step=path, attempt=attempt)

    def story_run_changed(self, change: Change) -> None:
        if self._is_on() and (run := _just_ended(change)) is not None:
            self._write("a run ended with an output", run, run["metadata"]["name"])

    def _write(self, message: str, obj: Object, run: str, **fields: str | int) -> None:
        if self._ownership.owns((obj["metadata"]["namespace"], run)):
            with log_traces(self._trace_of):
                _write(message, obj, run, **fields)


def _just_ended(change: Change) -> Object | None:
    """The object in the version in which it ended."""
    if change.new is None or not _is_terminal(change.new) or (change.old is not None and _is_terminal(change.old)):
        return None
    return change.new


def _is_terminal(obj: Object) -> bool:
    phase = (obj.get("status") or {}).get("phase")
    return isinstance(phase, str) and phase in TERMINAL_PHASES


def _write(message: str, obj: Object, run: str, **fields: str | int) -> None:
    status = obj["status"]
    output = status.get("output")
    if output is None:
        return
    _log.info(
        message,
        run=f"{obj['metadata']['namespace']}/{run}",
        **fields,
        phase=status["phase"],
        bytes=_size(output),
        keys=_keys(output),
    )


def _keys(output: Any) -> list[str]:
    """``name (12 bytes)`` for each key of a mapping, and the number of omitted keys; nothing for other outputs."""
    if not isinstance(output, Mapping):
        return []
    named = [f"{key[:MAX_KEY_CHARACTERS]} ({_size(value)} bytes)" for key, value in list(output.items())[:MAX_KEYS]]
    left_out = len(output) - len(named)
    return [*named, f"and {left_out} more"] if left_out else named


def _size(value: Any) -> int:
    return len(orjson.dumps(value))
