"""A Story between its versions, without loss in either direction.

Only ``apiVersion``, the steps and one annotation change; everything else is handed on as it is. A version's own words
always win over what was kept for it: what was edited stays edited. Pure, and total over JSON objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.resource import STORY
from core.expressions.fields import STEP_LISTS
from webhooks.conversion import kept
from webhooks.conversion.kept import OF, Note
from webhooks.conversion.step import of_list, to_v1alpha1, to_v1beta1

Object = Mapping[str, Any]

V1ALPHA1: Final = STORY.api_version
V1BETA1: Final = f"{STORY.group}/v1beta1"
API_VERSIONS: Final = (V1ALPHA1, V1BETA1)

MAX_DEPTH: Final = 200
"""Levels of objects and lists in the steps of a Story that is converted; admission lets far fewer pass."""

_TOLD_CHARACTERS: Final = 100


class ConversionError(ValueError):
    """An object cannot be converted; the message says why."""


def converted(document: Any, api_version: str) -> dict[str, Any]:
    """``document``, a Story in any version, in ``api_version``; the very same object when it is there already.

    Steps nested deeper than ``MAX_DEPTH`` are handed on as they are: the schema of the other version does not know
    them, so such a Story can be read, listed and deleted in it, and not be written.

    Raises:
        ConversionError: it is no Story, or one of the versions is none of ours.
    """
    if not isinstance(document, dict):
        raise ConversionError("it is no object")
    kind, source = document.get("kind"), document.get("apiVersion")
    if kind != STORY.kind:
        raise ConversionError(f"its kind is {_told(kind)}, only {STORY.kind} is converted")
    for version in (source, api_version):
        if version not in API_VERSIONS:
            raise ConversionError(f"there is no {STORY.kind} of {_told(version)}, only of {' and '.join(API_VERSIONS)}")
    if source == api_version:
        return document
    found, before = kept.taken_off(document, of=_short(api_version))
    note: Note = {OF: _short(str(source))}
    found["apiVersion"] = api_version
    spec = found.get("spec")
    if isinstance(spec, dict) and not _is_too_deep(spec):
        found["spec"] = _spec(spec, before, note, to_v1beta1 if api_version == V1BETA1 else to_v1alpha1)
    return kept.put_on(found, note)


def _spec(spec: Object, before: Note, note: Note, convert: Any) -> dict[str, Any]:
    """The spec there; what is kept of its steps goes into ``note``."""
    there = dict(spec)
    for list_name in STEP_LISTS:
        steps = spec.get(list_name)
        if isinstance(steps, list):
            there[list_name], entries = of_list(steps, before.get(list_name), convert)
            if entries:
                note[list_name] = entries
    return there


def _told(word: Any) -> str:
    return repr(word[:_TOLD_CHARACTERS]) if isinstance(word, str) else "no text"


def _short(api_version: str) -> str:
    return api_version.rpartition("/")[2]


def _is_too_deep(spec: Object) -> bool:
    """Breadth first, so that no nesting exhausts the stack."""
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
