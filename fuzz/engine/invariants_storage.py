"""I57 to I60: what the engine puts into object storage is there before anybody is referred to it, and nothing large
stays in an object; an output from the cache is that of an equal execution; stored data goes with its run, and never
before.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from bubu_contract.references import STORAGE_REFERENCE, is_intact
from core.api import keys
from core.api.objects import Object, step_path
from core.engine.errors import RejectedError
from core.engine.step.assignment import assignment_of
from core.engine.step.manifest import size_bytes
from core.expressions.paths import is_reference
from core.workloads.trigger import is_answered
from fuzz.engine.cluster import Place, Write
from fuzz.engine.definitions import NAMESPACE
from fuzz.engine.history import History, by_operator, started_by, status_of
from fuzz.engine.storage_cases import INLINE_BYTES, INLINE_INPUTS_BYTES
from fuzz.engine.stored import ABSENT, STORED, value_of
from fuzz.engine.warm_workers import INPUTS
from fuzz.engine.watches import controller_owner
from reconcilers.stored_data import GIVE_UP_AFTER

_REFERRING: Final = ("StoryRun", "StepRun", "StoryTrigger")
_REPEATED: Final = "participant"
"""The input that the steps of some cases repeat."""


def references_lead_to_objects(history: History) -> Iterator[str]:
    """I57: every object that a write of the operator refers to was stored before that write, with its checksum.
    Containers refer to one that is absent.
    """
    objects, stored_after = history.played.stored, history.played.stored_after
    seen = set[int]()
    for write in history.writes():
        if not by_operator(write) or write.new is None:
            continue
        for key in set(_keys_in([write.new, _inputs_assigned(write)], seen)) - STORED.keys() - {ABSENT}:
            if key not in stored_after:
                yield f"{write.place} refers to {key}, which was never stored"
            elif stored_after[key] >= write.number:
                yield f"{write.place} refers to {key} before it was stored"
            elif key in objects and not is_intact(key, objects[key]):
                yield f"{key} has other content than its key says"


def large_values_are_stored(history: History) -> Iterator[str]:
    """I58: with an object store, inputs of attempts, branches and called Stories, and outputs of runs, have a bounded
    size.
    """
    for write in history.writes():
        if not by_operator(write) or write.new is None:
            continue
        for field, value, limit_bytes in _bounded(history, write):
            if size_bytes(value) > limit_bytes and not is_reference(value):
                yield f"{field} of {write.place} has {size_bytes(value)} bytes"


def cached_outputs_were_produced(history: History) -> Iterator[str]:
    """I59: a cached output is what a container has reported for the same step, and no container has reported another
    one. No effect is left out: neither a step with side effects nor a clean-up step takes the output of another run. An
    output that repeats an input of its run repeats that of the run that has it.
    """
    reported: dict[str, list[Any]] = {}
    inputs: dict[str, Any] = {}
    executes = _always_execute(history)
    for write in history.writes():
        if write.place[0] == "StoryRun" and write.new is not None:
            inputs[write.place[2]] = write.new["spec"].get("inputs") or {}
        if write.place[0] != "StepRun" or write.new is None:
            continue
        name, status, step = write.place[2], status_of(write.new), step_path(write.new)
        if not status.get("cached"):
            if status.get("output") is not None and not by_operator(write):
                reported.setdefault(name, []).append((step, _whole(history, status["output"])))
            continue
        source = status["cachedFrom"]["stepRun"]
        if (step, _whole(history, status["output"])) not in reported.get(source, []):
            yield f"{name} has an output that {source} has not reported"
        if name in reported:
            yield f"{name} has an output from the cache, and one from its container"
        if step in executes:
            yield f"{name} has an output of another run, although its step has to execute"
        told, own = status["output"].get(_REPEATED), inputs[write.new["spec"]["storyRunRef"]["name"]]
        if told is not None and told != own.get(_REPEATED):
            yield f"{name} has an output of other inputs"


def _whole(history: History, output: Any) -> Any:
    """``output`` with its stored data, which is copied for another owner; as it is if some of that was never there."""
    deleted = {each.key: each.content for each in history.played.discarded}
    try:
        return value_of(output, NAMESPACE, "output", {**deleted, **history.played.stored})
    except RejectedError:
        return output


def _always_execute(history: History) -> set[str]:
    spec = history.played.case.spec
    effects = (step for step in spec.get("steps") or () if step.get("sideEffects"))
    cleaning = (step for group in ("compensations", "finally") for step in spec.get(group) or ())
    return set() if _has_cache(history) else {step["name"] for step in (*effects, *cleaning)}


def _has_cache(history: History) -> bool:
    return any(engram.cache is not None for engram in history.played.case.engrams.values())


def referred_data_stays(history: History) -> Iterator[str]:
    """I60: nothing is deleted from the store to which an object refers that is not being deleted itself."""
    referred: dict[Place, set[str]] = {}
    pending = deque(history.played.discarded)
    if not pending:
        return
    for write in history.played.history:
        if write.place[0] in _REFERRING:
            refers = write.new is not None and not _is_let_go(write.new)
            referred[write.place] = set(_keys_in(write.new, set())) if refers else set()
        while pending and pending[0].after == write.number:
            key = pending.popleft().key
            for place in [place for place, found in referred.items() if key in found]:
                yield f"{key} was deleted, to which {place} refers"


def stored_data_goes(history: History) -> Iterator[str]:
    """I60: of a run that was deleted, nothing is left in the store that was there before its deletion was requested."""
    if not history.played.stored:
        return
    owners, going, gone = dict[str, set[str]](), dict[str, Write](), dict[str, Write]()
    for write in history.played.history:
        obj = write.object
        if write.place[0] == "StepRun" and (owner := controller_owner(obj)) is not None:
            owners.setdefault(owner["uid"], set()).add(write.place[2])
        elif write.place[0] == "StoryRun":
            if write.new is None:
                gone[obj["metadata"]["uid"]] = write
            elif write.new["metadata"].get("deletionTimestamp"):
                going.setdefault(obj["metadata"]["uid"], write)
    objects = [obj for obj in history.played.objects.values() if obj["kind"] in _REFERRING]
    referred = {key for obj in objects for key in _keys_in(obj, set())}
    names = {place[2] for place in history.played.objects}
    for uid, end in gone.items():
        if uid not in going or end.at - going[uid].at >= GIVE_UP_AFTER:
            continue
        left = ({end.place[2]} | owners.get(uid, set())) - names
        for key in history.played.stored.keys() - referred:
            if key.split("/")[2] in left and history.played.stored_last[key] < going[uid].number:
                yield f"{key} is left of {end.place[2]}, which is gone"


def _is_let_go(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp")) or (obj["kind"] == "StoryTrigger" and is_answered(obj))


def _bounded(history: History, write: Write) -> Iterator[tuple[str, Any, int]]:
    assert write.new is not None
    spec = write.new.get("spec") or {}
    if write.place[0] == "Job":
        engram = history.played.case.engrams.get("work")
        if engram is not None and engram.shares_store:
            yield "inputs", spec["inputs"], INLINE_BYTES
    elif write.place[0] == "StepRun":
        engram = history.played.case.engrams.get("work")
        if engram is not None and engram.shares_store:
            yield "inputs", _inputs_assigned(write), INLINE_BYTES
        if write.old is None and keys.ANNOTATION_STEP_PATH in write.new["metadata"].get("annotations", {}):
            yield "input", spec.get("input"), INLINE_BYTES
    elif write.place[0] == "StoryRun":
        yield "output", status_of(write.new).get("output"), INLINE_BYTES
        if write.old is None:
            yield "inputs", spec.get("inputs"), INLINE_INPUTS_BYTES


def _inputs_assigned(write: Write) -> Any:
    """The inputs of the attempt that a worker gets with this write."""
    assignment = assignment_of(write.object) if write.place[0] == "StepRun" and started_by(write) is not None else None
    return json.loads(assignment.environment[INPUTS]) if assignment is not None else {}


def _keys_in(value: Any, seen: set[int]) -> Iterator[str]:
    """The keys in parts that are not in ``seen`` yet: versions of an object share what has not changed."""
    pending = [value]
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if is_reference(each):
            yield each[STORAGE_REFERENCE]
        inner = each.values() if isinstance(each, dict) else each
        pending += [part for part in inner if isinstance(part, dict | list)]


CHECKS = {
    "I57": references_lead_to_objects,
    "I58": large_values_are_stored,
    "I59": cached_outputs_were_produced,
    "I60 stays": referred_data_stays,
    "I60 goes": stored_data_goes,
}
