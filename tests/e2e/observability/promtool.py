"""The shipped rules and their unit tests as files, and promtool, which evaluates them as Prometheus does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

from core.api.objects import Object
from deployment.observability.rule import Alert
from deployment.observability.rules import alerts
from deployment.yaml_text import yaml_text
from tests.e2e.observability import admission_cases, operator_cases, work_cases
from tests.e2e.observability.alert_case import AlertCase, unit_test

ROOT: Final = Path(__file__).parents[3]
RULES: Final = ROOT / "manifests/observability/prometheus.rules.yaml"
CASES: Final = (*operator_cases.CASES, *work_cases.CASES, *admission_cases.CASES)
ALERTS: Final[Mapping[str, Alert]] = {alert.name: alert for alert in alerts()}


def run(promtool: Path, *words: str) -> tuple[int, str]:
    """The exit code, and all that it printed."""
    done = subprocess.run([promtool, *words], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def write_rules_of(alert: str, path: Path) -> Path:
    """The shipped rule of an alert and the recording rules: all alerts in each test would take five times the CPU."""
    groups = [{**group, "rules": [rule for rule in group["rules"] if _belongs(rule, alert)]} for group in _shipped()]
    path.write_text(yaml_text({"groups": [group for group in groups if group["rules"]]}))
    return path


def write_unit_tests(cases: Iterable[AlertCase], path: Path, rules: Path) -> Path:
    tests = [unit_test(case, ALERTS[case.alert]) for case in cases]
    path.write_text(yaml_text({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    return path


def _belongs(rule: Object, alert: str) -> bool:
    return rule.get("alert") == alert or rule.get("record", "") in ALERTS[alert].expression.split()


@cache
def _shipped() -> list[Object]:
    found: list[Object] = YAML(typ="safe", pure=True).load(RULES)["groups"]
    return found
