"""I47 to I52: each request starts at most one run and gets one answer, which is true, in time, and kept for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from bubu_sdk.trigger_errors import (
    TriggerConflictError,
    TriggerPendingError,
    TriggerRejectedError,
    TriggerUnavailableError,
)
from core.api import keys
from core.api.objects import Object
from core.engine.calls import WRITE_DEADLINE_SECONDS
from fuzz.engine.actions import Verb
from fuzz.engine.answers import (
    Answer,
    answer_to,
    expected,
    keeps_seconds,
    origin_of,
    requested_by,
    run_name_of,
)
from fuzz.engine.clients.submissions import Told
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import History, by_operator, status_of
from fuzz.engine.kept import is_going
from fuzz.engine.world import EPOCH, NAMESPACE

A_MOMENT: Final = timedelta(seconds=1)
"""By then, a request that nothing holds up has its answer."""
PROMPTLY: Final = timedelta(seconds=5)
_FACTS: Final = frozenset({"Story", "StoryRun", "StoryTrigger", "Impulse"})
"""The kinds on which an answer depends."""
_AT_THE_LIMIT: Final = {
    "StoryNotFound": "StoryNotFound",
    "StoryVersionMismatch": "StoryVersionMismatch",
    "ImpulseNotFound": "ValidationFailed",
    "StoryRunTerminating": "StoryRunConflict",
}
"""The reason of the rejection of a request that has waited for too long, by the reason for which it waited."""
_CREATED: Final = Answer("Created", "StoryRunCreated")
_NO_ANSWER: Final = (TriggerPendingError, TriggerUnavailableError)


def at_most_one_run(history: History) -> Iterator[str]:
    """I47: one StoryTrigger starts one run; another only if a user deleted the first before the answer was stored."""
    started: dict[str, list[str]] = {}
    """The UIDs of runs, by the UID of their StoryTrigger."""
    deleted_by_users: set[str] = set()
    for write in history.writes():
        if write.place[0] != "StoryRun" or not (origin := origin_of(write.object)):
            continue
        trigger = _trigger_of(history, write.object)
        run = write.object["metadata"]["uid"]
        if write.verb == "create" and by_operator(write):
            before = started.setdefault(origin, [])
            if any(one not in deleted_by_users for one in before):
                yield f"a second run {write.place[2]} was started for one StoryTrigger"
            if answer_to(trigger) is not None and not _was_on_its_way(history, write, trigger):
                yield f"the run {write.place[2]} was started after its StoryTrigger was answered"
            if trigger is not None and write.place[2] != run_name_of(trigger):
                yield f"the run {write.place[2]} should be {run_name_of(trigger)}, as for every request with this key"
            before.append(run)
        elif _begins_to_go(write) and by_operator(write):
            if trigger is not None and answer_to(trigger) is None:
                yield f"{write.place[2]} was removed before its StoryTrigger had an answer"
        elif _begins_to_go(write) and answer_to(trigger) is None:
            deleted_by_users.add(run)


def _trigger_of(history: History, run: Object) -> Object | None:
    """The StoryTrigger for which a run was created, if it exists."""
    name = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_TRIGGER_REQUEST_NAME)
    found = history.objects.get(("StoryTrigger", NAMESPACE, str(name)))
    return found if found is not None and found["metadata"]["uid"] == origin_of(run) else None


def _was_on_its_way(history: History, write: Write, trigger: Object | None) -> bool:
    """Whether the request may have been sent before the answer was stored, by this process or by another leader."""
    answered_at = parse_instant_or_none(status_of(trigger).get("completedAt"))
    assert answered_at is not None
    slow = history.requests_take_time or history.overlapping
    return slow and (write.at - answered_at).total_seconds() <= WRITE_DEADLINE_SECONDS + 1


def _begins_to_go(write: Write) -> bool:
    return is_going(write) and write.old is not None and not write.old["metadata"].get("deletionTimestamp")


def one_answer(history: History) -> Iterator[str]:
    """I48: an answer never changes; every StoryTrigger has one at the end, or waits and says for what.

    What a client is told is what is stored.
    """
    versions: dict[str, list[tuple[int, Object]]] = {}
    for write in history.writes():
        if write.place[0] != "StoryTrigger" or write.new is None:
            continue
        versions.setdefault(write.place[2], []).append((write.number, write.new))
        yield from _changed_answer(write)
    played = history.played
    for place, trigger in played.objects.items():
        if place[0] == "StoryTrigger" and answer_to(trigger) is None:
            wanted, status = expected(played.objects, trigger), status_of(trigger)
            if wanted.decision != "Pending" or wanted != (status.get("decision"), status.get("reason")):
                yield f"{place[2]} has no answer: it should be {wanted}, and is {status}"
    for told in played.clients.told if played.clients is not None else ():
        if not told.submission.by_hand:
            yield from _told_wrongly(told, versions, any(one.offloads for one in played.case.submissions))


def _changed_answer(write: Write) -> Iterator[str]:
    old, new, name = status_of(write.old), status_of(write.new), write.place[2]
    before, after = answer_to(write.old), answer_to(write.new)
    if before is not None and old != new:
        changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
        yield f"the answer to {name} was changed: {sorted(changed)}"
    if old.get("acceptedAt") and new.get("acceptedAt") != old["acceptedAt"]:
        yield f"{name} was accepted at {old['acceptedAt']}, and later at {new.get('acceptedAt')}"
    if by_operator(write) and write.based_on is None:
        yield f"an answer to {name} names no version"
    if after is not None and (after.decision == "Rejected") == bool(new.get("storyRunRef")):
        yield f"{name} is {after.decision} with the run {new.get('storyRunRef')}"


def _told_wrongly(told: Told, versions: Mapping[str, list[tuple[int, Object]]], some_offload: bool) -> Iterator[str]:
    """``some_offload``: inputs may differ although the events are equal, because references to them are compared."""
    name = told.submission.trigger
    known = [trigger for number, trigger in versions.get(name, ()) if number <= told.newest]
    answers = [(answer_to(one), (status_of(one).get("storyRunRef") or {}).get("name", "")) for one in known]
    if told.decision is not None:
        said = Answer(str(told.decision.outcome), told.decision.reason), told.decision.story_run
        if said not in answers:
            yield f"a client was told {said} about {name}, which was {answers}"
        if not some_offload and all(_differs(told, one) for one in known):
            yield f"a client was told {said} about {name}, which is another request"
    elif isinstance(told.error, TriggerRejectedError):
        if (Answer("Rejected", told.error.reason), "") not in answers:
            yield f"a client was told that {name} is rejected ({told.error.reason}), which was {answers}"
    elif isinstance(told.error, TriggerConflictError):
        if not some_offload and not any(_differs(told, one) for one in known):
            yield f"a client was told that {name} is another request, and it is the same"
    elif not isinstance(told.error, _NO_ANSWER):
        yield f"a client could not submit {name}: {told.error!r}"


def _differs(told: Told, stored: Object) -> bool:
    """Whether a stored request differs from the one that a client submitted."""
    wanted, found = told.submission, requested_by(stored)
    same = (wanted.story, wanted.version, wanted.impulse) == found[:3]
    return not same or (stored["spec"].get("inputs") or {}) != dict(wanted.inputs)


@dataclass
class _Facts:
    """The answers that were right, in the order of time, for one StoryTrigger without an answer."""

    trigger: Object
    right: list[tuple[datetime, Answer]] = field(default_factory=list)
    """Since when an answer was right."""

    def since(self, start: datetime) -> set[Answer]:
        """What was right at ``start`` or later."""
        before = [answer for at, answer in self.right if at < start]
        return {*before[-1:], *(answer for at, answer in self.right if at >= start)}


def answers_are_true(history: History) -> Iterator[str]:
    """I49: Created and Reused name a run that exists for such a request; a rejection, and a wait, has a reason that
    holds at that moment.
    """
    runs: dict[str, Object] = {}
    """All StoryRuns so far, by UID."""
    for write, facts in _with_facts(history):
        if write.place[0] == "StoryRun" and write.new is not None:
            runs[write.new["metadata"]["uid"]] = write.new
            if write.verb == "create" and by_operator(write) and history.prompt:
                known = facts.get(origin_of(write.new))
                if known is not None and _CREATED not in known.since(write.at):
                    yield f"{write.place[2]} was created, although {known.right[-3:]}"
        if write.place[0] != "StoryTrigger" or write.old is None or write.new is None or not by_operator(write):
            continue
        status, name = status_of(write.new), write.place[2]
        said = Answer(str(status.get("decision")), str(status.get("reason")))
        run = runs.get(str((status.get("storyRunRef") or {}).get("uid")))
        if said.decision == "Created" and (run is None or origin_of(run) != write.new["metadata"]["uid"]):
            yield f"{name} is Created, and no run was created for it"
        if said.decision == "Reused" and not _answers(run, write.new):
            yield f"{name} is Reused, and names a run of another request: {status.get('storyRunRef')}"
        known = facts[write.new["metadata"]["uid"]]
        if (said.decision != "Created" or history.prompt) and not _holds(history, write, said, known):
            yield f"{name} is {said}, although {known.right[-3:]}"


def _answers(run: Object | None, trigger: Object) -> bool:
    """Whether a run is one for such a request."""
    named = run is not None and run["metadata"]["name"] == run_name_of(trigger)
    return named and run is not None and requested_by(run) == requested_by(trigger)


def _with_facts(history: History) -> Iterator[tuple[Write, dict[str, _Facts]]]:
    """Every write, with the answers that were right until then, by UID of the StoryTrigger."""
    facts: dict[str, _Facts] = {}
    for write in history.writes():
        yield write, facts
        if write.place[0] not in _FACTS:
            continue
        after = {**history.objects, write.place: write.new} if write.new is not None else _without(history, write)
        for place, trigger in after.items():
            if place[0] == "StoryTrigger" and answer_to(trigger) is None:
                known = facts.setdefault(trigger["metadata"]["uid"], _Facts(trigger))
                known.right.append((write.at, expected(after, trigger)))


def _without(history: History, write: Write) -> dict[Place, Object]:
    return {place: obj for place, obj in history.objects.items() if place != write.place}


def _holds(history: History, write: Write, said: Answer, facts: _Facts) -> bool:
    """Whether a rejection or a wait was right when it was decided."""
    window = timedelta() if history.prompt else timedelta(seconds=WRITE_DEADLINE_SECONDS + 10)
    right = facts.since(write.at - window)
    if said in right:
        return True
    if said.decision == "Pending" and history.played.trouble.hears_late:
        return True  # it is written again when the process receives the change
    accepted_at = parse_instant_or_none(status_of(write.old).get("acceptedAt"))
    if accepted_at is None or said.decision != "Rejected":
        return False
    has_waited = write.at >= accepted_at + timedelta(seconds=history.played.case.times.pending_timeout_seconds)
    limits = {Answer("Rejected", _AT_THE_LIMIT[one.reason]) for one in right if one.reason in _AT_THE_LIMIT}
    return (has_waited or history.did(Verb.STEP_CLOCK)) and said in limits


def waits_are_free(history: History) -> Iterator[str]:
    """I50: a StoryTrigger that waits is written once for each reason, and again only after its Story has changed."""
    changed: set[str] = set()
    """The StoryTriggers whose Story may have changed since they were written last."""
    for write in history.writes():
        if write.place[0] == "Story":
            changed |= {place[2] for place in history.objects if place[0] == "StoryTrigger"}
        if write.place[0] != "StoryTrigger" or not by_operator(write) or write.old is None or write.new is None:
            continue
        old, new = ((status_of(obj).get("decision"), status_of(obj).get("reason")) for obj in (write.old, write.new))
        if old == new and write.place[2] not in changed:
            yield f"{write.place[2]} was written again while it waits: {new}"
        changed.discard(write.place[2])


def answers_come_in_time(history: History) -> Iterator[str]:
    """I51: a request that nothing holds up has its answer within a second, and one that has waited too long, too.

    After faults of requests or watches: within that time and the longest pause, after the last disturbance.
    """
    if history.did(Verb.STEP_CLOCK) or not (history.prompt or history.played.trouble.heals):
        return
    due_since: dict[str, datetime] = {}
    """Since when a StoryTrigger could be answered, by name."""
    for write in history.writes():
        if by_operator(write):
            yield from _late_answers(history, due_since, write.at)
        after = {**history.objects, write.place: write.new} if write.new is not None else _without(history, write)
        due_since = {name: due_since.get(name, at) for name, at in _due(history, after, write.at)}
    now = EPOCH + timedelta(seconds=history.played.seen_until_seconds)
    at_the_end = _due(history, history.played.objects, now)
    yield from _late_answers(history, {name: due_since.get(name, at) for name, at in at_the_end}, now)


def _due(history: History, objects: Mapping[Place, Object], now: datetime) -> Iterator[tuple[str, datetime]]:
    """The StoryTriggers without an answer that can be given, with the time since when."""
    limit = timedelta(seconds=history.played.case.times.pending_timeout_seconds)
    for place, trigger in objects.items():
        if place[0] != "StoryTrigger" or answer_to(trigger) is not None:
            continue
        accepted_at = parse_instant_or_none(status_of(trigger).get("acceptedAt"))
        if expected(objects, trigger).decision != "Pending":
            yield place[2], now
        elif accepted_at is not None and now >= accepted_at + limit:
            yield place[2], accepted_at + limit


def _late_answers(history: History, due_since: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    began_at, allowed = history.reaction(now)
    for name, since in due_since.items():
        if now > max(since, began_at) + allowed + A_MOMENT:
            yield f"{name} could be answered since {since}, and was not until {now}"


def answers_are_kept(history: History) -> Iterator[str]:
    """I52: an answered StoryTrigger is deleted after its time, and after its run, within five seconds; no other is."""
    if history.did(Verb.STEP_CLOCK):
        return
    run_gone_at: dict[str, datetime] = {}
    for write in history.writes():
        if write.place[0] == "StoryRun" and write.new is None:
            run_gone_at[write.object["metadata"]["uid"]] = write.at
        if write.place[0] != "StoryTrigger" or write.new is not None or not by_operator(write):
            continue
        assert write.old is not None
        due = _removal(history, history.objects, write.old, run_gone_at)
        if answer_to(write.old) is None:
            yield f"{write.place[2]} was removed without an answer"
        elif due is None or write.at < due:
            yield f"{write.place[2]} was removed at {write.at}, and its time is {due}"
        elif _is_too_late(history, due, write.at):
            yield f"{write.place[2]} was removed at {write.at}, and its time was {due}"
    now = EPOCH + timedelta(seconds=history.played.seen_until_seconds)
    for place, trigger in history.played.objects.items():
        if place[0] == "StoryTrigger" and answer_to(trigger) is not None:
            due = _removal(history, history.played.objects, trigger, run_gone_at)
            if due is not None and _is_too_late(history, due, now):
                yield f"{place[2]} is still there at {now}, and its time was {due}"


def _removal(
    history: History, objects: Mapping[Place, Object], trigger: Object, run_gone_at: Mapping[str, datetime]
) -> datetime | None:
    """When an answered StoryTrigger may be removed; None: not as long as its run exists, or never."""
    seconds = keeps_seconds(objects, trigger, history.played.case.times)
    answered_at = parse_instant_or_none(status_of(trigger).get("completedAt"))
    if seconds == inf or answered_at is None:
        return None
    run = str((status_of(trigger).get("storyRunRef") or {}).get("uid"))
    return max(answered_at + timedelta(seconds=seconds), run_gone_at.get(run, answered_at))


def _is_too_late(history: History, due: datetime, now: datetime) -> bool:
    if history.did(Verb.EDIT_STORY, Verb.DELETE_STORY) or not (history.prompt or history.played.trouble.heals):
        return False
    began_at, allowed = history.reaction(now)
    return now > max(due, began_at) + allowed + PROMPTLY


CHECKS: Final[Mapping[str, Callable[[History], Iterator[str]]]] = {
    "I47": at_most_one_run,
    "I48": one_answer,
    "I49": answers_are_true,
    "I50": waits_are_free,
    "I51": answers_come_in_time,
    "I52": answers_are_kept,
}
