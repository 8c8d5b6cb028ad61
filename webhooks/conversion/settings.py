"""Which fields a step has in v1beta1, and which values of a ``with`` the typed field of a primitive there can hold.

The bounds are those of ``core.api.v1beta1.story`` (a test compares them), without the cost of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from core.api.loops import MAX_ITERATIONS
from core.api.objects import ReadOnlyObject

MAX_BRANCHES: Final = 1000
"""Branches of one ``parallel`` step in v1beta1; v1alpha1 only bounds their size."""

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


def _is_anything(value: Any) -> bool:
    return value is not None


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 1 <= value < 1 << 31


def _are_iterations(value: Any) -> bool:
    return _is_whole(value) and 1 <= value <= MAX_ITERATIONS


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_WAITING: Final[Fields] = {"timeout": _is_text, "pollInterval": _is_text, "onTimeout": _is_choice}

SETTINGS: Final[Mapping[str, Fields]] = {
    "condition": {},
    "parallel": {"steps": _are_branches, "forEach": _is_anything, "maxConcurrency": _is_count},
    "sleep": {"duration": _is_text},
    "stop": {"phase": _is_text, "message": _is_text},
    "wait": {"until": _is_some_text, **_WAITING},
    "executeStory": {
        "storyRef": {"name": _is_some_text, "namespace": _is_text, "version": _is_text},
        "with": _is_object,
        "waitForCompletion": _is_flag,
        "until": _is_some_text,
        "maxIterations": _are_iterations,
    },
    "gate": _WAITING,
}
"""Fields by primitive. If a step has several primitives, the first one is used; API servers refuse such steps."""

STEP: Final[Fields] = {
    **dict.fromkeys(("name", "id", "run", "image", "shell", "secrets", "execution", "runtime"), _is_anything),
    **dict.fromkeys(("if", "needs", "requires", "allowFailure", "sideEffects"), _is_anything),
    **dict.fromkeys(("idempotencyKeyTemplate", "transport"), _is_anything),
    "ref": dict.fromkeys(("name", "namespace", "uid", "version"), _is_anything),
    "postExecution": dict.fromkeys(("condition", "failureMessage"), _is_anything),
}
"""Fields of a step beside ``with`` and the primitives. A branch may have others in v1alpha1, where a ``with`` has no
schema; in v1beta1, an API server removes them."""


def split(settings: ReadOnlyObject, fields: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of ``settings`` that the typed field can show, and the part that it cannot."""
    shown: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    for key, value in settings.items():
        expected = fields.get(key)
        if isinstance(expected, Mapping) and isinstance(value, dict):
            shown[key], below = split(value, expected)
            if below:
                hidden[key] = below
        elif callable(expected) and expected(value):
            shown[key] = value
        else:
            hidden[key] = value
    return shown, hidden


def merged(shown: ReadOnlyObject, hidden: ReadOnlyObject, fields: Fields) -> dict[str, Any]:
    """``shown``, which has precedence, plus hidden values. A hidden value that could be shown was removed by a user."""
    settings = dict(shown)
    for key, value in hidden.items():
        expected = fields.get(key)
        if isinstance(expected, Mapping) and isinstance(value, dict):
            if isinstance(shown.get(key), dict):
                settings[key] = merged(shown[key], value, expected)
        elif key not in shown and not (callable(expected) and expected(value)):
            settings[key] = value
    return settings
