"""Streaming settings and raw provider settings, for Stories, Transports and TransportBindings.

The schema of the kind checks bounds and enums. Source: admission contract 4.7, 12.2 and 12.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.expressions import analysis
from core.expressions.scopes import REALTIME_RUNTIME
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import duration
from webhooks.validate.change import text

STREAM_DURATION: Final = Rule("stream/duration", "12.2")
SAMPLE_POLICY: Final = Rule("stream/sample-policy", "12.2")
BLANK: Final = Rule("stream/blank", "12.2", CauseType.REQUIRED)
LANE_TAKEN: Final = Rule("stream/lane-taken", "12.2", CauseType.DUPLICATE)
TARGET_BLANK: Final = Rule("stream/target-blank", "12.2", CauseType.REQUIRED)
TARGET_TAKEN: Final = Rule("stream/target-taken", "12.2", CauseType.DUPLICATE)
THRESHOLDS: Final = Rule("stream/thresholds", "12.2", severity=Severity.WARNING)
CONDITION: Final = Rule("stream/condition", "4.7")
QUORUM: Final = Rule("stream/quorum", "12.2")
INSECURE: Final = Rule("stream/insecure", "12.3")

SECURITY_MODE: Final = "BUBU_TRANSPORT_SECURITY_MODE"

_THRESHOLDS: Final = (("pauseThreshold", 90), ("resumeThreshold", 50))
"""Percent of the buffer, and the value if it is absent."""
_SAMPLE_POLICIES: Final = ("", "rate", "random", "always", "never")


def check(streaming: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """Findings about the streaming settings at ``path``, which match their schema."""
    flow, delivery = streaming.get("flowControl") or {}, streaming.get("delivery") or {}
    yield from duration.check(STREAM_DURATION, flow.get("ackEvery") or {}, "maxDelay", f"{path}.flowControl.ackEvery")
    yield from duration.check(
        STREAM_DURATION, delivery.get("replay") or {}, "checkpointInterval", f"{path}.delivery.replay"
    )
    tracing = (streaming.get("observability") or {}).get("tracing") or {}
    if text(tracing.get("samplePolicy")).lower() not in _SAMPLE_POLICIES:
        message = f"must be one of {', '.join(_SAMPLE_POLICIES[1:])}"
        yield SAMPLE_POLICY.at(f"{path}.observability.tracing.samplePolicy", message, "use one of these values")
    partitioning = streaming.get("partitioning") or {}
    if partitioning.get("key") is not None and not text(partitioning["key"]):
        yield BLANK.at(f"{path}.partitioning.key", "must not be blank", "give a path, or leave it out")
    for index, field in enumerate((streaming.get("recording") or {}).get("redactFields") or ()):
        if not text(field):
            yield BLANK.at(f"{path}.recording.redactFields[{index}]", "must not be blank", "remove it")
    yield from _fan_in(streaming.get("fanIn") or {}, f"{path}.fanIn")
    yield from _lanes(streaming, path)
    yield from _thresholds(flow, f"{path}.flowControl")
    for index, rule in enumerate((streaming.get("routing") or {}).get("rules") or ()):
        yield from _condition(rule, f"{path}.routing.rules[{index}].when")
        yield from _targets(rule, f"{path}.routing.rules[{index}].target.steps")


def check_settings(settings: Any, path: str) -> Iterator[Finding]:
    """Findings if raw settings at ``path`` weaken the transport's security; the provider checks the others."""
    if not isinstance(settings, Mapping):
        return
    environment = settings.get("env")
    if environment is None:
        return
    if not isinstance(environment, Mapping):
        yield INSECURE.at(f"{path}.env", "must be an object", "write NAME: value pairs")
    elif SECURITY_MODE in environment and text(environment[SECURITY_MODE]).lower() != "tls":
        yield INSECURE.at(f"{path}.env.{SECURITY_MODE}", "must be tls", "write tls, or leave it out")


def _thresholds(flow: ReadOnlyObject, path: str) -> Iterator[Finding]:
    pause, resume = (_percent(flow, key, default) for key, default in _THRESHOLDS)
    if resume > pause:
        message = f"is {resume} percent, above pauseThreshold.bufferPct with {pause} percent"
        yield THRESHOLDS.at(f"{path}.resumeThreshold.bufferPct", message, f"use {pause} or less")


def _percent(flow: ReadOnlyObject, key: str, default: int) -> int:
    given: int | None = (flow.get(key) or {}).get("bufferPct")
    return default if given is None else given


def _condition(rule: ReadOnlyObject, path: str) -> Iterator[Finding]:
    condition = text(rule.get("when"))
    for problem in analysis.check_condition(condition, path, REALTIME_RUNTIME) if condition else ():
        where = f" (line {problem.position.line}, column {problem.position.column})" if problem.position else ""
        yield CONDITION.at(problem.path, problem.message + where, problem.remedy, problem.excerpt)


def _fan_in(fan_in: ReadOnlyObject, path: str) -> Iterator[Finding]:
    is_quorum, quorum = fan_in.get("mode") == "quorum", fan_in.get("quorum")
    if is_quorum and quorum is None:
        yield QUORUM.at(f"{path}.quorum", "is required with mode quorum", "set the number of upstreams that suffice")
    elif not is_quorum and quorum is not None:
        yield QUORUM.at(f"{path}.quorum", "is used with mode quorum only", "set mode: quorum, or remove it")


def _lanes(streaming: ReadOnlyObject, path: str) -> Iterator[Finding]:
    seen: dict[tuple[str, str], int] = {}
    for index, lane in enumerate(streaming.get("lanes") or ()):
        for key in ("name", "kind"):
            value = text(lane.get(key))
            first = seen.setdefault((key, value), index)
            if value and first != index:
                message = f"{value!r} is already used by {path}.lanes[{first}]"
                yield LANE_TAKEN.at(f"{path}.lanes[{index}].{key}", message, f"use another {key}, or remove the lane")


def _targets(rule: ReadOnlyObject, path: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, target in enumerate((rule.get("target") or {}).get("steps") or ()):
        name = text(target)
        if not name:
            yield TARGET_BLANK.at(f"{path}[{index}]", "must not be blank", "name a step, or remove it")
        elif name in seen:
            yield TARGET_TAKEN.at(f"{path}[{index}]", f"{name!r} is already in this list", "remove it")
        seen.add(name)
