"""I44: the process that owns a run, a StoryTrigger or a claim at that moment writes what is written for it.

Requests of the old owner are answered before there is a new one. If the old owner releases the run late, such a request
may still arrive afterwards. So may a request that took so long that the engine stopped waiting for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api import keys
from core.api.objects import NamespacedName
from core.engine.calls import WRITE_DEADLINE_SECONDS
from core.ownership.ownership import OwnedKey
from fuzz.engine.answers import origin_of
from fuzz.engine.cluster import Write
from fuzz.engine.history import OF_ATTEMPTS, History, by_operator
from fuzz.engine.kept import is_going
from fuzz.engine.model_hub import BINDING
from fuzz.engine.routing import key_of_run
from fuzz.engine.shards import FIRST_SHARD, Change
from fuzz.engine.watches import controller_owner
from fuzz.engine.world import EPOCH

LONGEST_SECONDS: Final = 2 * WRITE_DEADLINE_SECONDS
"""By then, a request that the engine stopped waiting for has arrived."""


def only_owners_write(history: History) -> Iterator[str]:
    """I44: only the owner of an object writes for it."""
    if not history.is_sharded:
        return
    for write in history.writes():
        if not by_operator(write):
            continue
        keys = [*_made_for(history, write)]
        changes = [_last_change(history, key, write) for key in keys]
        shard = history.played.shards[write.actor]
        if changes and not any(_may_write(history, write, shard, change) for change in changes):
            yield f"{write.actor} of shard {shard}: {write.verb} {write.place}, after {changes}"


def _made_for(history: History, write: Write) -> Iterator[OwnedKey]:
    """The objects for which the write may have been made: all, if it may have several reasons; none, if it may be any
    run.
    """
    kind, namespace, name = write.place
    if kind in ("StoryTrigger", "EffectClaim"):
        yield NamespacedName(namespace, name)
    elif write.verb == "create" and kind == "StoryRun" and origin_of(write.object):
        yield NamespacedName(namespace, write.object["metadata"]["annotations"][keys.ANNOTATION_TRIGGER_REQUEST_NAME])
    elif kind in ("StepRun", BINDING, *OF_ATTEMPTS):
        run = history.run_of(write.object)
        if run is not None:
            yield key_of_run(run)
    elif kind == "StoryRun" and not _asks_to_cancel(write):
        goes = is_going(write)
        if write.verb != "create":
            yield key_of_run(write.object)
        owner = controller_owner(write.object)
        if owner is not None and (goes or write.verb == "create"):
            yield NamespacedName(namespace, owner["name"])


def _asks_to_cancel(write: Write) -> bool:
    """Newer runs of a Story cancel older ones, and a run cancels the runs that it has called."""
    return write.old is not None and write.new is not None and write.old.get("spec") != write.new.get("spec")


def _last_change(history: History, key: OwnedKey, write: Write) -> Change | None:
    """The last hand-over of the key before the write."""
    changes = reversed(history.played.owners)
    return next((change for change in changes if change.key == key and change.after < write.number), None)


def _may_write(history: History, write: Write, shard: int, change: Change | None) -> bool:
    """Whether a process of the shard has owned the run since ``change``, or sent the write before."""
    if change is None:
        return shard == FIRST_SHARD
    if shard == change.shard or change.shard is None:
        return shard in (change.shard, change.giver)
    seconds = (write.at - EPOCH).total_seconds() - change.at
    if "request timeout" in history.played.seen or (history.requests_take_time and not change.let_go):
        return seconds <= LONGEST_SECONDS
    return seconds == 0.0 and not change.let_go
