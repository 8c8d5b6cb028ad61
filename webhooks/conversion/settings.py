"""Which fields a step has in v1beta1, and which values of a ``with`` the typed field of a primitive there can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.story.kinds import Fields, is_anything

STEP: Final[Fields] = {
    **dict.fromkeys(("name", "id", "run", "image", "shell", "secrets", "execution", "runtime"), is_anything),
    **dict.fromkeys(("if", "needs", "requires", "allowFailure", "sideEffects"), is_anything),
    **dict.fromkeys(("idempotencyKeyTemplate", "transport"), is_anything),
    "ref": dict.fromkeys(("name", "namespace", "uid", "version"), is_anything),
    "postExecution": dict.fromkeys(("condition", "failureMessage"), is_anything),
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
