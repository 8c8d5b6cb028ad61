"""Translates field paths of a stored Story to v1beta1, so that findings name the field that the author wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.objects import STEP_LISTS, ReadOnlyObject
from core.story.kinds import SETTINGS
from core.story.step import MAX_BRANCH_DEPTH
from webhooks.conversion.step import primitive_of
from webhooks.finding import Finding
from webhooks.validate.steps import REF_OR_TYPE

_WITH_INPUT: Final = ("ref", "run")
_STEP: Final = re.compile(rf"spec\.({'|'.join(STEP_LISTS)})\[(\d+)\]")
_PATH: Final = re.compile(rf"spec\.(?:{'|'.join(STEP_LISTS)})\[\d+\][^\s,;:()]*")
_BRANCH: Final = re.compile(r"\.with\.steps\[(\d+)\]")
_WHAT: Final = re.compile(r"\.(type|with)(?=[.\[]|$)")


def in_v1beta1(path: str, story: ReadOnlyObject) -> str:
    """The path, in the v1beta1 Story ``story``, of the field that has ``path`` in the stored form."""
    found = _STEP.match(path)
    if found is None:
        return path
    step = _item((story.get("spec") or {}).get(found[1]), int(found[2]))
    return found[0] + _in_step(path[found.end() :], step)


def in_v1beta1_words(text: str, story: ReadOnlyObject) -> str:
    """The text with all paths in it translated by ``in_v1beta1``."""
    return _PATH.sub(lambda found: in_v1beta1(found[0], story), text)


def choices(story: ReadOnlyObject) -> Iterator[Finding]:
    """Steps of a v1beta1 Story with no kind or several kinds, for checks without its schema, which refuses them."""
    spec = story.get("spec") or {}
    for list_name in STEP_LISTS:
        yield from _choices(spec.get(list_name), f"spec.{list_name}", 0)


def _choices(steps: Any, path: str, depth: int) -> Iterator[Finding]:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, Mapping):
            continue
        here = f"{path}[{index}]"
        given = [key for key in (*_WITH_INPUT, *SETTINGS) if step.get(key) is not None]
        if len(given) != 1:
            which = f"has {' and '.join(given)}" if given else f"has none of {', '.join((*_WITH_INPUT, *SETTINGS))}"
            yield REF_OR_TYPE.at(here, which, "give exactly one of them")
        elif step.get("with") is not None and given[0] not in _WITH_INPUT:
            yield REF_OR_TYPE.at(f"{here}.with", "is the input of an Engram or a script", f"move it into {given[0]}")
        parallel = step.get("parallel")
        if isinstance(parallel, Mapping) and depth < MAX_BRANCH_DEPTH:
            yield from _choices(parallel.get("steps"), f"{here}.parallel.steps", depth + 1)


def _in_step(rest: str, step: Any) -> str:
    primitive = primitive_of(step) if isinstance(step, Mapping) else None
    if primitive is None:
        return rest
    branch = _BRANCH.match(rest) if primitive == "parallel" else None
    if branch is not None:
        inner = _item(step["parallel"].get("steps"), int(branch[1]))
        return f".parallel.steps[{branch[1]}]{_in_step(rest[branch.end() :], inner)}"
    return _WHAT.sub(f".{primitive}", rest, count=1) if _WHAT.match(rest) else rest


def _item(items: Any, index: int) -> Any:
    return items[index] if isinstance(items, list) and index < len(items) else None
