"""I67 to I69: what a warm step costs, how much a worker is given, and how long a step waits for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from core.api import keys
from core.api.objects import Object
from core.engine.ports import WORKER
from core.engine.settings import EngineSettings
from core.engine.step.assignment import assignment_of
from core.engine.step.record import announced_end, end_is_requested, executor_of, is_final, retries_of
from core.engine.step.worker_observation import is_released
from fuzz.engine.actions import Verb
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import History, by_operator, started_by, starts_of, status_of
from fuzz.engine.warm_workers import ROOM
from fuzz.engine.world import EPOCH

ANNOUNCED: Final = timedelta(seconds=EngineSettings().announce_after_seconds)
A_MOMENT: Final = timedelta(seconds=1)
_MACHINES: Final = (Verb.DELETE_POD, Verb.CUT_OFF, Verb.KILL)
"""Actions that let no step start for the second time, or for another reason."""


def short_steps_cost_two_writes(history: History) -> Iterator[str]:
    """I67: the operator writes a StepRun of a warm step only to create it, to assign an attempt, to record that it
    runs, not before two seconds, to ask it to end, to count a retry, and to record its end. The first attempt of a step
    that was never at work is assigned with the creation, if a worker has room.
    """
    if not _has_warm_steps(history) or not history.prompt or history.did(Verb.STEP_CLOCK):
        return
    assigned_at: dict[str, datetime] = {}
    created_without: dict[str, Write] = {}
    could_start: set[str] = set()
    for write in history.writes():
        for uid, created in [*created_without.items()]:
            if write.at > created.at:
                del created_without[uid]
                if _has_room(history, created.at):
                    could_start.add(uid)
        if not _is_warm(write) or not by_operator(write) or write.new is None:
            continue
        uid = write.object["metadata"]["uid"]
        if started_by(write) is not None:
            assigned_at[uid] = write.at
            if (uid in could_start or uid in created_without) and _starts_once(history):
                yield f"{write.place[2]} was created without its attempt, although a worker had room"
        elif write.old is None:
            created_without[uid] = write
        elif why := _superfluous(history, write, assigned_at.get(uid)):
            yield f"{write.verb} of {write.place[2]} at {write.at}: {why}"


def _redrives(history: History) -> list[datetime]:
    """Requests to run again: also after one that it refuses, the operator looks at the run anew."""
    redrives = (each for each in history.played.case.actions if each.verb in (Verb.REDRIVE, Verb.REDRIVE_FROM))
    return [EPOCH + timedelta(seconds=each.at) for each in redrives]


def _superfluous(history: History, write: Write, assigned_at: datetime | None) -> str:
    old, new = status_of(write.old), status_of(write.new)
    assert write.old is not None
    assert write.new is not None
    is_due = is_final(new) or retries_of(new) > retries_of(old)
    if is_due or (end_is_requested(write.new) and not end_is_requested(write.old)):
        return ""
    if keys.ANNOTATION_CACHE_KEY in (write.new["metadata"].get("annotations") or {}):
        return ""
    if new.get("phase") != "Running" or assigned_at is None:
        return "it was not needed"
    resumed = any(assigned_at <= at <= write.at for at in [*starts_of(history), *_redrives(history)])
    return "" if resumed or write.at >= assigned_at + ANNOUNCED else "its attempt was not at work for long"


def workers_are_not_overburdened(history: History) -> Iterator[str]:
    """I68: no worker is given more attempts at once than it has room for; each process counts for itself."""
    if not _has_warm_steps(history) or not history.prompt or history.is_sharded:
        return
    for write in history.writes():
        if not _is_warm(write) or not by_operator(write) or started_by(write) is None or write.new is None:
            continue
        assignment = assignment_of(write.new)
        load = _loads(history.objects)[assignment.worker_uid] if assignment is not None else 0
        if load >= ROOM:
            yield f"{write.place[2]} was assigned to a worker with {load} attempts"


def room_is_used(history: History) -> Iterator[str]:
    """I69: no step waits for more than a second while a worker that was always there has room."""
    if not _has_warm_steps(history) or not history.prompt or not _starts_once(history):
        return
    since: dict[str, datetime] = {}
    """By UID of the StepRun: since when it waits in vain."""
    before: datetime | None = None
    for write in history.writes():
        if before is None or write.at > before:
            before = write.at
            waiting = _waiting(history) if _has_room(history, write.at) else []
            since = {uid: since.get(uid, write.at) for uid in waiting}
        for uid, at in since.items():
            if write.at > at + A_MOMENT:
                yield f"StepRun {uid} waited from {at} until {write.at}, although a worker had room"


def _waiting(history: History) -> list[str]:
    """The StepRuns of running runs whose first attempt is not assigned and may start."""
    found = []
    for place, obj in history.objects.items():
        run = history.run_of(obj) if place[0] == "StepRun" and executor_of(obj) == WORKER else None
        if run is None or obj.get("status") or assignment_of(obj) is not None or end_is_requested(obj):
            continue
        status = status_of(run)
        if not (run["spec"].get("cancelRequested") or announced_end(status) or status.get("finishedAt")):
            found.append(obj["metadata"]["uid"])
    return found


def _has_room(history: History, at: datetime) -> bool:
    """Whether a worker that was there all the time has room, beside that for the steps that wait already."""
    ready = [uid for uid, since in history.played.workers.items() if EPOCH + timedelta(seconds=since) <= at]
    loads = _loads(history.objects)
    free = sum(max(ROOM - loads[uid], 0) for uid in ready if uid not in history.played.missing_workers)
    return free > 0 and free >= len(_waiting(history))


def _loads(objects: Mapping[Place, Object]) -> Counter[str]:
    """By UID of a worker: the attempts that it has not let go of."""
    found = Counter[str]()
    for place, obj in objects.items():
        assignment = assignment_of(obj) if place[0] == "StepRun" and not is_released(obj) else None
        if assignment is not None:
            found[assignment.worker_uid] += 1
    return found


def _starts_once(history: History) -> bool:
    """Whether every step starts for the first time, by one process, and nobody looks for an earlier output."""
    case = history.played.case
    cached = any(engram.cache is not None for engram in case.engrams.values())
    reused = any(rival.reuses for rival in case.rivals)
    alone = len(history.played.starts) == 1
    return alone and not cached and not reused and all(action.verb in _MACHINES for action in case.actions)


def _is_warm(write: Write) -> bool:
    return write.place[0] == "StepRun" and executor_of(write.object) == WORKER


def _has_warm_steps(history: History) -> bool:
    return any(_is_warm(write) for write in history.played.history)


CHECKS = {
    "I67": short_steps_cost_two_writes,
    "I68": workers_are_not_overburdened,
    "I69": room_is_used,
}
