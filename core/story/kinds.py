"""The kinds of steps, and all that is known about each: its settings, and what it means in a stream.

The bounds of the settings are those of ``core.api.v1beta1.story`` (a test compares them), without the cost of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

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


class InStream(StrEnum):
    """What becomes of a packet that comes to a primitive: it goes on at once, or later; it goes no further; or another
    one goes on instead.
    """

    FORWARD = "forward"
    DELAY = "delay"
    END = "end"
    ANSWER = "answer"


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


class Primitive(NamedTuple):
    """One kind of steps without a container."""

    settings: Fields
    """In ``with`` in v1alpha1, in the field of its name in v1beta1."""
    in_stream: InStream | None
    """None: no stream has such a step."""


PRIMITIVES: Final[Mapping[StepKind, Primitive]] = {
    StepKind.CONDITION: Primitive({}, InStream.FORWARD),
    StepKind.PARALLEL: Primitive(
        {"steps": _are_branches, "forEach": is_anything, "maxConcurrency": is_count}, InStream.FORWARD
    ),
    StepKind.SLEEP: Primitive({"duration": _is_text}, InStream.DELAY),
    StepKind.STOP: Primitive({"phase": _is_text, "message": _is_text}, InStream.END),
    StepKind.WAIT: Primitive({"until": _is_some_text, **_WAITING}, None),
    StepKind.EXECUTE_STORY: Primitive(
        {
            "storyRef": {"name": _is_some_text, "namespace": _is_text, "version": _is_text},
            "with": _is_object,
            "waitForCompletion": _is_flag,
            "until": _is_some_text,
            "maxIterations": are_iterations,
        },
        InStream.ANSWER,
    ),
    StepKind.GATE: Primitive(_WAITING, None),
}

SETTINGS: Final[Mapping[str, Fields]] = {kind.value: known.settings for kind, known in PRIMITIVES.items()}
"""The settings of each primitive. If a step of v1beta1 has several primitives, the first one here is used; API servers
refuse such steps.
"""
PER_PACKET: Final = tuple(kind for kind in StepKind if kind in PRIMITIVES and PRIMITIVES[kind].in_stream)
"""The primitives that the hub can carry out for each packet of a stream."""
NOT_IN_STREAMS: Final = tuple(kind for kind in PRIMITIVES if kind not in PER_PACKET)
