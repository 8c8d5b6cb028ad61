"""The values of the chart, row by row: path, default, what it does. ``values`` renders file, schema and page from it.

Defaults of Pods, ports and settings are those of the Kustomize set. Source: operator contract 22, with what its
weaknesses ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployment import hub, metadata, network, workload
from deployment.observability.files import SIDECAR_LABEL
from deployment.observability.rules import RUNBOOKS

_STRING: Final = {"type": "string"}
_STRINGS: Final = {"type": "object", "additionalProperties": _STRING}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_IMAGE: Final = {"type": "string", "pattern": "^[a-z0-9][a-zA-Z0-9._:/-]*$"}
_TAG: Final = {"type": "string", "pattern": "^([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?$"}
_DIGEST: Final = {"type": "string", "pattern": "^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})?$"}
_URL: Final = {"type": "string", "pattern": "^(https://[^/?#@ ]+(/[^?# ]*)?)?$"}
_LABELS: Final = {
    "type": "object",
    "propertyNames": {"pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"},
    "additionalProperties": {"type": "string", "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"},
}
"""Keys and values as API servers accept them for labels."""
_ANY_OBJECT: Final = {"type": "object"}
_WORDS: Final = {"type": "array", "items": _STRING}
_BOOLEAN: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_PULL: Final = {"enum": ["Always", "IfNotPresent", "Never"]}
_SERVICE: Final = {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}
_NUMBER_OR_PERCENTAGE: Final = {"type": ["integer", "string"]}

_PROBE: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": dict.fromkeys(
        ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"), _COUNT
    ),
}
_STRATEGY: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["RollingUpdate", "Recreate"]},
        "rollingUpdate": {"type": ["object", "null"], "additionalProperties": _NUMBER_OR_PERCENTAGE},
    },
}
_DNS: Final = {"enum": ["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]}

_MANAGER_POD: Final = workload.deployment()["spec"]["template"]["spec"]
_MANAGER: Final = _MANAGER_POD["containers"][0]
_STRATEGY_OF_MANAGERS: Final = workload.deployment()["spec"]["strategy"]
_HUB: Final = hub.deployment()["spec"]["template"]["spec"]["containers"][0]
_SELECTORS: Final = network.network_policy()["spec"]["ingress"]


def timings(probe: Mapping[str, Any]) -> dict[str, Any]:
    """A probe without what it asks for."""
    return {key: seconds for key, seconds in probe.items() if key != "httpGet"}


PASSED_ARGUMENTS: Final = 4
"""How many of the arguments are values; the chart adds the others where they belong."""


@dataclass(frozen=True, slots=True)
class ValueRow:
    """``schema`` is the JSON Schema of the value; ``does`` is Markdown, one sentence or two."""

    path: str
    default: Any
    does: str
    schema: dict[str, Any]


ROWS: Final = (
    ValueRow("nameOverride", "", "Replaces `bobrapet` in the names of objects.", _STRING),
    ValueRow("fullnameOverride", "", "Beginning of all names, instead of release and chart.", _STRING),
    ValueRow("kubernetesClusterDomain", "cluster.local", "Domain of the cluster, in certificates.", _STRING),
    ValueRow("commonLabels", {}, "More labels of every object.", _LABELS),
    ValueRow("imagePullSecrets", [], "Secrets to pull the image with: `[{name: registry}]`.", _OBJECTS),
    # The managers.
    ValueRow("controllerManager.replicas", workload.REPLICAS, "All answer admission; one works at a time.", _COUNT),
    ValueRow(
        "controllerManager.leaderElection",
        True,
        "Elect the one that works. Needed with more than one replica, and while one replaces another.",
        _BOOLEAN,
    ),
    ValueRow(
        "controllerManager.manager.args",
        workload.arguments()[:PASSED_ARGUMENTS],
        "Flags of `bobrapet manager`. The names of the default installation follow the release; the chart adds "
        "`--leader-elect`, `--hub-endpoint` and those of certificates, if they are not here.",
        _WORDS,
    ),
    ValueRow("controllerManager.manager.extraArgs", [], "More flags, after all others.", _WORDS),
    ValueRow(
        "controllerManager.manager.livenessProbe",
        timings(_MANAGER["livenessProbe"]),
        "Timings of the probe that restarts the container.",
        _PROBE,
    ),
    ValueRow(
        "controllerManager.manager.readinessProbe",
        timings(_MANAGER["readinessProbe"]),
        "Timings of the probe that takes a replica out of admission.",
        _PROBE,
    ),
    ValueRow("controllerManager.manager.env", [], "Environment variables of the container.", _OBJECTS),
    ValueRow("controllerManager.manager.envFrom", [], "ConfigMaps and Secrets with environment variables.", _OBJECTS),
    ValueRow("controllerManager.manager.image.repository", metadata.IMAGE, "Name of the image.", _IMAGE),
    ValueRow("controllerManager.manager.image.tag", "", "Its tag; empty or `latest`: the version of the chart.", _TAG),
    ValueRow("controllerManager.manager.image.digest", "", "Its digest (`sha256:…`), instead of the tag.", _DIGEST),
    ValueRow("controllerManager.manager.imagePullPolicy", _MANAGER["imagePullPolicy"], "When to pull it.", _PULL),
    ValueRow("controllerManager.manager.resources", _MANAGER["resources"], "Requests and limits.", _ANY_OBJECT),
    ValueRow(
        "controllerManager.manager.containerSecurityContext",
        _MANAGER["securityContext"],
        "Security context of the container.",
        _ANY_OBJECT,
    ),
    ValueRow(
        "controllerManager.podSecurityContext",
        _MANAGER_POD["securityContext"],
        "Security context of the Pods, those of the hub included.",
        _ANY_OBJECT,
    ),
    ValueRow("controllerManager.podAnnotations", {}, "Annotations of the Pods.", _STRINGS),
    ValueRow("controllerManager.podLabels", {}, "More labels of the Pods.", _LABELS),
    ValueRow("controllerManager.nodeSelector", {}, "Labels of the nodes to run on.", _LABELS),
    ValueRow("controllerManager.tolerations", [], "Tolerated taints.", _OBJECTS),
    ValueRow("controllerManager.affinity", {}, "Affinity of the Pods.", _ANY_OBJECT),
    ValueRow(
        "controllerManager.topologySpreadConstraints",
        _MANAGER_POD["topologySpreadConstraints"],
        "How the replicas are spread.",
        _OBJECTS,
    ),
    ValueRow(
        "controllerManager.strategy",
        _STRATEGY_OF_MANAGERS,
        "How new Pods replace old ones. With `type: Recreate` nobody answers admission meanwhile.",
        _STRATEGY,
    ),
    ValueRow(
        "controllerManager.hostNetwork",
        False,
        "The Pods use the addresses and ports of their nodes, where API servers reach no Pods: one replica for each "
        "node, and network policies do not apply.",
        _BOOLEAN,
    ),
    ValueRow(
        "controllerManager.dnsPolicy",
        "",
        "DNS policy of the Pods; empty: `ClusterFirstWithHostNet` with `hostNetwork`, else that of the cluster.",
        _DNS,
    ),
    ValueRow("controllerManager.priorityClassName", "", "Priority class of the Pods.", _STRING),
    ValueRow(
        "controllerManager.terminationGracePeriodSeconds",
        workload.GRACE_SECONDS,
        "Time to stop; longer than the operator takes.",
        _COUNT,
    ),
    ValueRow("controllerManager.extraVolumes", [], "More volumes of the Pods.", _OBJECTS),
    ValueRow("controllerManager.extraVolumeMounts", [], "Where the container mounts them.", _OBJECTS),
    ValueRow(
        "controllerManager.podDisruptionBudget.enabled",
        True,
        "A drain leaves some replicas. There is no budget for a single replica: it would block every drain.",
        _BOOLEAN,
    ),
    ValueRow(
        "controllerManager.podDisruptionBudget.minAvailable", 1, "How many; a number or a share.", _NUMBER_OR_PERCENTAGE
    ),
    # Services and the account.
    ValueRow("metricsService.type", "ClusterIP", "Type of the Service of the metrics.", _SERVICE),
    ValueRow("metricsService.ports", network.metrics_service()["spec"]["ports"], "Its ports.", _OBJECTS),
    ValueRow("metricsService.annotations", {}, "Its annotations.", _STRINGS),
    ValueRow("metricsService.labels", {}, "More labels of it.", _LABELS),
    ValueRow("webhookService.type", "ClusterIP", "Type of the Service of admission.", _SERVICE),
    ValueRow(
        "webhookService.ports",
        network.webhook_service()["spec"]["ports"],
        "Its ports. API servers call the first one.",
        {**_OBJECTS, "minItems": 1},
    ),
    ValueRow("webhookService.annotations", {}, "Its annotations.", _STRINGS),
    ValueRow("webhookService.labels", {}, "More labels of it.", _LABELS),
    ValueRow("serviceAccount.create", True, "Create the operator's ServiceAccount.", _BOOLEAN),
    ValueRow(
        "serviceAccount.name", "", "Its name; empty: that of the release. Conditions and policies follow.", _STRING
    ),
    ValueRow("serviceAccount.annotations", {}, "Its annotations, such as the role of a cloud provider.", _STRINGS),
    ValueRow("serviceAccount.automount", True, "Mount its token.", _BOOLEAN),
    # What else there is.
    ValueRow("crds.install", True, "Install the definitions, and upgrade them with the release.", _BOOLEAN),
    ValueRow("crds.keep", True, "`helm uninstall` keeps the definitions, and all objects of these kinds.", _BOOLEAN),
    ValueRow(
        "crds.removalJob",
        True,
        "Before `helm uninstall`, a Job stops serving Stories in v1beta1, which nobody converts any more then.",
        _BOOLEAN,
    ),
    ValueRow("rbac.people", True, "Roles for people, which `admin`, `edit` and `view` aggregate.", _BOOLEAN),
    ValueRow(
        "rbac.metricsReaders",
        [],
        "Subjects that may read the metrics: `[{kind: ServiceAccount, name: prometheus, namespace: monitoring}]`.",
        _OBJECTS,
    ),
    ValueRow(
        "webhooks.enabled",
        True,
        "Admission, and Stories in v1beta1. Without it the operator checks objects when it uses them.",
        _BOOLEAN,
    ),
    ValueRow(
        "webhooks.url",
        "",
        "Where API servers reach admission that cannot reach the Service: `https://host:port`, without a path.",
        _URL,
    ),
    ValueRow(
        "webhooks.timeoutSeconds",
        0,
        "How long API servers wait for each answer; 0: 2 to 5 s, as in an installation.",
        {"type": "integer", "minimum": 0, "maximum": 30},
    ),
    ValueRow(
        "admissionPolicies.enabled",
        True,
        "Rules that also apply [when admission is down](../../../docs/when-admission-is-down.md).",
        _BOOLEAN,
    ),
    ValueRow(
        "certificates.certManager.enabled",
        False,
        "cert-manager issues the certificate of admission; otherwise the operator makes its own.",
        _BOOLEAN,
    ),
    ValueRow(
        "certificates.certManager.issuerRef",
        {},
        "Your own issuer: `{kind: ClusterIssuer, name: …}`; empty: one of this release.",
        _STRINGS,
    ),
    ValueRow("networkPolicies.enabled", True, "Limit who may connect to managers and hub.", _BOOLEAN),
    ValueRow(
        "networkPolicies.admissionFrom",
        [],
        "Peers that may reach admission and the hub's console; empty: all. See "
        "[Who may reach the ports](../../../docs/install.md#who-may-reach-the-ports).",
        _OBJECTS,
    ),
    ValueRow("networkPolicies.metricsFrom", _SELECTORS[1]["from"], "Peers that may read the metrics.", _OBJECTS),
    ValueRow("serviceMonitor.enabled", False, "ServiceMonitor and PodMonitor of the Prometheus operator.", _BOOLEAN),
    ValueRow("serviceMonitor.labels", {}, "Their labels, by which Prometheus selects them.", _LABELS),
    ValueRow("serviceMonitor.interval", "30s", "How often metrics are read.", _STRING),
    ValueRow("serviceMonitor.scrapeTimeout", "10s", "How long that may take.", _STRING),
    ValueRow(
        "prometheusRule.enabled",
        False,
        "The [alerts](../../../docs/monitoring.md), as a PrometheusRule of the Prometheus operator.",
        _BOOLEAN,
    ),
    ValueRow("prometheusRule.labels", {}, "Its labels, by which Prometheus selects it.", _LABELS),
    ValueRow(
        "prometheusRule.runbooks",
        RUNBOOKS,
        "Page to which the alerts link; it has a section for each.",
        _STRING,
    ),
    ValueRow("dashboards.enabled", False, "The dashboards, in a ConfigMap that Grafana's sidecar imports.", _BOOLEAN),
    ValueRow("dashboards.labels", SIDECAR_LABEL, "The label that the sidecar looks for.", _LABELS),
    ValueRow("dashboards.annotations", {}, "Its annotations, such as the folder: `{grafana_folder: …}`.", _STRINGS),
    ValueRow(
        "extraObjects",
        [],
        "More objects of the release: mappings, or texts. Both are templates: `{{ .Release.Namespace }}`.",
        {"type": "array", "items": {"type": ["object", "string"]}},
    ),
    # The hub.
    ValueRow("hub.enabled", True, "The hub of realtime Stories.", _BOOLEAN),
    ValueRow("hub.extraArgs", [], "More flags of `bobrapet hub`.", _WORDS),
    ValueRow("hub.env", [], "Environment variables of the hub.", _OBJECTS),
    ValueRow("hub.resources", _HUB["resources"], "Requests and limits of the hub.", _ANY_OBJECT),
    ValueRow(
        "hub.livenessProbe", timings(_HUB["livenessProbe"]), "Timings of the probe that restarts the container.", _PROBE
    ),
    ValueRow(
        "hub.readinessProbe",
        timings(_HUB["readinessProbe"]),
        "Timings of the probe that finds the replica that serves.",
        _PROBE,
    ),
    ValueRow("hub.podAnnotations", {}, "Annotations of its Pod.", _STRINGS),
    ValueRow("hub.podLabels", {}, "More labels of its Pod.", _LABELS),
    ValueRow("hub.service.annotations", {}, "Annotations of its Service.", _STRINGS),
    ValueRow("hub.service.labels", {}, "More labels of its Service.", _LABELS),
    ValueRow("hub.nodeSelector", {}, "Labels of the nodes to run on.", _LABELS),
    ValueRow("hub.tolerations", [], "Tolerated taints.", _OBJECTS),
    ValueRow("hub.affinity", {}, "Affinity of its Pod.", _ANY_OBJECT),
    ValueRow("hub.priorityClassName", "", "Priority class of its Pod.", _STRING),
)
"""All values but those of ``operatorConfig``, which has one for each key of the operator's ConfigMap."""
