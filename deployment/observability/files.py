"""What is rendered into ``manifests/observability``: rules in two forms, monitors, and the file that combines them with
the dashboards.

``python -m deployment.observability.files --runbooks URL`` prints the rules with links to another page of runbooks,
such as that of the wiki of an installation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from core.api.objects import Object
from deployment import kustomization
from deployment.observability.dashboards import FOLDER, dashboards
from deployment.observability.rules import RUNBOOKS, prometheus_rule, rule_file
from deployment.observability.scraping import pod_monitor, service_monitor
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.yaml_text import yaml_text

DIRECTORY: Final = PurePosixPath("manifests/observability")
RULES: Final = "prometheusrule.yaml"
MONITORS: Final = "monitors.yaml"
PLAIN_RULES: Final = "prometheus.rules.yaml"
"""For a Prometheus without the Prometheus Operator."""
CONFIG_MAP: Final = "bobrapet-dashboards"
SIDECAR_LABEL: Final = {"grafana_dashboard": "1"}
"""Grafana's sidecar imports the dashboards in ConfigMaps with this label."""


def documents() -> Iterator[tuple[str, list[Object]]]:
    """File name and documents."""
    yield PLAIN_RULES, [rule_file()]
    yield RULES, [prometheus_rule()]
    yield MONITORS, [service_monitor(), pod_monitor()]
    yield kustomization.FILE_NAME, [_kustomization()]


def _kustomization() -> Object:
    files = [f"{FOLDER.name}/{dashboard.file_name}" for dashboard in dashboards()]
    generator = {
        "name": CONFIG_MAP,
        "namespace": DEFAULT_INSTALLATION.namespace,
        "files": files,
        "options": {"disableNameSuffixHash": True, "labels": SIDECAR_LABEL},
    }
    return {**kustomization.of_files([RULES, MONITORS]), "configMapGenerator": [generator]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployment.observability.files", description="Print the rules.")
    parser.add_argument("--runbooks", default=RUNBOOKS, help=f"page of the runbooks (default: {RUNBOOKS})")
    parser.add_argument("--plain", action="store_true", help="a rule file of Prometheus instead of a PrometheusRule")
    options = parser.parse_args(arguments)
    rules = rule_file(options.runbooks) if options.plain else prometheus_rule(runbooks=options.runbooks)
    sys.stdout.write(yaml_text(rules))
    return 0


if __name__ == "__main__":
    sys.exit(main())
