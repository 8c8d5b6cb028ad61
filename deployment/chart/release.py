"""A release of the chart: the names of its objects, and the conditions under which they exist.

An object of the chart is that of an installation whose names and namespace are words that no other text contains; in
the templates, Go expressions replace them (``WORDS``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.objects import Object
from deployment.chart.nodes import Also, ReleaseCondition, ValuePart, Values, given, partial, value_at
from deployment.permissions.names import DEFAULT_PREFIX, METRICS_SERVICE, Installation

CHART: Final = "bobrapet"
RELEASE: Final = Installation(
    namespace="namespace-of-the-release",
    prefix="full-name-of-the-release-",
    manager_account="account-of-the-operator",
)
"""The installation with words as names."""
CLUSTER_DOMAIN: Final = "domain.of.the.cluster"
FULL_NAME: Final = 'include "bobrapet.fullname" $'
WORDS: Final = {
    RELEASE.prefix.removesuffix("-"): FULL_NAME,
    RELEASE.namespace: "$.Release.Namespace",
    RELEASE.service_account: 'include "bobrapet.serviceAccountName" $',
    CLUSTER_DOMAIN: "$.Values.kubernetesClusterDomain",
}

LONGEST_NAME: Final = 63 - len(METRICS_SERVICE) + len(DEFAULT_PREFIX) - 1
"""Length at which the beginning of the names is cut, so that names of Services are at most 63 characters long."""

HUB: Final = given("hub.enabled")
WEBHOOKS: Final = given("webhooks.enabled")
POLICIES: Final = given("admissionPolicies.enabled")
PEOPLE: Final = given("rbac.people")
NETWORK: Final = given("networkPolicies.enabled")
BY_CERT_MANAGER: Final = WEBHOOKS & given("certificates.certManager.enabled")
BY_ITSELF: Final = WEBHOOKS & ~given("certificates.certManager.enabled")
LEADER: Final = given("controllerManager.leaderElection")
MONITORED: Final = given("serviceMonitor.enabled")
SEVERAL: Final = ReleaseCondition(
    "gt (int $.Values.controllerManager.replicas) 1",
    lambda values: int(value_at(values, "controllerManager.replicas")) > 1,
)
BUDGET: Final = given("controllerManager.podDisruptionBudget.enabled") & SEVERAL

LABELS: Final = Also(partial("bobrapet.labels", lambda _: {}))
"""Labels that name chart and release; the objects of the Kustomize set have none of them."""


def labelled(obj: Object, values: str | None = None) -> Object:
    """The object with the labels of the release; its own labels come first.

    Args:
        values: where the user gives labels for it; they win over ``commonLabels``. A mapping has each key once.
    """
    head = obj["metadata"]
    of_release = LABELS if values is None else Also(_labels_with(values, head.get("labels", {})))
    return {**obj, "metadata": {**head, "labels": {**head.get("labels", {}), of_release: None}}}


def _labels_with(path: str, own: Mapping[str, Any]) -> ValuePart:
    text = f'mergeOverwrite (include "bobrapet.labels" $ | fromYaml) $.Values.{path}'
    names = " ".join(f'"{name}"' for name in own)
    return ValuePart(
        f"omit ({text}) {names}" if own else text,
        lambda values: {key: label for key, label in value_at(values, path).items() if key not in own},
    )


def full(values: Values, name: str) -> str:
    """What ``bobrapet.fullname`` gives for a release called ``name``."""
    if override := value_at(values, "fullnameOverride"):
        return str(override)[:LONGEST_NAME].rstrip("-")
    base = str(value_at(values, "nameOverride") or CHART)
    return (name if base in name else f"{name}-{base}")[:LONGEST_NAME].rstrip("-")
