"""What to do about the run of a Story that is always on, from what is stored. Pure, and level-based.

Nothing but the runs themselves says what has happened: for which generation of the Story each was made, which run it
follows, how many before it failed early, whether the operator has canceled it. So the newest ended run of a Story that
rests stays until the Story changes or a user deletes it (``is_record_of_rest``). Source: streaming contract 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.objects import Object, has_ended, is_being_deleted
from core.api.phases import LiveReason, Phase
from core.workloads.live_run import (
    generation_of_story,
    is_always_on,
    is_live_run_of,
    is_replaced,
    is_succeeded_by_another,
    restarts_of,
)

FIRST_PAUSE: Final = timedelta(seconds=10)
"""Between the end of a run that failed and its successor; doubled for each further run that fails early."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
FAILS_EARLY: Final = timedelta(minutes=10)
"""A run that lived longer does not make the next pause longer."""
_RESTARTED: Final = (Phase.FAILED, Phase.TIMEOUT, Phase.COMPENSATED, Phase.ABORTED)
"""Ends without a request."""
_MOST_DOUBLINGS: Final = 10


@dataclass(frozen=True, slots=True)
class LiveSuccessor:
    """The run to create."""

    predecessor: str
    """UID of the run before; empty: there is none."""
    restarts: int


@dataclass(frozen=True, slots=True)
class LiveDecision:
    """What to do now, and what the Story shows."""

    reason: LiveReason
    message: str
    run: Object | None = None
    """The run to show."""
    end: tuple[tuple[Object, str], ...] = ()
    """Runs to cancel, each with the reason for people."""
    start: LiveSuccessor | None = None
    until: datetime | None = None
    """When to look again without an event."""


def ending_all(runs: Iterable[Object], why: str) -> tuple[tuple[Object, str], ...]:
    """The live runs that the operator has not asked to end yet."""
    return tuple((run, why) for run in runs if _is_alive(run) and not _is_ending(run))


def decide(story: Object, runs: Sequence[Object], now: datetime, *, has_errors: bool) -> LiveDecision:
    """The decision for a Story that is always on.

    Args:
        runs: all runs that were made for Stories of this name, ended ones included.
        has_errors: whether the Story cannot be run as it is.
    """
    generation = int(story["metadata"].get("generation") or 0)
    kept = _current(story, generation, runs)
    alive = [run for run in runs if _is_alive(run)]
    if has_errors:
        return _with_errors(alive, runs)
    others = [run for run in alive if run is not kept]
    end = ending_all(others, f"replaced by generation {generation} of the Story")
    if kept is not None and _is_ending(kept):
        return LiveDecision(LiveReason.ENDING, f"StoryRun {_name(kept)} is ending", kept, end)
    if kept is not None:
        return LiveDecision(LiveReason.RUNNING, f"StoryRun {_name(kept)} is the run of this Story", kept, end)
    if others:
        shown = _newest(others, runs)
        message = f"StoryRun {_name(shown)} is ending; the next one starts when it has ended"
        return LiveDecision(LiveReason.ENDING, message, shown, end)
    return _after_the_end(story, generation, runs, now)


def is_record_of_rest(run: Object, story: Object | None, runs: Iterable[Object]) -> bool:
    """Whether an ended run is all that says that the Story rests, or how often it has failed in a row.

    Args:
        runs: all runs that were made for Stories of this name.
    """
    if story is None or not is_always_on(story.get("spec") or {}) or not is_live_run_of(run, story):
        return False
    if is_replaced(run) or generation_of_story(run) != int(story["metadata"].get("generation") or 0):
        return False
    return not is_succeeded_by_another(run, runs)


def _with_errors(alive: Sequence[Object], runs: Sequence[Object]) -> LiveDecision:
    message = "the Story has errors, see its condition Ready; no run is started"
    shown = _newest(alive or runs, runs)
    if alive:
        message = f"{message}; StoryRun {_name(shown)} continues unchanged"
    return LiveDecision(LiveReason.NOT_STARTED, message, shown)


def _after_the_end(story: Object, generation: int, runs: Sequence[Object], now: datetime) -> LiveDecision:
    """Every run has ended, or is being deleted."""
    own = [run for run in runs if is_live_run_of(run, story)]
    last = _newest(own, own)
    if last is not None and is_being_deleted(last):
        message = f"StoryRun {_name(last)} is being deleted; the next one starts when it has been deleted"
        return LiveDecision(LiveReason.ENDING, message, last)
    before = str(last["metadata"]["uid"]) if last is not None else ""
    if last is None or generation_of_story(last) != generation or is_replaced(last):
        return _starting(last, LiveSuccessor(before, 0))
    if (last.get("spec") or {}).get("cancelRequested") is True:
        message = f"StoryRun {_name(last)} was canceled; change the Story or delete that run to start another one"
        return LiveDecision(LiveReason.CANCELED, message, last)
    if (last.get("status") or {}).get("phase") not in _RESTARTED:
        message = f"StoryRun {_name(last)} has finished; change the Story or delete that run to start another one"
        return LiveDecision(LiveReason.FINISHED, message, last)
    restarts, due = _restart(last)
    if now < due:
        message = f"StoryRun {_name(last)} is {last['status']['phase']}; the next one starts at {format_instant(due)}"
        return LiveDecision(LiveReason.RESTARTING, message, last, until=due)
    return _starting(last, LiveSuccessor(before, restarts))


def _starting(last: Object | None, successor: LiveSuccessor) -> LiveDecision:
    return LiveDecision(LiveReason.RESTARTING, "the run is being started", last, start=successor)


def _restart(run: Object) -> tuple[int, datetime]:
    """How many runs in a row have failed early, this one included, and when its successor starts."""
    finished = parse_instant_or_none(run["status"].get("finishedAt"))
    made = parse_instant_or_none(run["metadata"].get("creationTimestamp"))
    assert made is not None, "the API server stamps every object"
    ended = finished or made
    restarts = restarts_of(run) + 1 if ended - made < FAILS_EARLY else 0
    doublings = min(max(restarts - 1, 0), _MOST_DOUBLINGS)
    return restarts, ended + min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)


def _current(story: Object, generation: int, runs: Sequence[Object]) -> Object | None:
    """The live run to keep; normally there is one at most."""
    fitting = [
        run
        for run in runs
        if _is_alive(run)
        and is_live_run_of(run, story)
        and generation_of_story(run) == generation
        and not is_replaced(run)
    ]
    return _newest(fitting, runs)


def _newest(candidates: Sequence[Object], runs: Sequence[Object]) -> Object | None:
    """The last of a chain of runs. Each names the one before, because creation times have whole seconds only."""
    last = [run for run in candidates if not is_succeeded_by_another(run, runs)] or list(candidates)
    return max(
        last, key=lambda run: (generation_of_story(run), run["metadata"]["creationTimestamp"], _name(run)), default=None
    )


def _is_alive(run: Object) -> bool:
    """Also while it is being deleted, until it is gone or has ended."""
    return not has_ended(run)


def _is_ending(run: Object) -> bool:
    return is_being_deleted(run) or (run.get("spec") or {}).get("cancelRequested") is True


def _name(run: Object | None) -> str:
    return str(run["metadata"]["name"]) if run is not None else ""
