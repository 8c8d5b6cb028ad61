"""How an attempt is given to a worker that always runs: by metadata of its StepRun. Pure.

The *assignment* says which worker carries out which attempt, until when, and with which variables. It is stored with
the StepRun or later, in one write either way, and never removed: the next attempt replaces it. The worker answers in
``status.workerExit``: the process of that attempt has ended, so nothing runs any more.
Source: StepRun contract 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from bubu_contract.instants import format_precise_instant, parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.api.phases import Reason
from core.engine.errors import RejectedError

MAX_ASSIGNMENT_BYTES: Final = 192 * 1024
"""Annotations of an object may have 256 KiB together."""
_SMALL_CHARACTERS: Final = 4096
"""Of the assignments that are remembered."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt, given to one worker."""

    attempt: int
    worker: str
    """Name of its Pod."""
    worker_uid: str
    """UID of its Pod."""
    deadline_at: datetime | None = None
    """Aware UTC."""
    execution_key: str = ""
    """What equal executions have in common; empty: it has no equal."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables of this step that differ from those of the worker's container."""


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """The process of an attempt has ended."""

    attempt: int
    exit_code: int
    finished_at: datetime | None = None


def assignment_of(step_run: Object) -> Assignment | None:
    """The assignment of the attempt that was assigned last; None: there is none, or it cannot be read."""
    text = ((step_run.get("metadata") or {}).get("annotations") or {}).get(keys.ANNOTATION_ASSIGNMENT)
    if not isinstance(text, str):
        return None
    return _read_again(text) if len(text) <= _SMALL_CHARACTERS else _read(text)


def _read(text: str) -> Assignment | None:
    try:
        wire = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(wire, dict) or not _is_number(wire.get("attempt")):
        return None
    worker, uid, key = (wire.get(name) for name in ("worker", "workerUid", "key"))
    if not (isinstance(worker, str) and worker and isinstance(uid, str)):
        return None
    environment = wire.get("environment")
    variables = environment.items() if isinstance(environment, dict) else ()
    return Assignment(
        wire["attempt"],
        worker,
        uid,
        parse_instant_or_none(wire.get("deadlineAt")),
        key if isinstance(key, str) else "",
        {name: value for name, value in variables if isinstance(value, str)},
    )


_read_again: Final = lru_cache(maxsize=256)(_read)
"""The same assignment is read a dozen times: by indexes, by the registry of workers, and at each look at the step."""


def assignment_patch(assignment: Assignment) -> Object:
    """Labels and annotations that assign the attempt: part of a manifest, or a merge patch of ``metadata``.

    Raises:
        RejectedError: ``InputTooLarge``, the variables have no room in an annotation.
    """
    wire: Object = {
        "attempt": assignment.attempt,
        "worker": assignment.worker,
        "workerUid": assignment.worker_uid,
        "environment": dict(assignment.environment),
    }
    if assignment.deadline_at is not None:
        wire["deadlineAt"] = format_precise_instant(assignment.deadline_at)
    if assignment.execution_key:
        wire["key"] = assignment.execution_key
    text = orjson.dumps(wire, option=orjson.OPT_SORT_KEYS)
    if len(text) > MAX_ASSIGNMENT_BYTES:
        raise RejectedError(
            f"the inputs and variables of the step have {len(text)} bytes; a warm worker gets at most "
            f"{MAX_ASSIGNMENT_BYTES}: pass large data through storage, or set execution.warm.enabled to false",
            reason=Reason.INPUT_TOO_LARGE,
        )
    return {
        "labels": {keys.LABEL_WORKER: assignment.worker},
        "annotations": {keys.ANNOTATION_ASSIGNMENT: text.decode()},
    }


def worker_exit_of(status: Mapping[str, Any]) -> WorkerExit | None:
    """``status.workerExit``: the last process that has ended; None: none has, or it cannot be read."""
    found = status.get("workerExit")
    if not isinstance(found, Mapping) or not _is_number(found.get("attempt")) or not _is_number(found.get("exitCode")):
        return None
    return WorkerExit(found["attempt"], found["exitCode"], parse_instant_or_none(found.get("finishedAt")))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
