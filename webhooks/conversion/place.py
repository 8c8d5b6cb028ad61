"""Translates field paths of a stored Story to v1beta1, so that findings name the field that the author wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from core.api.objects import STEP_LISTS, ReadOnlyObject
from core.story.choices import choosing_steps, primitive_of
from core.story.kinds import SETTINGS
from webhooks.finding import Finding
from webhooks.validate.steps import REF_OR_TYPE

_WITH_INPUT: Final = ("ref", "run")
_PATH: Final = re.compile(rf"spec\.(?:{'|'.join(STEP_LISTS)})\[\d+\][^\s,;:()]*")
_WHAT: Final = re.compile(r"\.(type|with)(?=[.\[]|$)")


def in_v1beta1(path: str, story: ReadOnlyObject) -> str:
    """The path, in the v1beta1 Story ``story``, of the field that has ``path`` in the stored form."""
    innermost = None
    for step in choosing_steps(story):
        if path.startswith(step.stored_place):  # it ends with a bracket, and the innermost step comes last
            innermost = step
    if innermost is None:
        return path
    rest, primitive = path.removeprefix(innermost.stored_place), primitive_of(innermost.written)
    if primitive is not None and _WHAT.match(rest):
        rest = _WHAT.sub(f".{primitive}", rest, count=1)
    return innermost.place + rest


def in_v1beta1_words(text: str, story: ReadOnlyObject) -> str:
    """The text with all paths in it translated by ``in_v1beta1``."""
    return _PATH.sub(lambda found: in_v1beta1(found[0], story), text)


def choices(story: ReadOnlyObject) -> Iterator[Finding]:
    """Steps of a v1beta1 Story with no kind or several kinds, for checks without its schema, which refuses them."""
    for step, place in choosing_steps(story):
        given = [key for key in (*_WITH_INPUT, *SETTINGS) if step.get(key) is not None]
        if len(given) != 1:
            which = f"has {' and '.join(given)}" if given else f"has none of {', '.join((*_WITH_INPUT, *SETTINGS))}"
            yield REF_OR_TYPE.at(place, which, "give exactly one of them")
        elif step.get("with") is not None and given[0] not in _WITH_INPUT:
            yield REF_OR_TYPE.at(f"{place}.with", "is the input of an Engram or a script", f"move it into {given[0]}")
