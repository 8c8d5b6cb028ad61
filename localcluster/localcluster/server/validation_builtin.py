"""Validation of objects of built-in kinds, with the API server's messages.

Pods, workloads, definitions and webhooks have modules of their own; the rest is here. Values already have the right
types (builtin_typing.py).
Not here: object metadata (objectmeta.py). Source: Kubernetes 1.37, compared case by case.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator

from localcluster.server import cause, validation_names
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.types import Object, ResourceType
from localcluster.server.validation_crd import definition_causes
from localcluster.server.validation_pod import pod_change_causes, pod_spec_causes
from localcluster.server.validation_policies import policy_binding_causes, policy_causes
from localcluster.server.validation_webhooks import configuration_causes
from localcluster.server.validation_workloads import (
    controller_revision_causes,
    deployment_causes,
    job_causes,
    replica_set_causes,
    stateful_set_causes,
)

_MAX_DATA_BYTES = 1024 * 1024
_WHOLE = "[]"
"""The name that the API server gives as the field when all data together is too long."""
_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_SERVICE_TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
_PROTOCOLS = ["SCTP", "TCP", "UDP"]
_RBAC_GROUP = "rbac.authorization.k8s.io"


def validate_builtin(obj: Object, old: Object | None, rtype: ResourceType) -> list[Cause]:
    """Every reason to refuse ``obj``; with ``old``, also changes that an update may not make."""
    check = _CHECKS.get((rtype.group, rtype.plural))
    if check is None or (old is not None and _has_same_content(obj, old)):
        return []
    return list(check(obj, old))


def _has_same_content(obj: Object, old: Object) -> bool:
    """Whether only metadata or status changed: the rest was valid when it was written."""
    names = {*obj, *old}.difference(("metadata", "status"))
    return all(name in obj and name in old and _is_same(obj[name], old[name]) for name in names)


def _is_same(value: object, before: object) -> bool:
    return value is before or value == before


def _pod(pod: Object, old: Object | None) -> Iterator[Cause]:
    yield from pod_spec_causes(pod.get("spec") or {})
    if old is not None:
        yield from pod_change_causes(pod, old)


def _secret(secret: Object, old: Object | None) -> Iterator[Cause]:
    data = secret.get("data") or {}
    yield from _key_causes(data, "data")
    for key, value in data.items():
        if not _is_base64(value):
            yield cause.invalid(f"data[{key}]", value, "must be base64 encoded")
    if sum(len(value) * 3 // 4 for value in data.values()) > _MAX_DATA_BYTES:
        yield cause.too_long(_WHOLE, _MAX_DATA_BYTES)
    for key in _SECRET_KEYS.get(secret.get("type", ""), ()):
        if key not in data:
            yield cause.required(f"data[{key}]")
    if old is None:
        return
    if secret.get("type") != old.get("type"):
        yield cause.invalid("type", secret.get("type"), "field is immutable")
    yield from _immutable_causes(secret, old, ("data",))


def _config_map(config_map: Object, old: Object | None) -> Iterator[Cause]:
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    yield from _key_causes(data, "data")
    for key in data:
        if key in binary:
            yield cause.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    yield from _key_causes(binary, "binaryData")
    size = sum(len(value.encode()) for value in data.values()) + sum(len(value) * 3 // 4 for value in binary.values())
    if size > _MAX_DATA_BYTES:
        yield cause.too_long(_WHOLE, _MAX_DATA_BYTES)
    if old is not None:
        yield from _immutable_causes(config_map, old, ("data", "binaryData"))


def _service(service: Object, old: Object | None) -> Iterator[Cause]:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type", "ClusterIP"), spec.get("ports") or []
    if kind not in _SERVICE_TYPES:
        yield cause.not_supported("spec.type", kind, list(_SERVICE_TYPES))
    if kind == "ExternalName" and not spec.get("externalName"):
        yield cause.required("spec.externalName")
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield cause.required("spec.ports")
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        where, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            yield cause.required(f"{where}.name")
        if name and name in names:
            yield cause.duplicate(f"{where}.name", name)
        names.add(name)
        number, protocol = port.get("port", 0), port.get("protocol", "TCP")
        for complaint in validation_names.why_not_port(number):
            yield cause.invalid(f"{where}.port", number, complaint)
        target = port.get("targetPort", number)
        if isinstance(target, int):
            for complaint in validation_names.why_not_port(target):
                yield cause.invalid(f"{where}.targetPort", target, complaint)
        if protocol not in _PROTOCOLS:
            yield cause.not_supported(f"{where}.protocol", protocol, list(_PROTOCOLS))
        if (protocol, number) in numbers:
            yield cause.duplicate(where, {"port": number, "protocol": protocol})
        numbers.add((protocol, number))
    if old is not None and kind != "ExternalName":
        before = (old.get("spec") or {}).get("clusterIP")
        if before and spec.get("clusterIP") not in (None, before):
            yield cause.invalid("spec.clusterIP", spec.get("clusterIP"), "may not change once set")


def _namespace(namespace: Object, _old: Object | None) -> Iterator[Cause]:
    name = namespace["metadata"].get("name", "")
    if name:
        for complaint in validation_names.why_not_label(name):
            if complaint == "must not contain dots" or len(name) > validation_names.LABEL_BYTES:
                yield cause.invalid("metadata.name", name, complaint)


def _role(role: Object, _old: Object | None) -> Iterator[Cause]:
    namespaced = role.get("kind") == "Role" or bool(role["metadata"].get("namespace"))
    for index, rule in enumerate(role.get("rules") or ()):
        where = f"rules[{index}]"
        if not rule.get("verbs"):
            yield cause.required(f"{where}.verbs")
        urls = rule.get("nonResourceURLs")
        if urls:
            if namespaced:
                detail = "namespaced rules cannot apply to non-resource URLs"
                yield cause.invalid(f"{where}.nonResourceURLs", urls, detail)
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                yield cause.invalid(f"{where}.nonResourceURLs", urls, detail)
            continue
        if not rule.get("apiGroups"):
            yield cause.required(f"{where}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield cause.required(f"{where}.resources", "resource rules must supply at least one resource")


def _binding(binding: Object, old: Object | None) -> Iterator[Cause]:
    role = binding.get("roleRef") or {}
    namespaced = bool(binding["metadata"].get("namespace")) or binding.get("kind") == "RoleBinding"
    kinds = ["Role", "ClusterRole"] if namespaced else ["ClusterRole"]
    if role.get("apiGroup", _RBAC_GROUP) != _RBAC_GROUP:
        yield cause.not_supported("roleRef.apiGroup", role["apiGroup"], [_RBAC_GROUP])
    if role.get("kind") not in kinds:
        yield cause.not_supported("roleRef.kind", role.get("kind", ""), list(kinds))
    if not role.get("name"):
        yield cause.required("roleRef.name")
    for index, subject in enumerate(binding.get("subjects") or ()):
        yield from _subject_causes(subject, f"subjects[{index}]", namespaced=namespaced)
    if old is not None and role != (old.get("roleRef") or {}):
        yield cause.invalid("roleRef", role, "field is immutable")


def _subject_causes(subject: Object, where: str, *, namespaced: bool) -> Iterator[Cause]:
    if not subject.get("name"):
        yield cause.required(f"{where}.name")
    kind = subject.get("kind", "")
    if kind not in ("ServiceAccount", "User", "Group"):
        yield cause.not_supported(f"{where}.kind", kind, ["ServiceAccount", "User", "Group"])
    elif kind == "ServiceAccount" and not namespaced and not subject.get("namespace"):
        yield cause.required(f"{where}.namespace")
    elif kind != "ServiceAccount" and subject.get("apiGroup", _RBAC_GROUP) != _RBAC_GROUP:
        yield cause.not_supported(f"{where}.apiGroup", subject["apiGroup"], [_RBAC_GROUP])


def _lease(lease: Object, _old: Object | None) -> Iterator[Cause]:
    spec = lease.get("spec") or {}
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        yield cause.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield cause.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _core_event(event: Object, _old: Object | None) -> Iterator[Cause]:
    about = (event.get("involvedObject") or {}).get("namespace") or "default"
    if about != event["metadata"].get("namespace", about):
        yield cause.invalid("involvedObject.namespace", about, "does not match event.namespace")


def _event(event: Object, old: Object | None) -> Iterator[Cause]:
    about = (event.get("regarding") or {}).get("namespace") or "default"
    if about != event["metadata"].get("namespace", about):
        yield cause.invalid("regarding.namespace", about, "does not match event.namespace")
    if old is not None:
        return
    needed = (
        ("reportingController", "reportingInstance", "action", "reason") if event.get("eventTime") else ("eventTime",)
    )
    for field in needed:
        if not event.get(field):
            yield cause.required(field)
    if event.get("type") not in ("Normal", "Warning"):
        yield cause.invalid("type", "", f"has invalid value: {event.get('type', '')}")


def _key_causes(entries: Object, where: str) -> Iterator[Cause]:
    for key in entries:
        for complaint in validation_names.why_not_config_key(key):
            yield Cause(CauseReason.INVALID, f"Invalid value: {cause.shown(key)}: {complaint}", f"{where}[{key}]")


def _immutable_causes(obj: Object, old: Object, names: tuple[str, ...]) -> Iterator[Cause]:
    if not old.get("immutable"):
        return
    for name in (*names, "immutable"):
        if obj.get(name) != old.get(name):
            yield cause.forbidden(name, "field is immutable when `immutable` is set")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


_CHECKS: dict[tuple[str, str], Callable[[Object, Object | None], Iterator[Cause]]] = {
    ("", "configmaps"): _config_map,
    ("", "events"): _core_event,
    ("", "namespaces"): _namespace,
    ("", "pods"): _pod,
    ("", "secrets"): _secret,
    ("", "services"): _service,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): configuration_causes,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): configuration_causes,
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): policy_causes,
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): policy_binding_causes,
    ("apiextensions.k8s.io", "customresourcedefinitions"): definition_causes,
    ("apps", "controllerrevisions"): controller_revision_causes,
    ("apps", "deployments"): deployment_causes,
    ("apps", "replicasets"): replica_set_causes,
    ("apps", "statefulsets"): stateful_set_causes,
    ("batch", "jobs"): job_causes,
    ("coordination.k8s.io", "leases"): _lease,
    ("events.k8s.io", "events"): _event,
    (_RBAC_GROUP, "clusterrolebindings"): _binding,
    (_RBAC_GROUP, "clusterroles"): _role,
    (_RBAC_GROUP, "rolebindings"): _binding,
    (_RBAC_GROUP, "roles"): _role,
}
