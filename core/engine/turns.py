"""Which run of a Story may begin: ``spec.concurrency``, all at once, one after the other, or the newest alone. Pure.

Runs take turns by Story, or by participant: ``spec.inputs.participant`` (a text, or its ``id``), else the correlation
id; a run that has neither is alone. A run that has begun goes on, whatever came since; the rest stands in order of
creation, then name.

A run never waits for an ancestor, which may be waiting for it. A run below one that has begun shares that one's turn:
it waits only for others below the same, or neither would ever end. Ancestors are found along the controller owners
among the given runs; those of other Stories, which are not among them, are given by UID, and a run whose ancestors are
not known counts as below. Realtime Stories mean packets, not runs, by
the same words: their runs begin at once. Ours for batch Stories: the reference ignores it there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.api import keys
from core.api.resource import STORY_RUN
from core.engine.ports import Object
from core.engine.queueing import ordinal

_LONGEST_CHAIN: Final = 64
"""More ancestors than any chain of Stories may have; a forged circle of owners ends here."""


@dataclass(frozen=True, slots=True)
class Begin:
    """It is this run's turn."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """These runs come first, in this order."""

    runs: tuple[str, ...]
    place: int
    """1 for who begins next."""
    message: str
    until: str
    """UID of the last of them: before it has ended, there is no need to look again."""


@dataclass(frozen=True, slots=True)
class CancelFirst:
    """Ask these runs to end, then wait for them."""

    runs: tuple[Object, ...]
    message: str


Turn = Begin | WaitFor | CancelFirst


def turn_of(
    run: Object,
    live: Iterable[Object],
    story: Object,
    *,
    begun: Collection[str] = (),
    ancestors: Sequence[str] = (),
) -> Turn:
    """Whether ``run`` may begin among the ``live`` runs of its Story (itself among them or not).

    ``begun``: UIDs of runs that were told to begin and whose status may not say so yet; without them, two runs that
    are created within a second could both begin. ``ancestors``: UIDs of the runs above ``run``, nearest first.
    """
    if _has_begun(run, begun):
        return Begin()
    key = _key(run, story)
    if not takes_turns(story) or key is None:
        return Begin()
    by_uid = {_uid(other): other for other in live if _uid(other) != _uid(run)}
    sharing = {uid: other for uid, other in by_uid.items() if _key(other, story) == key}
    at_work = {uid for uid, other in sharing.items() if _has_begun(other, begun)}
    above = [uid for uid in dict.fromkeys((*_chain(run, by_uid), *ancestors)) if uid in at_work]
    rivals = {uid: other for uid, other in sharing.items() if uid not in above}
    if story["spec"]["concurrency"]["mode"] == "cancelPrevious":
        return _newest_alone(run, list(rivals.values()), begun)
    chains = {uid: _chain(other, by_uid) for uid, other in rivals.items()}
    if above:
        below = {uid for uid, chain in chains.items() if above[0] in chain or (chain and chain[-1] not in by_uid)}
        alone = set()
    else:
        below = set(rivals)
        alone = {uid for uid, chain in chains.items() if at_work.isdisjoint(chain)} | {_uid(run)}

    def rank(one: Object) -> tuple[bool, bool, str, str]:
        """Who has begun, then who is below one that has, then the older."""
        return (not _has_begun(one, begun), _uid(one) in alone, *_age(one))

    return _one_after_the_other(run, [rivals[uid] for uid in below], rank, begun)


def _one_after_the_other(
    run: Object, rivals: Iterable[Object], rank: Callable[[Object], Any], begun: Collection[str]
) -> Turn:
    mine = rank(run)
    first = sorted((other for other in rivals if rank(other) < mine), key=rank)
    if not first:
        return Begin()
    names = tuple(_name(other) for other in first)
    place = 1 + sum(not _has_begun(other, begun) for other in first)
    message = f"Waiting for StoryRun {names[0]} to end; {ordinal(place)} in line"
    return WaitFor(names, place, message, _uid(first[-1]))


def _newest_alone(run: Object, rivals: list[Object], begun: Collection[str]) -> Turn:
    """Of the same second, one that has begun is older than one that has not."""

    def age(one: Object) -> tuple[str, bool, str]:
        created, name = _age(one)
        return created, not _has_begun(one, begun), name

    newer = sorted((other for other in rivals if age(other) > age(run)), key=age)
    if newer:
        name = _name(newer[-1])
        message = f"Superseded by StoryRun {name}, which is newer"
        return WaitFor((name,), 1 + len(newer), message, _uid(newer[-1]))
    if not rivals:
        return Begin()
    rivals.sort(key=age)
    names = tuple(_name(other) for other in rivals)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    message = f"Waiting for StoryRun {names[0]}{more} to end, canceled for this newer one"
    asked = [other["spec"].get("cancelRequested") is True for other in rivals]
    if all(asked):
        return WaitFor(names, 1, message, _uid(rivals[-1]))
    return CancelFirst(tuple(other for other, done in zip(rivals, asked, strict=True) if not done), message)


def takes_turns(story: Object) -> bool:
    """Whether runs of the Story ever wait for each other."""
    spec = story.get("spec") or {}
    mode = (spec.get("concurrency") or {}).get("mode")
    return mode in ("serial", "cancelPrevious") and spec.get("pattern") != "realtime"


def parent_of(run: Object) -> Mapping[str, Any] | None:
    """The owner reference (``name``, ``uid``) of the StoryRun that started this one, in the same namespace."""
    for owner in run["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == STORY_RUN.kind:
            return dict(owner)
    return None


def _chain(run: Object, by_uid: Mapping[str, Object]) -> list[str]:
    """UIDs of the ancestors, nearest first, as far as the given runs lead."""
    found: list[str] = []
    one: Object | None = run
    while one is not None and len(found) < _LONGEST_CHAIN:
        parent = parent_of(one)
        if parent is None:
            break
        found.append(str(parent.get("uid")))
        one = by_uid.get(found[-1])
    return found


def _key(run: Object, story: Object) -> str | None:
    """What runs that take turns share; None when this run shares it with nobody."""
    concurrency = (story.get("spec") or {}).get("concurrency") or {}
    return _participant(run) if concurrency.get("scope") == "participant" else "story"


def _participant(run: Object) -> str | None:
    inputs = run["spec"].get("inputs")
    participant = inputs.get("participant") if isinstance(inputs, dict) else None
    if isinstance(participant, dict):
        participant = participant.get("id")
    if isinstance(participant, int) and not isinstance(participant, bool):
        participant = str(participant)
    if isinstance(participant, str) and participant.strip():
        return f"participant {participant.strip()}"
    correlation = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID)
    return f"correlation {correlation.strip()}" if isinstance(correlation, str) and correlation.strip() else None


def _has_begun(run: Object, begun: Collection[str]) -> bool:
    return bool((run.get("status") or {}).get("startedAt")) or _uid(run) in begun


def _age(run: Object) -> tuple[str, str]:
    return str(run["metadata"].get("creationTimestamp") or ""), _name(run)


def _uid(run: Object) -> str:
    return str(run["metadata"]["uid"])


def _name(run: Object) -> str:
    return str(run["metadata"]["name"])
