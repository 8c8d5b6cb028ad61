"""Which run of a Story may start: ``spec.concurrency``, all at once, one after the other, or only the newest. Pure.

Runs take turns by Story, or by participant: ``spec.inputs.participant`` (a string, or its ``id``), else the correlation
id; a run that has neither shares turns with no other run. A run that has started continues, whatever runs were created
since; the others are in the order of their creation, then their names.

A run never waits for an ancestor, because the ancestor may wait for it. A run below a started run shares the turn of
that run: it waits only for other runs below the same one; otherwise neither would ever end. Ancestors are found along
the controller owners among the given runs. Ancestors of other Stories, which are not among these, are given by UID; a
run whose ancestors are not known counts as below. For Realtime Stories the same field means packets, not runs: their
runs start at once. For batch Stories this is our addition: the reference ignores the field there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.api import keys
from core.api.objects import Object, controller_of
from core.api.resource import STORY_RUN
from core.engine.slots.queueing import ordinal
from core.story.story import is_realtime

LONGEST_CHAIN: Final = 64
"""More ancestors than any chain of Stories may have; a forged circle of owners ends here."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The run may start."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Other runs go first."""

    runs: tuple[str, ...]
    """Their names, in the order in which they go; empty if the place comes from a line that was kept."""
    place: int
    """1: the run starts next."""
    message: str
    until: str
    """UID of the last of them: until it has ended, there is no need to look again."""

    @property
    def what(self) -> tuple[object, ...]:
        """Equal as long as there is nothing new to report."""
        return self.until, self.place


@dataclass(frozen=True, slots=True)
class CancelFirst:
    """Ask these runs to end, then wait for them."""

    runs: tuple[Object, ...]
    message: str

    @property
    def what(self) -> tuple[object, ...]:
        """Equal as long as there is nothing new to report."""
        return str(self.runs[-1]["metadata"]["uid"]), 1


Turn = Begin | WaitFor | CancelFirst


def turn_of(
    run: Object,
    live: Iterable[Object],
    story: Object,
    *,
    begun: Collection[str] = (),
    ancestors: Sequence[str] = (),
) -> Turn:
    """Whether ``run`` may start among the ``live`` runs of its Story (which may contain ``run`` itself).

    ``begun``: UIDs of runs that may start already and whose status may not show it yet; without them, two runs that are
    created within a second could both start. ``ancestors``: UIDs of the runs above ``run``, nearest first.
    """
    if has_begun(run, begun):
        return Begin()
    key = shared_by(run, story)
    if not takes_turns(story) or key is None:
        return Begin()
    by_uid = {uid_of(other): other for other in live if uid_of(other) != uid_of(run)}
    sharing = {uid: other for uid, other in by_uid.items() if shared_by(other, story) == key}
    started = {uid for uid, other in sharing.items() if has_begun(other, begun)}
    above = [uid for uid in dict.fromkeys((*_chain(run, by_uid), *ancestors)) if uid in started]
    rivals = {uid: other for uid, other in sharing.items() if uid not in above}
    if story["spec"]["concurrency"]["mode"] == "cancelPrevious":
        return _newest_alone(run, list(rivals.values()), begun)
    chains = {uid: _chain(other, by_uid) for uid, other in rivals.items()}
    if above:
        below = {uid for uid, chain in chains.items() if above[0] in chain or (chain and chain[-1] not in by_uid)}
        alone = set()
    else:
        below = set(rivals)
        alone = {uid for uid, chain in chains.items() if started.isdisjoint(chain)} | {uid_of(run)}

    def rank(one: Object) -> tuple[bool, bool, str, str]:
        """Started runs first, then runs below a started one, then the older."""
        return (not has_begun(one, begun), uid_of(one) in alone, *age_of(one))

    return _one_after_the_other(run, [rivals[uid] for uid in below], rank, begun)


def _one_after_the_other(
    run: Object, rivals: Iterable[Object], rank: Callable[[Object], Any], begun: Collection[str]
) -> Turn:
    mine = rank(run)
    first = sorted((other for other in rivals if rank(other) < mine), key=rank)
    if not first:
        return Begin()
    names = tuple(_name(other) for other in first)
    return in_line(names, names[0], 1 + sum(not has_begun(other, begun) for other in first), uid_of(first[-1]))


def in_line(runs: tuple[str, ...], first: str, place: int, until: str) -> WaitFor:
    """The run has to wait in the line whose first run is ``first``; the other arguments are those of ``WaitFor``."""
    return WaitFor(runs, place, f"Waiting for StoryRun {first} to end; {ordinal(place)} in line", until)


def _newest_alone(run: Object, rivals: list[Object], begun: Collection[str]) -> Turn:
    """Of two runs created in the same second, one that has started is older than one that has not."""

    def age(one: Object) -> tuple[str, bool, str]:
        created, name = age_of(one)
        return created, not has_begun(one, begun), name

    newer = sorted((other for other in rivals if age(other) > age(run)), key=age)
    if newer:
        name = _name(newer[-1])
        message = f"Superseded by StoryRun {name}, which is newer"
        return WaitFor((name,), 1 + len(newer), message, uid_of(newer[-1]))
    if not rivals:
        return Begin()
    rivals.sort(key=age)
    names = tuple(_name(other) for other in rivals)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    message = f"Waiting for StoryRun {names[0]}{more} to end, canceled for this newer one"
    asked = [other["spec"].get("cancelRequested") is True for other in rivals]
    if all(asked):
        return WaitFor(names, 1, message, uid_of(rivals[-1]))
    return CancelFirst(tuple(other for other, done in zip(rivals, asked, strict=True) if not done), message)


def takes_turns(story: Object) -> bool:
    """Whether runs of the Story ever wait for each other."""
    spec = story.get("spec") or {}
    mode = (spec.get("concurrency") or {}).get("mode")
    return mode in ("serial", "cancelPrevious") and not is_realtime(spec)


def parent_of(run: Object) -> Mapping[str, Any] | None:
    """The owner reference (``name``, ``uid``) of the StoryRun that started this one, in the same namespace."""
    owner = controller_of(run)
    return owner if owner is not None and owner.get("kind") == STORY_RUN.kind else None


def _chain(run: Object, by_uid: Mapping[str, Object]) -> list[str]:
    """UIDs of the ancestors, nearest first, as far as the given runs show them."""
    found: list[str] = []
    one: Object | None = run
    while one is not None and len(found) < LONGEST_CHAIN:
        parent = parent_of(one)
        if parent is None:
            break
        found.append(str(parent.get("uid")))
        one = by_uid.get(found[-1])
    return found


def shared_by(run: Object, story: Object) -> str | None:
    """The key that runs which take turns have in common; None if this run takes turns with no other run."""
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


def has_begun(run: Object, begun: Collection[str]) -> bool:
    """Whether ``run`` has started, or its UID is among those that may start."""
    return bool((run.get("status") or {}).get("startedAt")) or uid_of(run) in begun


def age_of(run: Object) -> tuple[str, str]:
    """Creation (RFC 3339) and name: the smaller, the older."""
    return str(run["metadata"].get("creationTimestamp") or ""), _name(run)


def uid_of(run: Object) -> str:
    return str(run["metadata"]["uid"])


def _name(run: Object) -> str:
    return str(run["metadata"]["name"])
