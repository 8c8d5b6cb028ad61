"""The Pods of a release: managers, hub, and what stands around them. Those of the Kustomize set, with values in it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.objects import Object
from deployment import certmanager, configuration, hub, metadata, network, workload
from deployment.chart.nodes import (
    ALWAYS,
    Also,
    ReleaseCondition,
    Scalar,
    ValuePart,
    Values,
    When,
    given,
    part,
    partial,
    value,
    value_at,
)
from deployment.chart.release import BUDGET, BY_CERT_MANAGER, HUB, MONITORED, NETWORK, RELEASE, WEBHOOKS, labelled
from deployment.chart.values import EXTRA, SETTINGS, setting_keys
from deployment.chart.values_table import PASSED_ARGUMENTS
from deployment.observability import scraping

_MANAGER: Final = "controllerManager"

Flag = tuple[str, tuple[str, ...]]
"""A flag with an address, and the values with arguments in which it may be."""
_ARGUMENTS: Final = (f"{_MANAGER}.manager.args", f"{_MANAGER}.manager.extraArgs")
_PORTS: Final[Mapping[int, Flag]] = {
    metadata.WEBHOOK_PORT: ("webhook-bind-address", _ARGUMENTS),
    metadata.METRICS_PORT: ("metrics-bind-address", _ARGUMENTS),
    metadata.HEALTH_PORT: ("health-probe-bind-address", _ARGUMENTS),
}
_PORTS_OF_HUB: Final[Mapping[int, Flag]] = {
    hub.STREAM_PORT: ("bind-address", ("hub.extraArgs",)),
    hub.CONSOLE_PORT: ("console-bind-address", ("hub.extraArgs",)),
    hub.METRICS_PORT: ("metrics-bind-address", ("hub.extraArgs",)),
    metadata.HEALTH_PORT: ("health-probe-bind-address", ("hub.extraArgs",)),
}

Placed = tuple[ReleaseCondition, Object]
"""An object with nodes, and the condition under which it exists."""


def manager_objects() -> Iterator[Placed]:
    """The managers, their settings, Services, budget and network policy."""
    yield ALWAYS, _settings()
    yield ALWAYS, _managers()
    yield BUDGET, _budget()
    yield WEBHOOKS, _service(network.webhook_service(RELEASE), "webhookService")
    yield ALWAYS, _service(network.metrics_service(RELEASE), "metricsService")
    yield NETWORK, _network_policy(network.network_policy(RELEASE), _PORTS, admission=WEBHOOKS)


def hub_objects() -> Iterator[Placed]:
    """The hub, its Service and network policy."""
    yield HUB, _hub()
    yield HUB, _service_metadata(hub.service(RELEASE), "hub.service")
    yield HUB & NETWORK, _network_policy(hub.network_policy(RELEASE), _PORTS_OF_HUB, admission=ALWAYS)


def monitors() -> Iterator[Placed]:
    """What the Prometheus operator reads, as in ``manifests/observability``."""
    yield MONITORED, _monitor(scraping.service_monitor(RELEASE), "endpoints")
    yield MONITORED & HUB, _monitor(scraping.pod_monitor(RELEASE), "podMetricsEndpoints")


def _settings() -> Object:
    """Keys that have a value, and those of ``extra``."""
    found = labelled(configuration.config_map(RELEASE))
    return {**found, "data": {Also(partial("bobrapet.settings", _settings_of)): None}}


def _settings_of(values: Values) -> dict[str, str]:
    texts: Mapping[str, str] = {name: text for name, text in value_at(values, SETTINGS).items() if name != EXTRA}
    extra: Mapping[str, str] = value_at(values, f"{SETTINGS}.{EXTRA}")
    keys = setting_keys()
    return {**{keys[name]: text for name, text in texts.items()}, **extra}


def _managers() -> Object:
    deployment = labelled(copy.deepcopy(workload.deployment(RELEASE)))
    spec = deployment["spec"]
    spec["replicas"] = value("controllerManager.replicas", quoted=False)
    spec["strategy"] = _strategy()
    _with_metadata(spec["template"], _MANAGER)
    pod = spec["template"]["spec"]
    _with_placement(pod, _MANAGER)
    pod["terminationGracePeriodSeconds"] = value(f"{_MANAGER}.terminationGracePeriodSeconds", quoted=False)
    pod["hostNetwork"] = When(given(f"{_MANAGER}.hostNetwork"), True)
    pod["dnsPolicy"] = When(~(~given(f"{_MANAGER}.hostNetwork") & ~given(f"{_MANAGER}.dnsPolicy")), _dns_policy())
    pod["topologySpreadConstraints"] = part(f"{_MANAGER}.topologySpreadConstraints")
    (container,) = pod["containers"]
    _with_image(container)
    _with_probes(container, f"{_MANAGER}.manager")
    container["args"] = [Also(partial("bobrapet.arguments", _arguments))]
    container["env"] = partial("bobrapet.environment", _environment)
    container["envFrom"] = part(f"{_MANAGER}.manager.envFrom")
    container["resources"] = part(f"{_MANAGER}.manager.resources")
    (mount,), (volume,) = _certificate(certmanager.mounted(RELEASE))
    container["volumeMounts"] += [mount, Also(part(f"{_MANAGER}.extraVolumeMounts"))]
    pod["volumes"] += [volume, Also(part(f"{_MANAGER}.extraVolumes"))]
    container["ports"] = [_with_port(port, "containerPort", _PORTS) for port in container["ports"]]
    container["ports"][0] = When(WEBHOOKS, container["ports"][0])
    return deployment


def _certificate(patch: Object) -> tuple[list[When], list[When]]:
    """Mounts and volumes of cert-manager's certificate, from the overlay of the Kustomize set."""
    pod = patch["spec"]["template"]["spec"]
    mounts = pod["containers"][0]["volumeMounts"]
    return [When(BY_CERT_MANAGER, each) for each in mounts], [When(BY_CERT_MANAGER, each) for each in pod["volumes"]]


def _arguments(values: Values) -> list[str]:
    """What ``bobrapet.arguments`` writes while the flags among the values are the default ones."""
    own = workload.arguments(RELEASE)
    leader, endpoint, prefix = own[PASSED_ARGUMENTS:]
    hub_ = [endpoint] if value_at(values, "hub.enabled") else []
    by_others = value_at(values, "certificates.certManager.enabled") and value_at(values, "webhooks.enabled")
    files = [f"--webhook-cert-path={certmanager.CERTIFICATE_FOLDER}"] if by_others else []
    elected = leader if value_at(values, f"{_MANAGER}.leaderElection") else f"{leader}=false"
    extra: list[str] = value_at(values, f"{_MANAGER}.manager.extraArgs")
    return [*own[:PASSED_ARGUMENTS], elected, *hub_, prefix, *files, *extra]


def _environment(values: Values) -> list[Object]:
    off = [] if value_at(values, "webhooks.enabled") else [{"name": "ENABLE_WEBHOOKS", "value": "false"}]
    return [*off, *value_at(values, f"{_MANAGER}.manager.env")]


def _budget() -> Object:
    budget = labelled(workload.disruption_budget(RELEASE))
    least = value(f"{_MANAGER}.podDisruptionBudget.minAvailable", quoted=False)
    return {**budget, "spec": {**budget["spec"], "minAvailable": least}}


def _hub() -> Object:
    deployment = labelled(copy.deepcopy(hub.deployment(RELEASE)))
    template = deployment["spec"]["template"]
    _with_metadata(template, "hub")
    _with_placement(template["spec"], "hub")
    (container,) = template["spec"]["containers"]
    _with_image(container)
    _with_probes(container, "hub")
    container["ports"] = [_with_port(port, "containerPort", _PORTS_OF_HUB) for port in container["ports"]]
    container["args"] = [*hub.arguments(RELEASE), Also(part("hub.extraArgs"))]
    container["env"] = part("hub.env")
    container["resources"] = part("hub.resources")
    return deployment


def _with_metadata(template: Object, values: str) -> None:
    template["metadata"]["labels"] = {**template["metadata"]["labels"], Also(part(f"{values}.podLabels")): None}
    template["metadata"]["annotations"] = part(f"{values}.podAnnotations")


def _with_placement(pod: Object, values: str) -> None:
    pod["imagePullSecrets"] = part("imagePullSecrets")
    pod["securityContext"] = part(f"{_MANAGER}.podSecurityContext")
    pod["nodeSelector"] = part(f"{values}.nodeSelector")
    pod["tolerations"] = part(f"{values}.tolerations")
    pod["affinity"] = part(f"{values}.affinity")
    pod["priorityClassName"] = When(given(f"{values}.priorityClassName"), value(f"{values}.priorityClassName"))


def _with_image(container: Object) -> None:
    image = container["image"]
    container["image"] = Scalar('include "bobrapet.image" $', lambda _: image)
    container["imagePullPolicy"] = value(f"{_MANAGER}.manager.imagePullPolicy")
    container["securityContext"] = part(f"{_MANAGER}.manager.containerSecurityContext")


def _service(service: Object, values: str) -> Object:
    found = _service_metadata(service, values)
    spec = {
        "type": When(_is_not("ClusterIP", f"{values}.type"), value(f"{values}.type")),
        **found["spec"],
        "ports": part(f"{values}.ports"),
    }
    return {**found, "spec": spec}


def _service_metadata(service: Object, values: str) -> Object:
    found = labelled(service, f"{values}.labels")
    return {**found, "metadata": {**found["metadata"], "annotations": part(f"{values}.annotations")}}


def _is_not(word: str, path: str) -> ReleaseCondition:
    return ReleaseCondition(f'ne $.Values.{path} "{word}"', lambda values: value_at(values, path) != word)


def _network_policy(policy: Object, flags: Mapping[int, Flag], *, admission: ReleaseCondition) -> Object:
    """The policy, in which values say who reaches the ports of admission, console and metrics."""
    ingress = [_rule(rule, flags, admission) for rule in policy["spec"]["ingress"]]
    return {**labelled(policy), "spec": {**policy["spec"], "ingress": ingress}}


def _rule(rule: Object, flags: Mapping[int, Flag], admission: ReleaseCondition) -> Any:
    numbers = {each["port"] for each in rule["ports"]}
    ports = {"ports": [{"protocol": each["protocol"], **_with_port(each, "port", flags)} for each in rule["ports"]]}
    if numbers & {metadata.WEBHOOK_PORT, hub.CONSOLE_PORT}:
        return When(admission, {**ports, "from": part("networkPolicies.admissionFrom")})
    if numbers & {metadata.METRICS_PORT, hub.METRICS_PORT}:
        return {**ports, "from": part("networkPolicies.metricsFrom")}
    return {**ports, **{key: inner for key, inner in rule.items() if key != "ports"}}


def _with_port(port: Object, key: str, flags: Mapping[int, Flag]) -> Object:
    """The port on which the program listens: that of its flag, if the values have it."""
    number = port[key]
    name, lists = flags[number]
    text = " ".join(f"$.Values.{path}" for path in lists)
    called = f'include "bobrapet.port" (dict "args" (concat {text}) "flag" "{name}" "default" {number})'

    def of(values: Values) -> int:
        words = "\n".join(word for path in lists for word in value_at(values, path))
        found = re.findall(rf"(?m)^-+{name}[=\n].*:([0-9]+)$", words)
        return int(found[-1]) if found else number

    return {**port, key: Scalar(called, of)}


def _with_probes(container: Object, values: str) -> None:
    for name in ("livenessProbe", "readinessProbe"):
        container[name] = {"httpGet": container[name]["httpGet"], Also(part(f"{values}.{name}")): None}


def _strategy() -> ValuePart:
    """Without ``rollingUpdate`` for ``Recreate``: Helm merges the value with the default."""
    path = f"{_MANAGER}.strategy"

    def of(values: Values) -> Object:
        strategy: Object = value_at(values, path)
        return {"type": "Recreate"} if strategy["type"] == "Recreate" else strategy

    text = f'ternary (dict "type" "Recreate") $.Values.{path} (eq $.Values.{path}.type "Recreate")'
    return ValuePart(text, of)


def _dns_policy() -> Scalar:
    path = f"{_MANAGER}.dnsPolicy"
    text = f'default "ClusterFirstWithHostNet" $.Values.{path} | quote'
    return Scalar(text, lambda values: value_at(values, path) or "ClusterFirstWithHostNet")


def _monitor(monitor: Object, endpoints: str) -> Object:
    found = labelled(copy.deepcopy(monitor), "serviceMonitor.labels")
    for endpoint in found["spec"][endpoints]:
        endpoint["interval"] = value("serviceMonitor.interval")
        endpoint["scrapeTimeout"] = value("serviceMonitor.scrapeTimeout")
    return found
