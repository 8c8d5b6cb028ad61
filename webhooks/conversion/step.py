"""One step between the versions: ``type`` with an untyped ``with`` here, one typed field for each primitive there.

Each direction returns the step and the data that the other version cannot express (``kept``), and takes the data that
was kept on the way here. For every step, there and back gives the same step. Keys of the kept data:

- ``fields``: fields of the step that the other version does not know or does not use;
- ``unknown``: fields of a branch that no step of v1beta1 has;
- ``odd``: those that a branch of v1beta1 had nevertheless, because no API server has read it, and those that are null;
- ``whole``: a ``with`` that is empty or not an object; ``hidden``: parts of it that the typed field cannot hold;
- ``with``: a ``with`` next to a primitive; ``asIs``: the typed field holds invalid values and shows them unchanged;
- ``primitive``: the primitive that this data belongs to; ``branches``: the same for the steps inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.story.choices import primitive_of
from core.story.kinds import SETTINGS
from webhooks.conversion import kept as keeping
from webhooks.conversion.kept import Entries, Entry, fields_of
from webhooks.conversion.settings import STEP, merged, split

Step = dict[str, Any]
Converted = tuple[Step, Entry]

_MEANT: Final = frozenset({"type", "with", *SETTINGS})
"""The keys that determine the kind of a step, in either version."""
_BRANCHES: Final = 1
"""The level of steps that only v1beta1 has a schema for: above it both versions have one, below it neither has."""


def to_v1beta1(step: ReadOnlyObject, before: Entry, level: int = 0) -> Converted:
    """A v1alpha1 step in v1beta1.

    Args:
        before: the data that was kept when the step came from v1beta1.
        level: how many steps it is inside.
    """
    common = _common(step)
    unknown: Entry = {}
    if level == _BRANCHES:
        common, unknown = _of_branch(common, fields_of(before.get("odd")))
    primitive = _known(step.get("type"))
    odd = {key: step[key] for key in SETTINGS if key in step}
    if primitive is None:
        if "type" in step:
            odd["type"] = step["type"]
        shown: Step = {**common, **({"with": step["with"]} if "with" in step else {})}
        kept: Entry = {}
    else:
        field, kept = _typed(primitive, step, before, level)
        shown = {**common, primitive: field}
        if before.get("primitive") == primitive and "with" in before:
            shown["with"] = before["with"]
    others = {key: value for key, value in fields_of(before.get("fields")).items() if key in _MEANT and key != "with"}
    combined = {**others, **shown}
    if others and primitive_of(combined) == primitive:
        shown = combined
    return shown, {**kept, **({"fields": odd} if odd else {}), **({"unknown": unknown} if unknown else {})}


def to_v1alpha1(step: ReadOnlyObject, before: Entry, level: int = 0) -> Converted:
    """A v1beta1 step in v1alpha1.

    Args:
        before: the data that was kept when the step came from v1alpha1.
        level: how many steps it is inside.
    """
    common = _common(step)
    kept: Entry = {}
    if level == _BRANCHES:
        if odd_fields := split(common, STEP)[1]:
            kept["odd"] = odd_fields
        common = merged(common, _common(fields_of(before.get("unknown"))), STEP)
    primitive = primitive_of(step)
    odd = {key: step[key] for key in ("type", *SETTINGS) if key in step and key != primitive}
    if primitive is None:
        shown: Step = {**common, **({"with": step["with"]} if "with" in step else {})}
    else:
        shown, of_field = _untyped(primitive, step[primitive], common, before, level)
        kept |= of_field
        if "with" in step:
            kept["with"] = step["with"]
            kept["primitive"] = primitive
    for key, value in fields_of(before.get("fields")).items():
        if key in SETTINGS or (key == "type" and primitive is None and _known(value) is None):
            shown[key] = value
    return shown, {**kept, **({"fields": odd} if odd else {})}


def of_list(
    steps: list[Any], before: Any, convert: Callable[[ReadOnlyObject, Entry], Converted]
) -> tuple[list[Any], list[Entry]]:
    """All steps of a list, converted, and the entries with kept data; an item that is not an object stays unchanged."""
    entries = Entries(before, steps)
    converted, kept = [], []
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            converted.append(step)
            continue
        there, rest = convert(step, entries.at(index))
        converted.append(there)
        if rest:
            kept.append(keeping.entry_of(index, step, rest))
    return converted, kept


def _typed(primitive: str, step: ReadOnlyObject, before: Entry, level: int) -> Converted:
    """The typed field for the ``with`` of a v1alpha1 step."""
    given = step.get("with")
    if not isinstance(given, dict) or not given:
        return {}, {"primitive": primitive, "whole": given} if "with" in step else {}
    as_is = before.get("asIs") is True and before.get("primitive") == primitive
    field, hidden = (dict(given), {}) if as_is else split(given, SETTINGS[primitive])
    kept: Entry = {"primitive": primitive, "hidden": hidden} if hidden else {}
    if primitive == "parallel" and isinstance(field.get("steps"), list):
        field["steps"], branches = of_list(field["steps"], before.get("branches"), partial(to_v1beta1, level=level + 1))
        if branches:
            kept["branches"] = branches
    return field, kept


def _untyped(primitive: str, field: ReadOnlyObject, common: Step, before: Entry, level: int) -> Converted:
    """The step with ``type`` and ``with`` for the typed field of a v1beta1 step."""
    kept: Entry = {}
    _, odd = split(field, SETTINGS[primitive])
    settings = dict(field)
    if primitive == "parallel" and isinstance(settings.get("steps"), list):
        settings["steps"], branches = of_list(
            settings["steps"], before.get("branches"), partial(to_v1alpha1, level=level + 1)
        )
        if branches:
            kept["branches"] = branches
    if odd:
        kept |= {"primitive": primitive, "asIs": True}
    elif before.get("primitive") == primitive:
        settings = merged(settings, fields_of(before.get("hidden")), SETTINGS[primitive])
    shown: Step = {**common, "type": primitive}
    if settings:
        shown["with"] = settings
    elif before.get("primitive") == primitive and "whole" in before and not fields_of(before["whole"]):
        shown["with"] = before["whole"]
    return shown, kept


def _of_branch(fields: ReadOnlyObject, odd: ReadOnlyObject) -> tuple[Step, Entry]:
    """The fields of a branch that v1beta1 shows, and the others. ``odd``: what it had although no schema allows it."""
    shown, unknown = split(fields, STEP)
    for key in [key for key, value in unknown.items() if key in odd and odd[key] == value]:
        shown[key] = fields[key]
        del unknown[key]
    return shown, unknown


def _common(step: ReadOnlyObject) -> Step:
    return {key: value for key, value in step.items() if key not in _MEANT}


def _known(type_: Any) -> str | None:
    return type_ if isinstance(type_, str) and type_ in SETTINGS else None
