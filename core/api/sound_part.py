"""The part of a document that matches its schema, so that one wrong value does not hide what else is wrong.

A wrong value is removed together with what cannot be understood without it. Items of a list keep their positions: a
list with an item that cannot be replaced is removed as a whole. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from core.api import fieldpath
from core.api.kind import KindModel
from core.api.objects import STEP_LISTS, Object

_MOST_ROUNDS: Final = 8  # removing a value can make another one wrong
_ROOTS: Final = ("spec", "metadata")
_Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class SoundPart:
    """What is left of ``document``, and the paths of the fields that are missing in it."""

    document: Object
    removed: tuple[str, ...]


def sound_part(model: type[KindModel], document: Object) -> SoundPart | None:
    """The part of ``document``, a wire dict, that matches ``model``; None if hardly anything of it does."""
    part = copy.deepcopy(document)
    removed: dict[str, None] = {}
    for _ in range(_MOST_ROUNDS):
        try:
            model.model_validate(part)
        except ValidationError as error:
            places = [details["loc"] for details in error.errors(include_url=False, include_input=False)]
        else:
            return SoundPart(part, tuple(removed))
        for place in places:
            gone = _remove(part, place)
            if gone is None:
                return None
            removed[fieldpath.render(gone)] = None
    return None


def _remove(document: Any, place: _Location) -> _Location | None:
    """Remove the value at ``place``, or if that is impossible its nearest parent that can be; the place of what was
    removed, None if it is the whole document or its spec.
    """
    for length in range(len(place), 1, -1):
        where = place[:length]
        parent = _value_at(document, where[:-1])
        if _is_step(where) and isinstance(parent, list):
            parent[int(where[-1])] = _instead_of_step(parent[int(where[-1])], int(where[-1]))
            return place
        if isinstance(parent, dict) and isinstance(where[-1], str):
            if where[-1] in parent:
                del parent[where[-1]]
                return where
            if length == len(place):
                continue  # a required field is absent: its parent has to go
    return None


def _is_step(where: Sequence[int | str]) -> bool:
    return len(where) == 3 and where[0] == "spec" and where[1] in STEP_LISTS and isinstance(where[2], int)


def _instead_of_step(step: Any, index: int) -> Object:
    """A step that stands for one without a usable name or form."""
    kept = {key: value for key, value in step.items() if key != "name"} if isinstance(step, dict) else {}
    return {**(kept or {"type": "condition"}), "name": f"nameless-{index}"}


def _value_at(document: Any, place: _Location) -> Any:
    value = document
    for part in place:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value
