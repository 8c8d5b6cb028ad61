"""Alerts and their runbooks, and the forms in which both are shipped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from deployment import hub, workload
from deployment.network import metrics_service
from deployment.observability.alerts.operator import MEMORY_LIMIT_BYTES
from deployment.observability.files import main
from deployment.observability.rule import HUB_JOB, JOB, PREFIX, Alert, growth
from deployment.observability.rules import GROUPS, alerts, anchor_of, prometheus_rule, rule_file
from deployment.observability.scraping import pod_monitor, service_monitor
from tests.e2e.observability.promtool import CASES

ROOT: Final = Path(__file__).parents[4]
RUNBOOKS: Final = (ROOT / "docs/runbooks.md").read_text()
PAGE: Final = (ROOT / "docs/monitoring.md").read_text()
SECTIONS: Final = ("Effect", "Look", "Causes", "Remedy", "Silence")
ALERTS: Final = list(alerts())


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert re.findall(rf"^## ({PREFIX}\w+)$", RUNBOOKS, re.MULTILINE) == [alert.name for alert in ALERTS]
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_runbook_says_what_a_person_needs_at_night(alert: Alert) -> None:
    text = RUNBOOKS.partition(f"\n## {alert.name}\n")[2].partition("\n## ")[0]
    opening = re.match(rf"\n\*\*{alert.urgency}\*\* · \S.*\.\n", text)

    assert opening, "the runbook begins with the severity and what the alert means"
    assert tuple(re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)) == SECTIONS
    look = text[text.index("**Look.**") : text.index("**Causes.**")]
    assert "```bash\n" in look
    assert re.search(r"`--duration=\d+[mh]`", text[text.index("**Silence.**") :])


def test_the_page_of_monitoring_names_every_alert() -> None:
    names = [alert.name for alert in ALERTS]

    assert [name for name in names if f"(runbooks.md#{anchor_of(name)})" not in PAGE] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_is_tested_on_bad_and_on_good_series(alert: Alert) -> None:
    fires = [bool(case.fires) for case in CASES if case.alert == alert.name]

    assert set(fires) == {True, False}


def test_titles_of_cases_are_unique() -> None:
    assert len({str(case) for case in CASES}) == len(CASES)


def test_both_forms_have_the_same_rules() -> None:
    assert prometheus_rule()["spec"] == rule_file()
    assert [group["name"] for group in rule_file()["groups"]] == [group.name for group in GROUPS]


def test_runbooks_may_be_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plain", "--runbooks", "https://wiki.example.com/bobrapet"]) == 0

    text = capsys.readouterr().out
    assert text.count("runbook_url: https://wiki.example.com/bobrapet#bobrapet") == len(ALERTS)


def test_the_memory_limit_is_that_of_the_deployments() -> None:
    for deployment in (workload.deployment(), hub.deployment()):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["memory"] == f"{MEMORY_LIMIT_BYTES >> 30}Gi"


def test_monitors_find_the_ports_and_set_the_jobs_of_the_rules() -> None:
    [endpoint], [of_hub] = service_monitor()["spec"]["endpoints"], pod_monitor()["spec"]["podMetricsEndpoints"]
    service, pod = metrics_service(), hub.deployment()["spec"]["template"]

    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert service_monitor()["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["relabelings"][0]["regex"] == service["metadata"]["name"]
    assert of_hub["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    assert pod_monitor()["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    jobs = [each["relabelings"][-1] for each in (endpoint, of_hub)]
    assert [job["replacement"] for job in jobs] == [JOB, HUB_JOB]
    assert all(each["honorLabels"] for each in (endpoint, of_hub))


def test_growth_names_each_label_that_is_kept() -> None:
    assert growth("x_total", "1h", "a", "b").startswith("sum by (a, b) (")
