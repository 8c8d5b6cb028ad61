"""ReferenceGrants that allow references which do not exist. Source: admission contract 3.7 and 7."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import (
    CONFIG_MAP,
    ENGRAM,
    IMPULSE,
    SECRET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    Resource,
)
from core.api.suggestion import closest
from core.api.text import text
from webhooks.cluster_view import ClusterView
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate import change

UNKNOWN: Final = Rule("grant/unknown-kind", "7", severity=Severity.WARNING)
UNUSED: Final = Rule("grant/never-asked", "7", severity=Severity.WARNING)

_OBJECTS: Final = (SECRET, CONFIG_MAP)
_ASKED: Final[dict[Resource, tuple[Resource, ...]]] = {
    STORY: (ENGRAM, STORY, *_OBJECTS),
    ENGRAM: _OBJECTS,
    IMPULSE: (STORY, *_OBJECTS),
    STORY_RUN: (STORY, *_OBJECTS),
    STORY_TRIGGER: (STORY, *_OBJECTS),
    STEP_RUN: (STORY_RUN, ENGRAM, *_OBJECTS),
}
"""Which kinds refer to which kinds."""

_Pair = tuple[str, str]  # group and kind


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """Probable errors in a grant that matches its schema."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    return list(_findings(new["spec"]))


def _findings(spec: ReadOnlyObject) -> Iterator[Finding]:
    sources = {_pair_of(source): source for source in _ASKED}
    targets = {_pair_of(target): target for asked in _ASKED.values() for target in asked}
    yield from _unknown(spec["from"], sources, "spec.from", "can refer to other kinds")
    yield from _unknown(spec["to"], targets, "spec.to", "can be referred to")
    given = [_pair(entry) for entry in spec["from"]]
    asked = {_pair_of(target) for pair in given if pair in sources for target in _ASKED[sources[pair]]}
    for index, entry in enumerate(spec["to"]):
        pair = _pair(entry)
        if asked and pair in targets and pair not in asked:
            message = f"no {' or '.join(kind for _, kind in given)} can refer to {_name(pair)}"
            who = [source.kind for source, wanted in _ASKED.items() if targets[pair] in wanted]
            yield UNUSED.at(f"spec.to[{index}]", message, f"add {' or '.join(who)} to from")


def _unknown(entries: list[ReadOnlyObject], known: dict[_Pair, Resource], path: str, what: str) -> Iterator[Finding]:
    for index, entry in enumerate(entries):
        if _pair(entry) not in known:
            guess = closest(text(entry.get("kind")), [kind for _, kind in known])
            meant = next((_name(pair) for pair in known if pair[1] == guess), None)
            remedy = f"did you mean {meant}?" if meant else f"use {', '.join(map(_name, known))}"
            yield UNKNOWN.at(f"{path}[{index}]", f"kind {_name(_pair(entry))} is not a kind that {what}", remedy)


def _pair(entry: ReadOnlyObject) -> _Pair:
    return text(entry.get("group")), text(entry.get("kind"))


def _pair_of(resource: Resource) -> _Pair:
    return resource.group, resource.kind


def _name(pair: _Pair) -> str:
    return "/".join(filter(None, pair))
