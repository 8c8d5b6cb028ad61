"""The kinds of steps: their settings, and which of them a stream can have.

The bounds of the settings are those of ``core.api.v1beta1.story`` (a test compares them), without the cost of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from core.api.loops import MAX_BRANCHES, MAX_ITERATIONS


class StepKind(StrEnum):
    """What a step does; all values but ``engram`` and ``unknown`` are those of ``type``."""

    ENGRAM = "engram"
    CONDITION = "condition"
    SLEEP = "sleep"
    STOP = "stop"
    PARALLEL = "parallel"
    EXECUTE_STORY = "executeStory"
    WAIT = "wait"
    GATE = "gate"
    UNKNOWN = "unknown"
    """The step has neither ``ref`` nor a known ``type``."""


PER_PACKET: Final = ("condition", "sleep", "stop", "parallel", "executeStory")
"""The primitives that the hub can carry out for each packet of a stream."""
NOT_IN_STREAMS: Final = ("wait", "gate")

Fits = Callable[[Any], bool]
Fields = Mapping[str, "Fits | Fields"]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_some_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_choice(value: Any) -> bool:
    return isinstance(value, str) and value in ("fail", "skip")


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_branches(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_BRANCHES and all(map(_is_object, value))


def is_anything(value: Any) -> bool:
    return value is not None


def is_count(value: Any) -> bool:
    """Whether ``maxConcurrency`` may have this value."""
    return _is_whole(value) and 1 <= value < 1 << 31


def are_iterations(value: Any) -> bool:
    """Whether ``maxIterations`` may have this value."""
    return _is_whole(value) and 1 <= value <= MAX_ITERATIONS


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_WAITING: Final[Fields] = {"timeout": _is_text, "pollInterval": _is_text, "onTimeout": _is_choice}

SETTINGS: Final[Mapping[str, Fields]] = {
    "condition": {},
    "parallel": {"steps": _are_branches, "forEach": is_anything, "maxConcurrency": is_count},
    "sleep": {"duration": _is_text},
    "stop": {"phase": _is_text, "message": _is_text},
    "wait": {"until": _is_some_text, **_WAITING},
    "executeStory": {
        "storyRef": {"name": _is_some_text, "namespace": _is_text, "version": _is_text},
        "with": _is_object,
        "waitForCompletion": _is_flag,
        "until": _is_some_text,
        "maxIterations": are_iterations,
    },
    "gate": _WAITING,
}
"""The settings of each primitive: in ``with`` in v1alpha1, in the field of its name in v1beta1. If a step there has
several primitives, the first one is used; API servers refuse such steps.
"""
