"""How each recorded run ends, as its Story says, and how many containers that takes after the take-over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class End:
    phase: str
    steps: Mapping[str, str] = field(default_factory=dict)
    """Phase by step, as ``status.stepStates`` has them."""
    starts: Mapping[str, int] = field(default_factory=dict)
    """Containers by StepRun. A Job that was running has one: the Pod that the Job controller made for the lost one."""


_S: Final = "Succeeded"
_CHAIN: Final = {"a": _S, "b": _S}
_STOPPED: Final = {"a": "Canceled", "b": "Skipped"}
_FAILED: Final = {"a": "Failed", "b": "Skipped"}
_GATE: Final = {"a": _S, "approve": _S, "b": _S}
_FAN: Final = {"fan": _S, "fan/left": _S, "fan/right": _S, "after": _S}
_UNDO: Final = {"a": _S, "b": "Failed", "refund": _S, "tidy": _S}
_MIX: Final = {"a": _S, "nap": _S, "call": _S, "flaky": _S, "fan": _S, "fan/left": _S, "fan/right": _S, "end": _S}
_INNER: Final = {"one-call-one": 1, "one-call-two": 1}

ENDS: Final[Mapping[str, End]] = {
    "between-steps": End(_S, _CHAIN, {"one-b": 1}),
    "cancel-drains": End("Finished", _STOPPED, {"one-a": 1}),
    "cancel-unseen": End("Finished", _STOPPED, {"one-a": 1}),
    "canceled": End("Finished", {"a": "Running"}),
    "child-hangs": End(_S, {"call": _S, "after": _S}, {"one-after": 1}),
    "child-runs": End(_S, {"call": _S, "after": _S}, {"one-call-work": 1, "one-after": 1}),
    "compensating": End("Compensated", _UNDO, {"one-b": 1, "one-refund": 1, "one-tidy": 1}),
    "effect-done": End(_S, _CHAIN, {"one-a": 1, "one-b": 1}),
    "engram-missing": End(_S, _CHAIN, {"one-b": 1}),
    "exited-while-away": End(_S, _CHAIN, {"one-b": 1}),
    "failed": End("Failed", _FAILED, {"one-a": 1}),
    "failed-while-away": End("Failed", {**_FAILED, "tidy": _S}, {"one-a": 1, "one-tidy": 1}),
    "first-step-runs": End(_S, _CHAIN, {"one-a": 1, "one-b": 1}),
    "gate-approved": End(_S, _GATE, {"one-b": 1}),
    "gate-in-parallel-with-step": End(_S, {**_GATE, "c": "Skipped", "end": _S}, {"one-b": 1, "one-end": 1}),
    "gate-rejected": End("Failed", {"a": _S, "approve": "Failed", "b": "Skipped"}),
    "gate-waits": End(_S, _GATE, {"one-b": 1}),
    "just-created": End(_S, _CHAIN, {"one-a": 1, "one-b": 1}),
    "parallel-hangs": End(_S, _FAN, {"one-after": 1}),
    "parallel-runs": End(_S, _FAN, {"one-fan-right": 1, "one-after": 1}),
    "queued": End(_S, {"a": _S}, {"one-a": 1, "two-a": 1}),
    "random-02": End(_S, _MIX, {"one-flaky": 1, "one-end": 1}),
    "random-04": End(_S, _MIX, {**_INNER, "one-fan-left": 1, "one-fan-right": 1, "one-flaky": 1, "one-end": 1}),
    "random-07": End(_S, _MIX, {"one-flaky": 1, "one-call-two": 1, "one-end": 1}),
    "redrive-requested": End(_S, _CHAIN, {"one-a": 2, "one-b": 1}),
    "redriven-from-step": End(_S, {**_CHAIN, "c": _S}, {"one-b": 1, "one-c": 1}),
    "reported-while-away": End(_S, _CHAIN, {"one-b": 1}),
    "retry-backs-off": End(_S, _CHAIN, {"one-a": 1, "one-b": 1}),
    "retry-runs": End(_S, _CHAIN, {"one-a": 1, "one-b": 1}),
    "second-step-runs": End(_S, {**_CHAIN, "c": _S}, {"one-b": 1, "one-c": 1}),
    "sleeping": End(_S, {"a": _S, "nap": _S, "b": _S}, {"one-b": 1}),
    "step-timeout-runs": End(_S, _CHAIN, {"one-a": 2, "one-b": 1}),
    "stream-runs": End("Failed", {"ear": "Failed"}),
    "succeeded": End(_S, _CHAIN),
    "tidying": End(_S, {"a": _S, "refund": "Skipped", "tidy": _S}, {"one-tidy": 1}),
    "time-nearly-over": End("Timeout", {"a": "Timeout", "b": "Skipped"}, {"one-a": 1}),
    "timed-out": End("Timeout", {"a": "Running"}, {"one-a": 1}),
    "trigger-unanswered": End(_S, _CHAIN, {"a": 1, "b": 1}),
    "triggered": End(_S, _CHAIN, {"a": 1, "b": 1}),
    "waiting": End(_S, {"a": _S, "ready": "Skipped", "b": _S}, {"one-b": 1}),
}
"""By recording. Of runs that a request has started, StepRuns are named by their step only.

- ``compensating``, ``failed``, ``failed-while-away``: the Job of the failed step was allowed three more Pods, and the
  Job controller has started one before our operator comes.
- ``redrive-requested``: the same, and the first step of the second execution.
- ``random-…``: killed at random instants of one Story with all of that at once.
- ``step-timeout-runs``: the time of the first attempt is over, and the Story allows three more.
- ``stream-runs``: a realtime run, whose stream cannot be taken over.
- ``canceled``, ``timed-out``: had ended; the states of their steps stay as that operator left them.
"""

UNTOUCHED: Final = ("canceled", "failed", "succeeded", "timed-out")
"""Runs that had ended."""
