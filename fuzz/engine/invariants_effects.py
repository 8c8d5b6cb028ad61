"""I53 to I56: one container at a time holds the claim of an effect, and the effect happens once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Final

from core.api.objects import Object
from fuzz.engine.actions import Verb
from fuzz.engine.answers import holder_of, is_completed, is_orphan, phase_of_claim, shown_by, until_of
from fuzz.engine.clients.effects import Performance
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import History, by_operator, status_of
from fuzz.engine.world import EPOCH
from reconcilers.effectclaim import COLLECTION, SETTLING

A_MOMENT: Final = timedelta(seconds=0.1)
_LEGS_TO_A_RENEWAL: Final = 6
"""From one stored renewal to the next: an answer; a request that is refused; a read; the request again."""
_LEASE: Final = (
    "holderIdentity",
    "acquireTime",
    "renewTime",
    "completionStatus",
    "completedAt",
    "leaseDurationSeconds",
)


def _claim_writes(history: History) -> Iterator[Write]:
    return (write for write in history.writes() if write.place[0] == "EffectClaim")


def one_holder_at_a_time(history: History) -> Iterator[str]:
    """I53: a claim changes from one holder to another only when the lease has ended; only holders write their lease.

    Admission refuses nothing that a container writes while its StepRun exists.
    """
    yield from history.played.clients.connection.refused if history.played.clients is not None else ()
    for write in _claim_writes(history):
        if write.new is None or write.actor == "user":
            continue
        before, after, name = holder_of(write.old), holder_of(write.new), write.place[2]
        if write.old is not None and all(write.old["spec"].get(key) == write.new["spec"].get(key) for key in _LEASE):
            continue
        writer = {_client_of(holder) for holder in (before, after) if holder}
        if write.actor not in writer:
            yield f"{write.actor} wrote the lease of {name}, which {before or after} holds"
        if write.old is None or after in ("", before):
            if _client_of(before) not in ("", write.actor):
                yield f"{write.actor} wrote the lease of {name}, which {before} holds"
            continue
        if before and write.at < until_of(write.old):
            yield f"{after} took {name} over at {write.at}, which {before} holds until {until_of(write.old)}"
        transitions = [int(obj["spec"].get("leaseTransitions") or 0) for obj in (write.old, write.new)]
        if transitions[1] - transitions[0] != bool(before):
            yield f"{name} went from {before!r} to {after!r}, and leaseTransitions from {transitions}"


def completion_is_final(history: History) -> Iterator[str]:
    """I54: nobody changes a completed claim; an effect begins only in the container that holds the claim, as long as
    the lease lasts.
    """
    for write in _claim_writes(history):
        if is_completed(write.old) and write.new is not None and write.old is not None:
            changed = [key for key in _LEASE if write.old["spec"].get(key) != write.new["spec"].get(key)]
            if changed:
                yield f"{write.actor} changed the completed claim {write.place[2]}: {changed}"
    if history.played.clients is None:
        return
    for one in history.played.clients.performances:
        claim = _claim_at(history, one, one.newest)  # it may be gone with its StepRun while the answer was on its way
        began_at = EPOCH + timedelta(seconds=one.began_at)
        if is_completed(claim):
            yield f"{one.client} began {one.key} of {one.step_run} after its completion"
        elif claim is None or _client_of(holder_of(claim)) != one.client:
            yield f"{one.client} began {one.key} of {one.step_run}, which {holder_of(claim) or 'nobody'} holds"
        elif began_at >= until_of(claim):
            yield f"{one.client} began {one.key} of {one.step_run} at {began_at}, after its lease"


def effects_happen_once(history: History) -> Iterator[str]:
    """I55: an effect happens again only after its container died or lost its lease between effect and record.

    Every time it has the same idempotency key; what a container reports of an effect has happened. An effect that fails
    leaves its claim free at once.
    """
    clients = history.played.clients
    if clients is None:
        return
    seen: dict[tuple[str, str], list[Performance]] = {}
    for one in clients.performances:
        claim = _claim_at(history, one, one.newest)
        if one.seen_at is not None and claim is not None:
            seen.setdefault((claim["spec"]["stepRunRef"]["uid"], one.key), []).append(one)
    for (_, key), all_of_it in seen.items():
        if len({one.idempotency_key for one in all_of_it}) != 1:
            yield f"{key} happened with several idempotency keys"
        for earlier, later in pairwise(all_of_it):
            if not _may_be_repeated(history, earlier, later.began_at):
                yield f"{key} happened in {earlier.client} at {earlier.seen_at}, and again in {later.client}"
    for one in clients.performances:
        if one.failed and not _is_set_free(history, one) and not _may_be_repeated(history, one):
            yield f"{one.key} failed in {one.client}, which keeps its claim"
    receipts = {one.client for one in clients.performances if one.seen_at is not None}
    for client, result in clients.results:
        if result.outcome is not None and result.outcome.details.get("receipt") not in receipts:
            yield f"{client} reported {result.outcome}, which did not happen"


def _is_set_free(history: History, one: Performance) -> bool:
    """Whether its container released the claim, or the claim was deleted."""
    later = (write for write in history.played.history if write.number > one.newest and write.place[0] == "EffectClaim")
    return any(write.new is None or (write.actor == one.client and not holder_of(write.new)) for write in later)


def _may_be_repeated(history: History, earlier: Performance, until: float = inf) -> bool:
    """Whether its container could not record the effect after its begin and before ``until``: it died, was frozen, did
    not reach the server, or not in the time of its lease.
    """
    clients = history.played.clients
    assert clients is not None
    since, fates = earlier.began_at, clients.fates
    happened = (
        clients.died_at.get(earlier.client),
        fates.frozen_at.get(earlier.client),
        *fates.failed_at.get(earlier.client, ()),
    )
    away = any(
        action.verb in (Verb.SERVER_DOWN, Verb.SERVER_FORGETS)
        and action.at <= until
        and action.at + float(action.value or 0.0) >= since
        for action in history.played.case.actions
    )
    return away or _is_too_short(history, earlier) or any(at is not None and since <= at <= until for at in happened)


def _is_too_short(history: History, one: Performance) -> bool:
    """Whether a renewal that meets a write of the operator, and reads the claim anew, may arrive after the lease.

    It begins a third of the lease after the answer to the last renewal.
    """
    claim = _claim_at(history, one, one.newest)
    lease = 0 if claim is None else int(claim["spec"]["leaseDurationSeconds"])
    return lease / 3 + _LEGS_TO_A_RENEWAL * history.played.trouble.latency_seconds > lease


def _claim_at(history: History, one: Performance, number: int) -> Object | None:
    """The claim of an effect after the write ``number``; if it was deleted, as it was last."""
    found: Object | None = None
    for write in history.played.history:
        if write.number > number:
            break
        spec = write.object["spec"] if write.place[0] == "EffectClaim" else None
        if spec is not None and (spec["stepRunRef"]["name"], spec["effectKey"]) == (one.step_run, one.key):
            found = write.object
    return found


def _client_of(holder: str) -> str:
    return holder.partition(":")[0]


def claims_are_shown(history: History) -> Iterator[str]:
    """I56: a claim shows what is true of it, in time, and is written only when that changes; one without its StepRun is
    removed, and no other is.
    """
    for write in _claim_writes(history):
        if not by_operator(write) or write.old is None:
            continue
        if write.new is None:
            if not is_orphan(history.objects, write.old):
                yield f"{write.place[2]} was removed, whose StepRun exists"
        elif _is_needless(write):
            yield f"{write.place[2]} was written although it shows the same: {_said_by(write.new)}"
    if not history.did(Verb.STEP_CLOCK) and (history.prompt or history.played.trouble.heals):
        yield from _shown_late(history)


def _is_needless(write: Write) -> bool:
    """Whether the status of a held claim was written, and says the same as before."""
    assert write.old is not None
    assert write.new is not None
    changed = status_of(write.old) != status_of(write.new) and shown_by(write.new) == ("Reserved", "Reserved")
    return changed and _said_by(write.old) == _said_by(write.new)


def _said_by(claim: Object) -> list[tuple[str, ...]]:
    conditions = status_of(claim).get("conditions") or ()
    return [tuple(str(one.get(key)) for key in ("type", "status", "reason", "message")) for one in conditions]


def _shown_late(history: History) -> Iterator[str]:
    wrong_since: dict[str, datetime] = {}
    for write in history.writes():
        if by_operator(write):  # at other times, none may be running
            yield from _late(history, wrong_since, write.at)
        after = {**history.objects, write.place: write.new}
        wrong = [*_wrong(after, write.at)]
        wrong_since = {name: wrong_since.get(name, at) for name, at in wrong}
    now = EPOCH + timedelta(seconds=history.played.seen_until_seconds)
    for name, at in _wrong(history.played.objects, now):
        wrong_since.setdefault(name, at)
    yield from _late(history, wrong_since, now)


def _wrong(objects: Mapping[Place, Object | None], now: datetime) -> Iterator[tuple[str, datetime]]:
    """The claims that do not show what is true of them, or belong to no StepRun; since when they do not, at most."""
    existing = {place: obj for place, obj in objects.items() if obj is not None}
    for place, claim in existing.items():
        if place[0] != "EffectClaim":
            continue
        if is_orphan(existing, claim):
            yield f"{place[2]}, without its StepRun", now + COLLECTION
        elif shown_by(claim) != phase_of_claim(claim, now):
            expired = shown_by(claim) == phase_of_claim(claim, until_of(claim) - timedelta(microseconds=1))
            yield place[2], until_of(claim) if expired and now >= until_of(claim) else now


def _late(history: History, wrong_since: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    began_at, allowed = history.reaction(now)
    for name, since in wrong_since.items():
        if now > max(since, began_at) + SETTLING + allowed + A_MOMENT:
            yield f"the claim {name} has been wrong since {since}, until {now}"


CHECKS: Final[Mapping[str, Callable[[History], Iterator[str]]]] = {
    "I53": one_holder_at_a_time,
    "I54": completion_is_final,
    "I55": effects_happen_once,
    "I56": claims_are_shown,
}
