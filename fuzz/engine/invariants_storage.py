"""I57 to I59: what the engine puts into object storage is there before anybody is referred to it, and nothing large
stays in an object; an output from the cache is that of an equal execution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.api.objects import step_path
from core.api.reference_keys import STORAGE_REFERENCE
from core.engine.step.manifest import size_bytes
from core.expressions.paths import is_reference
from core.payloads.address import is_intact
from fuzz.engine.cluster import Write
from fuzz.engine.history import History, by_operator, status_of
from fuzz.engine.storage_cases import INLINE_BYTES, INLINE_INPUTS_BYTES
from fuzz.engine.stored import ABSENT, STORED


def references_lead_to_objects(history: History) -> Iterator[str]:
    """I57: every object that a write of the operator refers to was stored before that write, with its checksum.
    Containers refer to one that is absent.
    """
    objects, stored_after = history.played.stored, history.played.stored_after
    seen = set[int]()
    for write in history.writes():
        if not by_operator(write) or write.new is None:
            continue
        for key in set(_keys_in(write.new, seen)) - STORED.keys() - {ABSENT}:
            if key not in objects:
                yield f"{write.place} refers to {key}, which was never stored"
            elif stored_after[key] >= write.number:
                yield f"{write.place} refers to {key} before it was stored"
            elif not is_intact(key, objects[key]):
                yield f"{key} has other content than its key says"


def large_values_are_stored(history: History) -> Iterator[str]:
    """I58: with an object store, inputs of attempts and of called Stories, and outputs of runs, have a bounded size."""
    for write in history.writes():
        if not by_operator(write) or write.new is None:
            continue
        for field, value, limit_bytes in _bounded(history, write):
            if size_bytes(value) > limit_bytes and not is_reference(value):
                yield f"{field} of {write.place} has {size_bytes(value)} bytes"


def cached_outputs_were_produced(history: History) -> Iterator[str]:
    """I59: a cached output is what a container has reported for the same step, and no container has reported another
    one.
    """
    reported: dict[str, list[Any]] = {}
    for write in history.writes():
        if write.place[0] != "StepRun" or write.new is None:
            continue
        name, status, step = write.place[2], status_of(write.new), step_path(write.new)
        if not status.get("cached"):
            if status.get("output") is not None and not by_operator(write):
                reported.setdefault(name, []).append((step, status["output"]))
            continue
        source = status["cachedFrom"]["stepRun"]
        if (step, status["output"]) not in reported.get(source, []):
            yield f"{name} has an output that {source} has not reported"
        if name in reported:
            yield f"{name} has an output from the cache, and one from its container"


def _bounded(history: History, write: Write) -> Iterator[tuple[str, Any, int]]:
    assert write.new is not None
    spec = write.new.get("spec") or {}
    if write.place[0] == "Job":
        engram = history.played.case.engrams.get("work")
        if engram is not None and engram.shares_store:
            yield "inputs", spec["inputs"], INLINE_BYTES
    elif write.place[0] == "StoryRun":
        yield "output", status_of(write.new).get("output"), INLINE_BYTES
        if write.old is None:
            yield "inputs", spec.get("inputs"), INLINE_INPUTS_BYTES


def _keys_in(value: Any, seen: set[int]) -> Iterator[str]:
    """The keys that are not in a part which has been seen: versions of an object share what has not changed."""
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
}
