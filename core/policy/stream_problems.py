"""What is wrong with streaming settings and raw provider settings of Stories, Transports and TransportBindings. Pure.

One list for admission and for the status of a Transport: admission may be down. The schema of the kind checks bounds
and enums. Source: admission contract 4.7, 12.2 and 12.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

from core.api.duration_field import duration_problem
from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.text import text
from core.expressions import analysis
from core.expressions.scopes import REALTIME_RUNTIME

SECURITY_MODE: Final = "BUBU_TRANSPORT_SECURITY_MODE"
_THRESHOLDS: Final = (("pauseThreshold", 90), ("resumeThreshold", 50))
"""Percent of the buffer, and the value if it is absent."""
_SAMPLE_POLICIES: Final = ("", "rate", "random", "always", "never")


class StreamProblem(StrEnum):
    """The kind of a problem; the values are the names of the rules of admission."""

    DURATION = "stream/duration"
    DURABLE = "stream/durable"
    SAMPLE_POLICY = "stream/sample-policy"
    BLANK = "stream/blank"
    LANE_TAKEN = "stream/lane-taken"
    TARGET_BLANK = "stream/target-blank"
    TARGET_TAKEN = "stream/target-taken"
    CONDITION = "stream/condition"
    QUORUM = "stream/quorum"
    INSECURE = "stream/insecure"


Problems: TypeAlias = Iterator[tuple[StreamProblem, FieldError]]


def stream_problems(streaming: ReadOnlyObject, path: str) -> Problems:
    """Why the streaming settings at ``path``, which match their schema, cannot be used."""
    flow, delivery = streaming.get("flowControl") or {}, streaming.get("delivery") or {}
    durations = (
        duration_problem(flow.get("ackEvery") or {}, "maxDelay", f"{path}.flowControl.ackEvery"),
        duration_problem(delivery.get("replay") or {}, "checkpointInterval", f"{path}.delivery.replay"),
    )
    yield from ((StreamProblem.DURATION, problem) for problem in durations if problem is not None)
    yield from ((StreamProblem.DURABLE, problem) for problem in durable_problems(streaming, path))
    tracing = (streaming.get("observability") or {}).get("tracing") or {}
    if text(tracing.get("samplePolicy")).lower() not in _SAMPLE_POLICIES:
        where, message = (
            f"{path}.observability.tracing.samplePolicy",
            f"must be one of {', '.join(_SAMPLE_POLICIES[1:])}",
        )
        yield StreamProblem.SAMPLE_POLICY, FieldError(where, message, "use one of these values")
    partitioning = streaming.get("partitioning") or {}
    if partitioning.get("key") is not None and not text(partitioning["key"]):
        where = f"{path}.partitioning.key"
        yield StreamProblem.BLANK, FieldError(where, "must not be blank", "give a path, or leave it out")
    for index, field in enumerate((streaming.get("recording") or {}).get("redactFields") or ()):
        if not text(field):
            where = f"{path}.recording.redactFields[{index}]"
            yield StreamProblem.BLANK, FieldError(where, "must not be blank", "remove it")
    yield from _fan_in(streaming.get("fanIn") or {}, f"{path}.fanIn")
    yield from _lanes(streaming, path)
    for index, rule in enumerate((streaming.get("routing") or {}).get("rules") or ()):
        yield from _condition(rule, f"{path}.routing.rules[{index}].when")
        yield from _targets(rule, f"{path}.routing.rules[{index}].target.steps")


def durable_problems(streaming: ReadOnlyObject, path: str) -> Iterator[FieldError]:
    """Whether the settings at ``path``, of any shape, ask for packets that outlive the hub, which no hub keeps yet."""
    found: Any = streaming
    for key in ("delivery", "replay", "mode"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found == "durable":
        where = f"{path}.delivery.replay.mode".removeprefix(".")
        message = "durable is not built yet: no hub keeps packets on a disk"
        yield FieldError(where, message, "use memory: nothing is lost while the hub lives")


def stream_doubts(streaming: ReadOnlyObject, path: str) -> list[FieldError]:
    """What is probably a mistake: a threshold for resuming above the one for pausing."""
    flow = streaming.get("flowControl") or {}
    pause, resume = (_percent(flow, key, default) for key, default in _THRESHOLDS)
    if resume <= pause:
        return []
    where = f"{path}.flowControl.resumeThreshold.bufferPct"
    message = f"is {resume} percent, above pauseThreshold.bufferPct with {pause} percent"
    return [FieldError(where, message, f"use {pause} or less")]


def settings_problems(settings: Any, path: str) -> Problems:
    """Whether raw settings at ``path`` weaken the transport's security; the provider checks the others."""
    if not isinstance(settings, Mapping):
        return
    environment = settings.get("env")
    if environment is None:
        return
    if not isinstance(environment, Mapping):
        yield StreamProblem.INSECURE, FieldError(f"{path}.env", "must be an object", "write NAME: value pairs")
    elif SECURITY_MODE in environment and text(environment[SECURITY_MODE]).lower() != "tls":
        where = f"{path}.env.{SECURITY_MODE}"
        yield StreamProblem.INSECURE, FieldError(where, "must be tls", "write tls, or leave it out")


def _percent(flow: ReadOnlyObject, key: str, default: int) -> int:
    given: int | None = (flow.get(key) or {}).get("bufferPct")
    return default if given is None else given


def _condition(rule: ReadOnlyObject, path: str) -> Problems:
    condition = text(rule.get("when"))
    for problem in analysis.check_condition(condition, path, REALTIME_RUNTIME) if condition else ():
        where = f" (line {problem.position.line}, column {problem.position.column})" if problem.position else ""
        found = FieldError(problem.path, problem.message + where, problem.remedy, problem.excerpt)
        yield StreamProblem.CONDITION, found


def _fan_in(fan_in: ReadOnlyObject, path: str) -> Problems:
    is_quorum, quorum, where = fan_in.get("mode") == "quorum", fan_in.get("quorum"), f"{path}.quorum"
    if is_quorum and quorum is None:
        remedy = "set the number of upstreams that suffice"
        yield StreamProblem.QUORUM, FieldError(where, "is required with mode quorum", remedy)
    elif not is_quorum and quorum is not None:
        yield StreamProblem.QUORUM, FieldError(where, "is used with mode quorum only", "set mode: quorum, or remove it")


def _lanes(streaming: ReadOnlyObject, path: str) -> Problems:
    seen: dict[tuple[str, str], int] = {}
    for index, lane in enumerate(streaming.get("lanes") or ()):
        for key in ("name", "kind"):
            value = text(lane.get(key))
            first = seen.setdefault((key, value), index)
            if value and first != index:
                where, message = f"{path}.lanes[{index}].{key}", f"{value!r} is already used by {path}.lanes[{first}]"
                remedy = f"use another {key}, or remove the lane"
                yield StreamProblem.LANE_TAKEN, FieldError(where, message, remedy)


def _targets(rule: ReadOnlyObject, path: str) -> Problems:
    seen: set[str] = set()
    for index, target in enumerate((rule.get("target") or {}).get("steps") or ()):
        name, where = text(target), f"{path}[{index}]"
        if not name:
            remedy = "name a step, or remove it"
            yield StreamProblem.TARGET_BLANK, FieldError(where, "must not be blank", remedy)
        elif name in seen:
            yield StreamProblem.TARGET_TAKEN, FieldError(where, f"{name!r} is already in this list", "remove it")
        seen.add(name)
