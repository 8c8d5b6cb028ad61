"""Each value of the chart lands in the field that its name promises, as ``helm template`` renders it.

The fields are written down here, by hand: the templates and the objects that ``test_helm_templates`` compares them with
come from one tree, so a value in a wrong place of that tree would be right for both. Takes 9 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from core.api.objects import Object
from deployment.chart.values_table import ROWS
from tests.e2e.helm import CHART, Helm, open_helm

MISSING: Final = "(there is no such field)"
MANAGER: Final = "Deployment/bobrapet-controller-manager"
HUB: Final = "Deployment/bobrapet-hub"
POD: Final = "spec.template.spec"
CONTAINER: Final = "spec.template.spec.containers.0"
CONTROL_PLANE: Final = {"app.kubernetes.io/name": "bobrapet", "control-plane": "controller-manager"}
ADMISSION: Final = "Service/bobrapet-webhook-service"
METRICS: Final = "Service/bobrapet-controller-manager-metrics-service"
MONITOR: Final = "ServiceMonitor/bobrapet-controller-manager-metrics-monitor"
HUB_MONITOR: Final = "PodMonitor/bobrapet-hub"
HUB_SERVICE: Final = "Service/bobrapet-hub"
RULES: Final = "PrometheusRule/bobrapet-rules"
DASHBOARDS: Final = "ConfigMap/bobrapet-dashboards"


@dataclass(frozen=True)
class Case:
    """A value, and what it makes of fields: object, path, and what must be there; by default the value itself."""

    value: Any
    fields: Mapping[str, Any]


def everywhere(value: Any, *places: str) -> Case:
    return Case(value, dict.fromkeys(places, value))


ANTI: Final = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}
PEERS: Final = [{"ipBlock": {"cidr": "10.0.0.5/32"}}]
PROMETHEUS: Final = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}}]
PORTS: Final = [{"name": "https", "port": 8444, "protocol": "TCP", "targetPort": "metrics"}]
HOOK_PORTS: Final = [{"name": "https", "port": 444, "protocol": "TCP", "targetPort": "webhook-server"}]
PROXY: Final = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
ISSUER: Final = {"kind": "ClusterIssuer", "name": "shared-ca"}
CASES: Final[dict[str, Case]] = {
    "imagePullSecrets": everywhere(
        [{"name": "registry"}], f"{MANAGER}: {POD}.imagePullSecrets", f"{HUB}: {POD}.imagePullSecrets"
    ),
    "commonLabels": Case(
        {"team": "data", "a": "hidden", "release": "hidden"},
        {
            f"{MANAGER}: metadata.labels.team": "data",
            f"{HUB}: metadata.labels.team": "data",
            f"{MONITOR}: metadata.labels.team": "data",
            "ConfigMap/bobrapet-operator-config: metadata.labels.team": "data",
        },
    ),
    "kubernetesClusterDomain": Case(
        "k8s.example",
        {
            "Certificate/bobrapet-serving-cert: spec.dnsNames.1": (
                "bobrapet-webhook-service.bobrapet-system.svc.k8s.example"
            )
        },
    ),
    "controllerManager.replicas": everywhere(3, f"{MANAGER}: spec.replicas"),
    "controllerManager.manager.args": Case(
        ["--metrics-bind-address=:8444"], {f"{MANAGER}: {CONTAINER}.args.0": "--metrics-bind-address=:8444"}
    ),
    "controllerManager.manager.extraArgs": Case(
        ["--log-level=debug"], {f"{MANAGER}: {CONTAINER}.args.-1": "--log-level=debug"}
    ),
    "controllerManager.manager.env": everywhere([PROXY], f"{MANAGER}: {CONTAINER}.env"),
    "controllerManager.manager.envFrom": everywhere(
        [{"secretRef": {"name": "store"}}], f"{MANAGER}: {CONTAINER}.envFrom"
    ),
    "controllerManager.manager.image.repository": Case(
        "registry.example/b",
        {
            f"{MANAGER}: {CONTAINER}.image": "registry.example/b@sha256:" + "0" * 64,
            f"{HUB}: {CONTAINER}.image": "registry.example/b@sha256:" + "0" * 64,
        },
    ),
    "controllerManager.manager.image.digest": Case("sha256:" + "0" * 64, {}),
    "controllerManager.manager.imagePullPolicy": everywhere(
        "Always", f"{MANAGER}: {CONTAINER}.imagePullPolicy", f"{HUB}: {CONTAINER}.imagePullPolicy"
    ),
    "controllerManager.manager.resources": Case(
        {"limits": {"memory": "2Gi"}}, {f"{MANAGER}: {CONTAINER}.resources.limits.memory": "2Gi"}
    ),
    "controllerManager.manager.containerSecurityContext": Case(
        {"runAsUser": 7}, {f"{each}: {CONTAINER}.securityContext.runAsUser": 7 for each in (MANAGER, HUB)}
    ),
    "controllerManager.podSecurityContext": Case(
        {"fsGroup": 8}, {f"{each}: {POD}.securityContext.fsGroup": 8 for each in (MANAGER, HUB)}
    ),
    "controllerManager.podAnnotations": everywhere(
        {"example.org/a": "{{ b }}"}, f"{MANAGER}: spec.template.metadata.annotations"
    ),
    "controllerManager.podLabels": Case(
        {"tier": "control"},
        {
            f"{MANAGER}: spec.template.metadata.labels.tier": "control",
            f"{MANAGER}: spec.selector.matchLabels": CONTROL_PLANE,
        },
    ),
    "controllerManager.nodeSelector": everywhere({"disk": "ssd"}, f"{MANAGER}: {POD}.nodeSelector"),
    "controllerManager.tolerations": everywhere(
        [{"key": "control", "operator": "Exists"}], f"{MANAGER}: {POD}.tolerations"
    ),
    "controllerManager.affinity": everywhere(ANTI, f"{MANAGER}: {POD}.affinity"),
    "controllerManager.topologySpreadConstraints": everywhere(
        [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        f"{MANAGER}: {POD}.topologySpreadConstraints",
    ),
    "controllerManager.priorityClassName": everywhere("control", f"{MANAGER}: {POD}.priorityClassName"),
    "controllerManager.terminationGracePeriodSeconds": everywhere(
        99, f"{MANAGER}: {POD}.terminationGracePeriodSeconds"
    ),
    "controllerManager.extraVolumes": Case(
        [{"name": "ca", "configMap": {"name": "ca"}}],
        {f"{MANAGER}: {POD}.volumes.-1": {"name": "ca", "configMap": {"name": "ca"}}},
    ),
    "controllerManager.extraVolumeMounts": Case(
        [{"name": "ca", "mountPath": "/ca"}],
        {f"{MANAGER}: {CONTAINER}.volumeMounts.-1": {"name": "ca", "mountPath": "/ca"}},
    ),
    "controllerManager.podDisruptionBudget.minAvailable": Case(
        "50%",
        {
            "PodDisruptionBudget/bobrapet-controller-manager: spec.minAvailable": "50%",
            "PodDisruptionBudget/bobrapet-controller-manager: spec.selector.matchLabels": CONTROL_PLANE,
        },
    ),
    "metricsService.type": everywhere("NodePort", f"{METRICS}: spec.type"),
    "metricsService.ports": everywhere(PORTS, f"{METRICS}: spec.ports"),
    "metricsService.annotations": everywhere({"a": "m"}, f"{METRICS}: metadata.annotations"),
    "webhookService.type": everywhere("LoadBalancer", f"{ADMISSION}: spec.type"),
    "webhookService.ports": Case(
        HOOK_PORTS,
        {
            f"{ADMISSION}: spec.ports": HOOK_PORTS,
            "ValidatingWebhookConfiguration/bobrapet-validating-webhook-configuration: "
            "webhooks.0.clientConfig.service.port": 444,
        },
    ),
    "webhookService.annotations": everywhere({"a": "w"}, f"{ADMISSION}: metadata.annotations"),
    "serviceAccount.name": Case(
        "flows",
        {
            "ServiceAccount/flows: metadata.namespace": "bobrapet-system",
            f"{MANAGER}: {POD}.serviceAccountName": "flows",
            "ClusterRoleBinding/bobrapet-manager-rolebinding: subjects.0.name": "flows",
        },
    ),
    "serviceAccount.annotations": everywhere(
        {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}, "ServiceAccount/flows: metadata.annotations"
    ),
    "serviceAccount.automount": everywhere(False, "ServiceAccount/flows: automountServiceAccountToken"),
    "rbac.metricsReaders": everywhere(
        [{"kind": "ServiceAccount", "name": "prometheus", "namespace": "monitoring"}],
        "ClusterRoleBinding/bobrapet-metrics-reader: subjects",
    ),
    "certificates.certManager.enabled": Case(
        True, {f"{MANAGER}: {CONTAINER}.volumeMounts.1.mountPath": "/tmp/k8s-webhook-server/serving-certs"}
    ),
    "certificates.certManager.issuerRef": everywhere(ISSUER, "Certificate/bobrapet-serving-cert: spec.issuerRef"),
    "networkPolicies.admissionFrom": Case(
        PEERS,
        {
            "NetworkPolicy/bobrapet-controller-manager: spec.ingress.0.ports.0.port": 9443,
            "NetworkPolicy/bobrapet-controller-manager: spec.ingress.0.from": PEERS,
            "NetworkPolicy/bobrapet-hub: spec.ingress.1.ports.0.port": 9001,
            "NetworkPolicy/bobrapet-hub: spec.ingress.1.from": PEERS,
            "NetworkPolicy/bobrapet-hub: spec.ingress.0.ports.0.port": 9000,
            "NetworkPolicy/bobrapet-hub: spec.ingress.0.from": [{"namespaceSelector": {}}],
        },
    ),
    "networkPolicies.metricsFrom": Case(
        PROMETHEUS,
        {
            "NetworkPolicy/bobrapet-controller-manager: spec.ingress.1.ports.0.port": 8444,  # as in args above
            "NetworkPolicy/bobrapet-controller-manager: spec.ingress.1.from": PROMETHEUS,
            "NetworkPolicy/bobrapet-hub: spec.ingress.2.ports.0.port": 8080,
            "NetworkPolicy/bobrapet-hub: spec.ingress.2.from": PROMETHEUS,
        },
    ),
    "serviceMonitor.enabled": Case(
        True,
        {
            f"{MONITOR}: spec.selector.matchLabels": CONTROL_PLANE,
            f"{MONITOR}: spec.endpoints.0.port": "https",
            f"{MONITOR}: spec.endpoints.0.path": "/metrics",
            f"{MONITOR}: spec.endpoints.0.scheme": "https",
            f"{MONITOR}: spec.endpoints.0.tlsConfig": {"insecureSkipVerify": True},
            f"{MONITOR}: spec.endpoints.0.bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
            f"{MONITOR}: spec.endpoints.0.relabelings.0.regex": "bobrapet-controller-manager-metrics-service",
            f"{HUB_MONITOR}: spec.podMetricsEndpoints.0.port": "metrics",
            f"{HUB_MONITOR}: spec.selector.matchLabels.control-plane": "hub",
        },
    ),
    "serviceMonitor.labels": Case(
        {"release": "prometheus"},
        {f"{each}: metadata.labels.release": "prometheus" for each in (MONITOR, HUB_MONITOR)},
    ),
    "serviceMonitor.interval": everywhere(
        "17s", f"{MONITOR}: spec.endpoints.0.interval", f"{HUB_MONITOR}: spec.podMetricsEndpoints.0.interval"
    ),
    "serviceMonitor.scrapeTimeout": everywhere(
        "7s", f"{MONITOR}: spec.endpoints.0.scrapeTimeout", f"{HUB_MONITOR}: spec.podMetricsEndpoints.0.scrapeTimeout"
    ),
    "hub.extraArgs": Case(["--log-level=debug"], {f"{HUB}: {CONTAINER}.args.-1": "--log-level=debug"}),
    "hub.env": everywhere([{"name": "OTEL_SERVICE_NAME", "value": "hub"}], f"{HUB}: {CONTAINER}.env"),
    "hub.resources": Case({"limits": {"memory": "3Gi"}}, {f"{HUB}: {CONTAINER}.resources.limits.memory": "3Gi"}),
    "hub.podAnnotations": everywhere({"a": "h"}, f"{HUB}: spec.template.metadata.annotations"),
    "hub.nodeSelector": everywhere({"net": "fast"}, f"{HUB}: {POD}.nodeSelector"),
    "hub.tolerations": everywhere([{"key": "net", "operator": "Exists"}], f"{HUB}: {POD}.tolerations"),
    "hub.affinity": everywhere({"nodeAffinity": {"a": 1}}, f"{HUB}: {POD}.affinity"),
    "hub.priorityClassName": everywhere("streams", f"{HUB}: {POD}.priorityClassName"),
    "hub.podLabels": Case(
        {"tier": "h"},
        {
            f"{HUB}: spec.template.metadata.labels.tier": "h",
            f"{HUB}: spec.selector.matchLabels.tier": MISSING,
        },
    ),
    "hub.service.labels": Case({"a": "hl"}, {f"{HUB_SERVICE}: metadata.labels.a": "hl"}),
    "hub.service.annotations": everywhere({"a": "ha"}, f"{HUB_SERVICE}: metadata.annotations"),
    "hub.livenessProbe": Case({"periodSeconds": 33}, {f"{HUB}: {CONTAINER}.livenessProbe.periodSeconds": 33}),
    "hub.readinessProbe": Case({"periodSeconds": 34}, {f"{HUB}: {CONTAINER}.readinessProbe.periodSeconds": 34}),
    "controllerManager.manager.livenessProbe": Case(
        {"periodSeconds": 31}, {f"{MANAGER}: {CONTAINER}.livenessProbe.periodSeconds": 31}
    ),
    "controllerManager.manager.readinessProbe": Case(
        {"periodSeconds": 32}, {f"{MANAGER}: {CONTAINER}.readinessProbe.periodSeconds": 32}
    ),
    "controllerManager.hostNetwork": everywhere(True, f"{MANAGER}: {POD}.hostNetwork"),
    "controllerManager.dnsPolicy": everywhere("Default", f"{MANAGER}: {POD}.dnsPolicy"),
    "controllerManager.strategy": everywhere({"type": "Recreate"}, f"{MANAGER}: spec.strategy"),
    "metricsService.labels": Case({"a": "ml"}, {f"{METRICS}: metadata.labels.a": "ml"}),
    "webhookService.labels": Case({"a": "wl"}, {f"{ADMISSION}: metadata.labels.a": "wl"}),
    "webhooks.timeoutSeconds": everywhere(
        7,
        "ValidatingWebhookConfiguration/bobrapet-validating-webhook-configuration: webhooks.0.timeoutSeconds",
        "MutatingWebhookConfiguration/bobrapet-mutating-webhook-configuration: webhooks.0.timeoutSeconds",
    ),
    "prometheusRule.enabled": Case(True, {f"{RULES}: apiVersion": "monitoring.coreos.com/v1"}),
    "prometheusRule.labels": Case({"release": "p"}, {f"{RULES}: metadata.labels.release": "p"}),
    "prometheusRule.runbooks": Case(
        "https://wiki.example.com/b",
        {f"{RULES}: spec.groups.0.rules.5.annotations.runbook_url": "https://wiki.example.com/b#bobrapetabsent"},
    ),
    "dashboards.enabled": Case(True, {f"{DASHBOARDS}: apiVersion": "v1"}),
    "dashboards.labels": Case({"grafana": "1"}, {f"{DASHBOARDS}: metadata.labels.grafana": "1"}),
    "dashboards.annotations": everywhere({"folder": "b"}, f"{DASHBOARDS}: metadata.annotations"),
    "extraObjects": Case(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "b"}}],
        {"ConfigMap/extra: data.a": "b"},
    ),
}
OTHERS: Final[dict[str, Case]] = {
    "nameOverride": Case("flows", {"Deployment/x-flows-controller-manager: spec.replicas": 2}),
    "fullnameOverride": Case("streams", {"Deployment/streams-controller-manager: spec.replicas": 2}),
    "controllerManager.leaderElection": Case(
        False,
        {"Deployment/x-bobrapet-controller-manager: spec.template.spec.containers.0.args.4": "--leader-elect=false"},
    ),
    "controllerManager.manager.image.tag": Case(
        "v7", {"Deployment/x-bobrapet-controller-manager: spec.template.spec.containers.0.image": "bobrapet-py:v7"}
    ),
    "controllerManager.podDisruptionBudget.enabled": Case(
        False, {"PodDisruptionBudget/x-bobrapet-controller-manager: spec": MISSING}
    ),
    "serviceAccount.create": Case(False, {"ServiceAccount/x-bobrapet: metadata": MISSING}),
    "crds.install": Case(False, {"CustomResourceDefinition/stories.bubustack.io: spec.names.kind": MISSING}),
    "crds.keep": Case(
        False, {"CustomResourceDefinition/stories.bubustack.io: metadata.annotations.helm%sh/resource-policy": MISSING}
    ),
    "crds.removalJob": Case(False, {"Job/x-bobrapet-removal: spec": MISSING}),
    "rbac.people": Case(False, {"ClusterRole/x-bobrapet-story-viewer-role: rules": MISSING}),
    "webhooks.enabled": Case(
        False,
        {
            "Service/x-bobrapet-webhook-service: spec": MISSING,
            "Deployment/x-bobrapet-controller-manager: spec.template.spec.containers.0.env": [
                {"name": "ENABLE_WEBHOOKS", "value": "false"}
            ],
        },
    ),
    "webhooks.url": Case(
        "https://admission.example:8443",
        {
            "MutatingWebhookConfiguration/x-bobrapet-mutating-webhook-configuration: webhooks.0.clientConfig.url": (
                "https://admission.example:8443/mutate-bubustack-io-v1alpha1-story"
            )
        },
    ),
    "admissionPolicies.enabled": Case(False, {"ValidatingAdmissionPolicy/x-bobrapet-authors: spec": MISSING}),
    "networkPolicies.enabled": Case(False, {"NetworkPolicy/x-bobrapet-hub: spec": MISSING}),
    "hub.enabled": Case(
        False,
        {"Deployment/x-bobrapet-hub: spec": MISSING, "Service/x-bobrapet-hub: spec": MISSING},
    ),
}
"""Values that would hide those above; each is rendered alone, as release ``x``."""


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return open_helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> dict[str, Object]:
    """The objects of one release with the values of all ``CASES``."""
    values: dict[str, Any] = {"crds": {"install": False}}
    for path, case in CASES.items():
        put(values, path, case.value)
    text = helm("template", "bobrapet", str(CHART), "--namespace=bobrapet-system", values=values)
    return objects(text, [place for case in CASES.values() for place in case.fields])


@pytest.fixture(scope="module")
def usual(helm: Helm) -> dict[str, Object]:
    """Those of a release ``x`` with the default values."""
    return objects(helm("template", "x", str(CHART)), [place for case in OTHERS.values() for place in case.fields])


def put(values: dict[str, Any], path: str, value: Any) -> None:
    *folders, name = path.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
    values[name] = value


def objects(text: str, places: Iterable[str]) -> dict[str, Object]:
    """The objects of these places by ``Kind/name``. Only their documents are read, as all take seconds."""
    wanted = {place.partition(": ")[0] for place in places}
    documents = [document for document in text.split("\n---\n") if _name_of(document) in wanted]
    found = [YAML(typ="safe").load(document) for document in documents]
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj for obj in found}


def _name_of(document: str) -> str:
    kind = re.search(r"^kind: (\w+)$", document, re.MULTILINE)
    name = re.search(r"^  name: \"?([^\s\"]+)", document, re.MULTILINE)
    return f"{kind[1]}/{name[1]}" if kind and name else ""


def at(found: Mapping[str, Object], place: str) -> Any:
    """The field at ``Kind/name: path``, in which ``%`` stands for a dot in a key."""
    name, _, path = place.partition(": ")
    here: Any = found.get(name, {})
    for part in (each.replace("%", ".") for each in path.split(".")):
        if isinstance(here, list):
            here = here[int(part)]
        elif part in here:
            here = here[part]
        else:
            return MISSING
    return here


@pytest.mark.parametrize("path", CASES)
def test_a_value_lands_in_its_field(path: str, rendered: dict[str, Object]) -> None:
    expected = dict(CASES[path].fields)
    assert {place: at(rendered, place) for place in expected} == expected


@pytest.mark.parametrize("path", OTHERS)
def test_a_value_that_changes_much_does_what_it_says(path: str, helm: Helm, usual: dict[str, Object]) -> None:
    values: dict[str, Any] = {} if path.startswith("crds") else {"crds": {"install": False}}
    put(values, path, OTHERS[path].value)
    if path == "controllerManager.leaderElection":
        put(values, "controllerManager.replicas", 1)  # several without an election are refused
    expected = dict(OTHERS[path].fields)
    found = objects(helm("template", "x", str(CHART), values=values), expected)
    assert {place: at(found, place) for place in expected} == expected
    if MISSING in expected.values():  # otherwise a wrong name here would prove nothing
        assert MISSING not in [at(usual, place) for place, text in expected.items() if text == MISSING]


def test_every_value_has_its_field_here() -> None:
    assert {row.path for row in ROWS} == CASES.keys() | OTHERS.keys()
