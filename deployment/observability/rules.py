"""The rules as files: for Prometheus alone, and as a PrometheusRule for the Prometheus Operator.

``runbook_url`` is a section of the page of runbooks in this repository, or of a page that an installation chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import Object
from core.api.resource import Resource
from deployment import metadata
from deployment.observability.alerts import admission, api, operator, streams, work
from deployment.observability.rule import Alert, RuleGroup
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation

PROMETHEUS_RULE: Final = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")
GROUPS: Final[tuple[RuleGroup, ...]] = (operator.GROUP, api.GROUP, work.GROUP, admission.GROUP, streams.GROUP)
RUNBOOKS: Final = "docs/runbooks.md"


def alerts() -> Iterator[Alert]:
    for group in GROUPS:
        yield from group.alerts


def anchor_of(alert: str) -> str:
    """The anchor of an alert's section, as forges make it from the title."""
    return alert.lower()


def rule_file(runbooks: str = RUNBOOKS) -> Object:
    """A file for ``rule_files`` of Prometheus. ``runbooks``: URL or path of the page with a section an alert."""
    return {"groups": [_group(group, runbooks) for group in GROUPS]}


def prometheus_rule(installation: Installation = DEFAULT_INSTALLATION, runbooks: str = RUNBOOKS) -> Object:
    name = f"{installation.prefix}rules"
    return {
        **metadata.document(PROMETHEUS_RULE, name, namespace=installation.namespace),
        "spec": rule_file(runbooks),
    }


def _group(group: RuleGroup, runbooks: str) -> Object:
    recordings: list[Object] = [{"record": each.name, "expr": each.expression} for each in group.recordings]
    return {"name": group.name, "rules": [*recordings, *(_alert(each, runbooks) for each in group.alerts)]}


def _alert(alert: Alert, runbooks: str) -> Object:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.hold,
        "labels": {"severity": str(alert.urgency)},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}#{anchor_of(alert.name)}",
        },
    }
