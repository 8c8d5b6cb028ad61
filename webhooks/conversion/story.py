"""Converts a Story between its versions, without loss in either direction.

Only ``apiVersion``, the steps and one annotation change; everything else stays the same. Fields of the object always
have precedence over fields in the annotation, so an edit is never undone. Pure; accepts any JSON object.
"""

from __future__ import annotations

from typing import Any, Final

from core.api.objects import STEP_LISTS, ReadOnlyObject
from core.api.resource import STORY
from webhooks.conversion import kept
from webhooks.conversion.kept import OF, Note
from webhooks.conversion.step import of_list, to_v1alpha1, to_v1beta1

V1ALPHA1: Final = STORY.api_version
V1BETA1: Final = f"{STORY.group}/v1beta1"
API_VERSIONS: Final = (V1ALPHA1, V1BETA1)

MAX_DEPTH: Final = 200
"""Levels of objects and lists in the steps of a Story that is converted; admission allows far fewer."""

_TOLD_CHARACTERS: Final = 100


class ConversionError(ValueError):
    """An object cannot be converted; the message says why."""


def converted(document: Any, api_version: str) -> dict[str, Any]:
    """``document``, a Story in any version, converted to ``api_version``; the same object if it has that version.

    Steps nested deeper than ``MAX_DEPTH`` are passed on unchanged: the schema of the other version does not have them,
    so clients can read, list and delete such a Story in that version, but not write it.

    Raises:
        ConversionError: it is not a Story, or Story does not have one of the versions.
    """
    if not isinstance(document, dict):
        raise ConversionError("must be an object")
    kind, source = document.get("kind"), document.get("apiVersion")
    if kind != STORY.kind:
        raise ConversionError(f"its kind is {_quoted(kind)}; only {STORY.kind} can be converted")
    for version in (source, api_version):
        if version not in API_VERSIONS:
            raise ConversionError(
                f"{STORY.kind} has no version {_quoted(version)}; it has {' and '.join(API_VERSIONS)}"
            )
    if source == api_version:
        return document
    found, before = kept.taken_off(document, of=_short(api_version))
    note: Note = {OF: _short(str(source))}
    found["apiVersion"] = api_version
    spec = found.get("spec")
    if isinstance(spec, dict) and not _is_too_deep(spec):
        found["spec"] = _spec(spec, before, note, to_v1beta1 if api_version == V1BETA1 else to_v1alpha1)
    return kept.put_on(found, note)


def _spec(spec: ReadOnlyObject, before: Note, note: Note, convert: Any) -> dict[str, Any]:
    """The spec in the other version; kept data of its steps goes into ``note``."""
    there = dict(spec)
    for list_name in STEP_LISTS:
        steps = spec.get(list_name)
        if isinstance(steps, list):
            there[list_name], entries = of_list(steps, before.get(list_name), convert)
            if entries:
                note[list_name] = entries
    return there


def _quoted(word: Any) -> str:
    return repr(word[:_TOLD_CHARACTERS]) if isinstance(word, str) else "(not a string)"


def _short(api_version: str) -> str:
    return api_version.rpartition("/")[2]


def _is_too_deep(spec: ReadOnlyObject) -> bool:
    """Whether the steps are too deep; searched breadth first, so that deep nesting cannot exhaust the stack."""
    level = [spec.get(list_name) for list_name in STEP_LISTS]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [child for child in value.values() if isinstance(child, (dict, list))]
    return [child for child in value if isinstance(child, (dict, list))] if isinstance(value, list) else []
