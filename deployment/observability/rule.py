"""The tables of rules: alerts, recording rules, groups. Pure data, and the expressions that several rules share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

JOB: Final = "bobrapet"
"""The label ``job`` of the operator's metrics, as the scrape configuration sets it."""
HUB_JOB: Final = "bobrapet-hub"
BOTH_JOBS: Final = f"{JOB}|{HUB_JOB}"
PREFIX: Final = "Bobrapet"


class Urgency(StrEnum):
    CRITICAL = "critical"
    """Users are affected now: wake a person."""
    WARNING = "warning"
    """Users will be affected, or a few are: look at it today."""


@dataclass(frozen=True, slots=True)
class Alert:
    """``name`` is also the name of the runbook. ``summary`` and ``description`` are templates of Prometheus."""

    name: str
    urgency: Urgency
    expression: str
    hold: str
    """For how long the expression must give a result before the alert fires; ``0m``: at once."""
    summary: str
    description: str


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that is computed once for several readers, or whose expression would hide what an alert compares."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class RuleGroup:
    name: str
    recordings: tuple[RecordingRule, ...]
    alerts: tuple[Alert, ...]


def growth(series: str, window: str, *by: str) -> str:
    """By how much counters have grown within ``window``, also those that did not exist before.

    ``increase`` gives 0 for a series that begins with its first event. Such a series counts in full if its process was
    scraped before without it, or has started since; after a gap in Prometheus neither holds, and nothing is counted
    twice.

    Args:
        series: a selector of counters of processes that also have ``process_start_time_seconds``.
        window: a duration of PromQL, such as ``15m``.
    """
    known = f"up offset {window} == 1"
    started = f"process_start_time_seconds > time() - {_seconds(window)}"
    new = f"(({series}) unless ({series} offset {window})) and on (job, instance) ({known} or {started})"
    return f"sum by ({', '.join(by)}) (({new}) or increase({series}[{window}]))"


def ratio(part: str, whole: str, window: str, *by: str) -> str:
    """The share of ``part`` in ``whole``, both selectors of counters, over ``window``."""
    return f"sum by ({', '.join(by)}) (rate({part}[{window}])) / sum by ({', '.join(by)}) (rate({whole}[{window}]))"


def quantile(share: float, histogram: str, window: str, *by: str) -> str:
    """``histogram`` is the selector of its buckets."""
    return f"histogram_quantile({share:g}, sum by ({', '.join((*by, 'le'))}) (rate({histogram}[{window}])))"


def _seconds(window: str) -> int:
    return int(window[:-1]) * {"m": 60, "h": 3600}[window[-1]]
