"""Streaming settings and raw provider settings, for Stories, Transports and TransportBindings.

What is wrong is decided in ``core.policy.stream_problems``, which the controller of Transports asks as well. Source:
admission contract 4.7, 12.2 and 12.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.policy.stream_problems import Problems, StreamProblem, settings_problems, stream_doubts, stream_problems
from webhooks.finding import CauseType, Finding, Rule, Severity

STREAM_DURATION: Final = Rule(StreamProblem.DURATION, "12.2")
DURABLE: Final = Rule(StreamProblem.DURABLE, "12.2", CauseType.FORBIDDEN)
SAMPLE_POLICY: Final = Rule(StreamProblem.SAMPLE_POLICY, "12.2")
BLANK: Final = Rule(StreamProblem.BLANK, "12.2", CauseType.REQUIRED)
LANE_TAKEN: Final = Rule(StreamProblem.LANE_TAKEN, "12.2", CauseType.DUPLICATE)
TARGET_BLANK: Final = Rule(StreamProblem.TARGET_BLANK, "12.2", CauseType.REQUIRED)
TARGET_TAKEN: Final = Rule(StreamProblem.TARGET_TAKEN, "12.2", CauseType.DUPLICATE)
THRESHOLDS: Final = Rule("stream/thresholds", "12.2", severity=Severity.WARNING)
CONDITION: Final = Rule(StreamProblem.CONDITION, "4.7")
QUORUM: Final = Rule(StreamProblem.QUORUM, "12.2")
INSECURE: Final = Rule(StreamProblem.INSECURE, "12.3")

_RULES: Final = {
    rule.id: rule
    for rule in (
        STREAM_DURATION,
        DURABLE,
        SAMPLE_POLICY,
        BLANK,
        LANE_TAKEN,
        TARGET_BLANK,
        TARGET_TAKEN,
        CONDITION,
        QUORUM,
        INSECURE,
    )
}


def check(streaming: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """Findings about the streaming settings at ``path``, which match their schema."""
    yield from _findings(stream_problems(streaming, path))
    yield from (THRESHOLDS.at(each.path, each.message, each.remedy) for each in stream_doubts(streaming, path))


def check_settings(settings: Any, path: str) -> Iterator[Finding]:
    """Findings if raw settings at ``path`` weaken the transport's security; the provider checks the others."""
    return _findings(settings_problems(settings, path))


def _findings(problems: Problems) -> Iterator[Finding]:
    for kind, found in problems:
        yield _RULES[kind].at(found.path, found.message, found.remedy, found.excerpt)
