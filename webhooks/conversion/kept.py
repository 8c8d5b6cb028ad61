"""Data that one version of a Story can express and the other cannot, kept in one annotation for the way back.

The note names the version that the data is from (``of``) and has one entry for each step with such data: its index, its
name, and the data. It is only read together with its own object; fields of the object have precedence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.api.keys import ANNOTATION_STORY_CONVERSION
from core.api.objects import ReadOnlyObject

Note = dict[str, Any]
Entry = dict[str, Any]

OF: Final = "of"
_METADATA, _ANNOTATIONS, _REPLACED = "metadata", "annotations", "replaced"


def taken_off(document: ReadOnlyObject, of: str) -> tuple[dict[str, Any], Note]:
    """The document without its note from version ``of``, and that note; an empty note if there is none."""
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(ANNOTATION_STORY_CONVERSION) if isinstance(annotations, dict) else None
    note = _read(text)
    if not isinstance(metadata, dict) or not isinstance(annotations, dict) or note.get(OF) != of:
        return dict(document), {}
    left = {key: value for key, value in annotations.items() if key != ANNOTATION_STORY_CONVERSION}
    for before in _value(note, _REPLACED):
        left[ANNOTATION_STORY_CONVERSION] = before
    changed = {**metadata, "annotations": left}
    if not left and _ANNOTATIONS in note:
        changed = _with_or_without(metadata, "annotations", _value(note, _ANNOTATIONS))
    if changed == {"annotations": {}} and _METADATA in note:
        return _with_or_without(document, "metadata", _value(note, _METADATA)), note
    return {**document, "metadata": changed}, note


def put_on(document: ReadOnlyObject, note: Note) -> dict[str, Any]:
    """The document with ``note`` on it; unchanged if there is nothing to keep.

    A note of the same version that the document already has does not belong to it. It is kept as data, so that it is
    not read as a note later.
    """
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    present = _value_of(annotations, ANNOTATION_STORY_CONVERSION)
    misleads = bool(present) and _read(present[0]).get(OF) == note[OF]
    if note.keys() == {OF} and not misleads:
        return dict(document)
    kept = {**note, **({_REPLACED: present} if present else {})}
    if not isinstance(metadata, dict):
        kept[_METADATA] = _value_of(document, "metadata")
        metadata = {}
    elif not isinstance(annotations, dict):
        kept[_ANNOTATIONS] = _value_of(metadata, "annotations")
    written = {**(annotations if isinstance(annotations, dict) else {}), ANNOTATION_STORY_CONVERSION: _text(kept)}
    return {**document, "metadata": {**metadata, "annotations": written}}


class Entries:
    """The kept data of the steps of one list, found by index and name.

    A step at another index is found by its name, if only one step has that name; a step with another name is another
    step.
    """

    def __init__(self, entries: Any, steps: Sequence[Any]) -> None:
        found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        self._names = [name_of(step) for step in steps]
        self._by_place = {entry["at"]: entry for entry in found if isinstance(entry.get("at"), int)}
        self._by_name = {entry["name"]: entry for entry in found if isinstance(entry.get("name"), str)}

    def at(self, index: int) -> Entry:
        """The kept data of the step at ``index``; an empty entry if there is none."""
        name = self._names[index]
        entry = self._by_place.get(index)
        if entry is not None and entry.get("name") == name:
            return entry
        if name is None or self._names.count(name) > 1:
            return {}
        return self._by_name.get(name, {})


def name_of(step: Any) -> str | None:
    name = step.get("name") if isinstance(step, Mapping) else None
    return name if isinstance(name, str) else None


def entry_of(index: int, step: Any, rest: Entry) -> Entry:
    """``rest`` of the step at ``index``, with the keys for finding it again."""
    name = name_of(step)
    return {"at": index, **({"name": name} if name is not None else {}), **rest}


def fields_of(value: Any) -> ReadOnlyObject:
    return value if isinstance(value, dict) else {}


def _read(text: Any) -> Note:
    """The note; empty if the text is not a note, because any client may write annotations."""
    try:
        note = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _text(note: Note) -> str:
    """The same text for the same note; JSON escapes in it also represent lone surrogates."""
    return json.dumps(note, sort_keys=True, separators=(",", ":"))


def _value_of(parent: Any, key: str) -> list[Any]:
    """A list with the value of ``key``; an empty list if there is none."""
    return [parent[key]] if isinstance(parent, dict) and key in parent else []


def _value(note: Note, key: str) -> list[Any]:
    value = note.get(key)
    return value[:1] if isinstance(value, list) else []


def _with_or_without(parent: ReadOnlyObject, key: str, value: list[Any]) -> dict[str, Any]:
    others = {name: child for name, child in parent.items() if name != key}
    return {**others, key: value[0]} if value else others
