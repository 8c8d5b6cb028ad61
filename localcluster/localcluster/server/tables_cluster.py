"""Rows of the kinds that are not workloads: configuration, access, network, nodes, events, definitions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from localcluster.server import tables_age
from localcluster.server.tables_workloads import label_selector_text
from localcluster.server.types import Object

_NONE = "<none>"
_UNSET = "<unset>"
_ROLE_PREFIX = "node-role.kubernetes.io/"
_MAX_ENDPOINTS = 3


def name_age(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], _age(obj, now)]


def name_created(obj: Object, _now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp")]


def config_map(obj: Object, now: datetime) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [obj["metadata"]["name"], count, _age(obj, now)]


def secret(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), _age(obj, now)]


def namespace(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), _age(obj, now)]


def event(obj: Object, now: datetime) -> list[Any]:
    """The row of an Event of core or events.k8s.io."""
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    subject = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    kind, name = subject.get("kind", ""), subject.get("name", "")
    return [
        tables_age.age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind.lower()}/{name}" if name else kind.lower(),
        subject.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        (obj.get("message") or obj.get("note") or "").strip(),
        tables_age.age(first, now),
        series.get("count") or obj.get("count") or obj.get("deprecatedCount") or 1,
        obj["metadata"]["name"],
    ]


def node(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    kernel = info.get("kernelVersion") or tables_age.UNKNOWN
    if info.get("kernelVersion") and info.get("architecture"):
        kernel = f"{kernel} ({info['architecture']})"
    return [
        obj["metadata"]["name"],
        _node_status(obj, status),
        _node_roles(obj),
        _age(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or tables_age.UNKNOWN,
        kernel,
        info.get("containerRuntimeVersion") or tables_age.UNKNOWN,
    ]


def service(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    selector = spec.get("selector")
    return [
        obj["metadata"]["name"],
        spec.get("type", ""),
        spec.get("clusterIP") or _NONE,
        _external_ip(obj, spec),
        ",".join(_service_port(port) for port in spec.get("ports") or ()) or _NONE,
        _age(obj, now),
        label_selector_text({"matchLabels": selector} if selector else None),
    ]


def endpoint_slice(obj: Object, now: datetime) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for entry in obj.get("endpoints") or () for address in entry.get("addresses") or ()]
    name = obj["metadata"]["name"]
    return [name, obj.get("addressType", ""), _some(ports, "<unset>"), _some(addresses, "<unset>"), _age(obj, now)]


def claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    modes = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        obj["metadata"]["name"],
        phase,
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        ",".join(modes.get(mode, mode) for mode in status.get("accessModes") or ()) if bound else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or "<unset>",
        _age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def resource_quota(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    terms = [
        (name, f"{name}: {used.get(name, '0')}/{hard}") for name, hard in sorted((status.get("hard") or {}).items())
    ]
    requests = ", ".join(text for name, text in terms if not name.startswith("limits."))
    limits = ", ".join(text for name, text in terms if name.startswith("limits."))
    return [obj["metadata"]["name"], requests, limits, _age(obj, now)]


def binding(obj: Object, now: datetime) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()

    def named(kind: str) -> str:
        return ", ".join(subject.get("name", "") for subject in subjects if subject.get("kind") == kind)

    accounts = ", ".join(
        f"{subject.get('namespace', '')}/{subject.get('name', '')}"
        for subject in subjects
        if subject.get("kind") == "ServiceAccount"
    )
    role_text = f"{role.get('kind', '')}/{role.get('name', '')}"
    return [obj["metadata"]["name"], role_text, _age(obj, now), named("User"), named("Group"), accounts]


def lease(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity") or "", _age(obj, now)]


def webhook_configuration(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("webhooks") or ()), _age(obj, now)]


def admission_policy(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    kind = spec.get("paramKind")
    shown = f"{kind['apiVersion']}/{kind['kind']}" if kind else _UNSET
    return [obj["metadata"]["name"], len(spec.get("validations") or ()), shown, _age(obj, now)]


def admission_policy_binding(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    reference, shown = spec.get("paramRef"), _UNSET
    if reference and reference.get("name"):
        shown = f"{reference.get('namespace') or '*'}/{reference['name']}"
    elif reference and reference.get("selector") is not None:
        shown = label_selector_text(reference["selector"])
    return [obj["metadata"]["name"], spec.get("policyName", ""), shown, _age(obj, now)]


def custom_resource_definition(obj: Object, _now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    versions = [
        version["name"] + ("(storage)" if version.get("storage") else "")
        for version in spec.get("versions") or ()
        if version.get("served") or version.get("storage")
    ]
    established = any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in (obj.get("status") or {}).get("conditions") or ()
    )
    return [
        obj["metadata"]["name"],
        spec.get("scope", ""),
        ",".join(versions),
        obj["metadata"].get("creationTimestamp"),
        spec.get("group", ""),
        names.get("kind", ""),
        ",".join(names.get("shortNames") or ()),
        established,
    ]


def network_policy(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], label_selector_text((obj.get("spec") or {}).get("podSelector")), _age(obj, now)]


def disruption_budget(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        obj["metadata"]["name"],
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        (obj.get("status") or {}).get("disruptionsAllowed", 0),
        _age(obj, now),
    ]


def _age(obj: Object, now: datetime) -> str:
    return tables_age.age(obj["metadata"].get("creationTimestamp"), now)


def _node_status(obj: Object, status: Object) -> str:
    ready = next((found for found in status.get("conditions") or () if found.get("type") == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else word


def _node_roles(obj: Object) -> str:
    labels = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)} - {""}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles)) or _NONE


def _address(status: Object, kind: str) -> str:
    return next((entry["address"] for entry in status.get("addresses") or () if entry.get("type") == kind), _NONE)


def _external_ip(obj: Object, spec: Object) -> str:
    external: list[str] = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ExternalName":
            return spec.get("externalName") or _NONE
        case "LoadBalancer":
            ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            balanced = [entry.get("ip") or entry.get("hostname") or "" for entry in ingress]
            return ",".join([*balanced, *external]) or "<pending>"
        case _:
            return ",".join(external) or _NONE


def _service_port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _some(listed: list[str], none: str = _NONE) -> str:
    """The first few entries of a list, and how many more it has."""
    if not listed:
        return none
    more = len(listed) - _MAX_ENDPOINTS
    return ",".join(listed[:_MAX_ENDPOINTS]) + (f" + {more} more..." if more > 0 else "")
