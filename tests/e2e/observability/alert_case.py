"""One test of an alert: series over time, and which alerts fire at an instant. Rendered as a unit test of promtool."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.api.objects import Object
from deployment.observability.rule import Alert
from deployment.observability.rules import RUNBOOKS, anchor_of

_LABEL: Final = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
_VALUE: Final = re.compile(r"\{\{ \$value[^}]*\}\}")
UP: Final = 'up{job="bobrapet", instance="a"}'
STARTED: Final = 'process_start_time_seconds{job="bobrapet", instance="a"}'


@dataclass(frozen=True)
class Firing:
    """An alert that fires: its labels, without the severity, and its value as the description shows it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    value: str = ""


@dataclass(frozen=True)
class AlertCase:
    """``series``: samples a minute apart, in the notation of promtool: ``0+1x5``, ``_x3`` for a gap."""

    alert: str
    title: str
    series: Mapping[str, str]
    at: str
    fires: Sequence[Firing] = ()

    def __str__(self) -> str:
        return f"{self.alert}: {self.title}"


def unit_test(case: AlertCase, alert: Alert) -> Object:
    """An entry of ``tests`` in a file of ``promtool test rules``."""
    expected = [
        {
            "exp_labels": {"severity": str(alert.urgency), **firing.labels},
            "exp_annotations": {
                "summary": _text(alert.summary, firing),
                "description": _text(alert.description, firing),
                "runbook_url": f"{RUNBOOKS}#{anchor_of(alert.name)}",
            },
        }
        for firing in case.fires
    ]
    return {
        "name": case.title,
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def _text(template: str, firing: Firing) -> str:
    labelled = _LABEL.sub(lambda match: firing.labels.get(match[1], ""), template)
    return _VALUE.sub(lambda _: firing.value, labelled)
