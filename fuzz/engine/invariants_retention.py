"""I42: how long runs that have ended are kept. Nothing is deleted before its time, and all is deleted after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import inf
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, has_ended
from core.engine.redrive.request import Malformed, pending_redrive
from fuzz.engine.actions import Verb
from fuzz.engine.bounds import SLACK_SECONDS
from fuzz.engine.cluster import Write
from fuzz.engine.history import History, by_operator, starts_of, status_of
from fuzz.engine.kept import Kept, is_cleaned, is_going, kept_by
from fuzz.engine.routing import story_of
from fuzz.engine.watches import controller_owner
from fuzz.engine.world import EPOCH

PROMPTLY: Final = timedelta(seconds=5)


def is_let_go(history: History, write: Write) -> bool:
    """Whether the operator may delete an object of a run that has ended: its time is over, or the run is deleted."""
    run = history.run_of(write.object)
    if run is None or run["metadata"].get("deletionTimestamp") or history.did(Verb.STEP_CLOCK):
        return True
    return has_ended(run) and _age(run, write.at) >= _least(history, run, write).children


def nothing_goes_early(history: History) -> Iterator[str]:
    """No run and no child run is deleted before its time; a run reports the end of its children after it."""
    if history.did(Verb.STEP_CLOCK):
        return
    for write in history.writes():
        if not by_operator(write) or write.old is None or write.old["metadata"].get("deletionTimestamp"):
            continue
        if is_cleaned(write) and not history.overlapping and (left := [*history.children(write.object)]):
            yield f"{write.place[2]} said that its children are gone: {left}"
        if not is_going(write):
            continue
        if write.place[0] == "StoryRun" and controller_owner(write.object) is None:
            yield from _removed_early(history, write)
        elif write.place[0] in ("StoryRun", "StepRun"):
            yield from _child_removed_early(history, write)


def _removed_early(history: History, write: Write) -> Iterator[str]:
    run = write.object
    request = pending_redrive(run)
    if not has_ended(run):
        yield f"{write.place} was removed before its end"
    elif request is not None and not isinstance(request, Malformed):
        yield f"{write.place} was removed although it was to run again"
    elif _age(run, write.at) < _least(history, run, write).run:
        yield f"{write.place} was removed {_age(run, write.at)} s after its end"


def _child_removed_early(history: History, write: Write) -> Iterator[str]:
    parent, child = history.run_of(write.object), write.object
    if parent is None or pending_redrive(parent) is not None:
        return
    if not has_ended(parent):  # then the engine deletes only what a redrive creates again
        again = history.did(Verb.REDRIVE, Verb.REDRIVE_FROM) or parent["metadata"].get("deletionTimestamp")
        if not again:
            yield f"{write.place} was removed, whose run goes on"
        return
    over = write.place[0] == "StoryRun" and has_ended(child)
    over = over and _age(child, write.at) >= _least(history, child, write).run
    if not over and not is_let_go(history, write) and not history.two_leaders(write, ever=True):
        yield f"{write.place} was removed {_age(parent, write.at)} s after the end of its run"


def everything_goes_in_time(history: History) -> Iterator[str]:
    """Runs that have ended are deleted soon after their time, however they ended; undisturbed, within five seconds."""
    if history.did(Verb.STEP_CLOCK, Verb.EDIT_STORY, Verb.DELETE_STORY):
        return
    if not (history.prompt or history.played.trouble.heals):
        return
    for write in history.writes():
        run = write.object
        if write.place[0] == "StoryRun" and by_operator(write) and write.old is not None and has_ended(run):
            kept, name = _least(history, run, None), write.place[2]
            if is_cleaned(write) and write.at > _due(history, run, kept.children, write.at):
                yield f"the children of {name} went {_age(run, write.at)} s after its end"
            gone = is_going(write) and not write.old["metadata"].get("deletionTimestamp")
            if gone and controller_owner(run) is None and write.at > _due(history, run, kept.run, write.at):
                yield f"{name} went {_age(run, write.at)} s after its end"
    now = EPOCH + timedelta(seconds=history.played.seen_until_seconds)
    for run in [obj for obj in history.objects.values() if obj["kind"] == "StoryRun" and has_ended(obj)]:
        if run["metadata"].get("deletionTimestamp") or pending_redrive(run) is not None:
            continue
        kept, name = _least(history, run, None), run["metadata"]["name"]
        if any(history.children(run)) and now > _due(history, run, kept.children, now):
            yield f"children of {name} are still there {_age(run, now)} s after its end"
        if controller_owner(run) is None and now > _due(history, run, kept.run, now):
            yield f"{name} is still there {_age(run, now)} s after its end"


def _due(history: History, run: Object, seconds: float, now: datetime) -> datetime:
    """The time by which an object must be deleted that is kept for ``seconds`` after the end of its run."""
    if seconds == inf:
        return now
    since = max(at for at in starts_of(history) if at <= now)
    if history.prompt:
        return max(_ended_at(run) + timedelta(seconds=seconds), since) + PROMPTLY
    calm_at = EPOCH + timedelta(seconds=history.played.case.last_action_at)
    due = max(_ended_at(run) + timedelta(seconds=seconds), since, calm_at)
    return due + PROMPTLY + timedelta(seconds=SLACK_SECONDS)


def _least(history: History, run: Object, until: Write | None) -> Kept:
    """The shortest times that the Story of a run has had so far; the operator's settings, if it is deleted."""
    place = ("Story", *story_of(run))
    said = [
        kept_by(None if write.new is None else write.new["spec"])
        for write in history.played.history
        if write.place == place and (until is None or write.number <= until.number)
    ]
    found = said or [kept_by(None)]
    return Kept(min(kept.children for kept in found), min(kept.run for kept in found))


def _age(run: Object, now: datetime) -> float:
    """Seconds since the recorded end."""
    return (now - _ended_at(run)).total_seconds()


def _ended_at(run: Object) -> datetime:
    finished = parse_instant_or_none(status_of(run).get("finishedAt"))
    assert finished is not None
    return finished
