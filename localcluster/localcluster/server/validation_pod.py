"""Validation of a Pod's spec, on its own and inside a template, and of changes to an existing Pod.

Causes have the API server's messages; fields are named below ``where``. Values already have the right types (decoding
checks that). Source: core/v1 validation of Kubernetes 1.37, compared case by case.
Not here: volumes and mounts (validation_volumes.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from localcluster.server import cause, validation_names, validation_quantity, validation_volumes
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.types import Object

_RESTART_POLICIES = ["Always", "OnFailure", "Never"]
_DNS_POLICIES = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]
_PULL_POLICIES = ["Always", "IfNotPresent", "Never"]
_MESSAGE_POLICIES = ["File", "FallbackToLogsOnError"]
_PROTOCOLS = ["SCTP", "TCP", "UDP"]
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_FIELD_PATHS = re.compile(
    r"metadata\.(?:name|namespace|uid|annotations|labels)|metadata\.(?:annotations|labels)\['[^']+'\]"
    r"|spec\.(?:nodeName|serviceAccountName)|status\.(?:hostIP|hostIPs|podIP|podIPs)"
)
_RESOURCE_FIELDS = re.compile(
    r"(?:limits|requests)\.(?:cpu|memory|ephemeral-storage|hugepages-\w+)|(?:limits|requests)\.[a-z0-9.-]+/[\w.-]+"
)
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates", "nodeName")
_MUTABLE_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod_spec_causes(spec: Object, where: str = "spec") -> list[Cause]:
    """Everything wrong with a Pod's spec."""
    return [*_pod_spec_causes(spec, where)]


def pod_change_causes(new: Object, old: Object) -> list[Cause]:
    """Every change to a Pod's spec that an update may not make."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for name in ("containers", "initContainers"):
        if len(before.get(name) or ()) != len(after.get(name) or ()):
            return [cause.forbidden(f"spec.{name}", "pod updates may not add or remove containers")]
    if _without_mutable(before) == _without_mutable(after) and before.get("nodeName") in (
        None,
        "",
        after.get("nodeName"),
    ):
        return []
    changed = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
    return [cause.forbidden("spec", f"{_MUTABLE_RULE}; changed: {', '.join(changed)}")]


def _without_mutable(spec: Object) -> Object:
    found = {name: value for name, value in spec.items() if name not in _MUTABLE}
    for name in ("containers", "initContainers"):
        if name in found:
            found[name] = [{key: item for key, item in entry.items() if key != "image"} for entry in found[name] or ()]
    return found


def _pod_spec_causes(spec: Object, where: str) -> Iterator[Cause]:
    yield from validation_volumes.volume_causes(spec, where)
    containers = spec.get("containers") or []
    if not containers:
        yield cause.required(f"{where}.containers")
    seen: set[str] = set()
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            place = f"{where}.{kind}[{index}]"
            yield from _container_causes(container, place)
            yield from validation_volumes.mount_causes(spec, container, place)
            name = container.get("name", "")
            if name and name in seen:
                yield cause.duplicate(f"{place}.name", name)
            seen.add(name)
    yield from _one_of(f"{where}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    yield from _one_of(f"{where}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        yield cause.invalid(f"{where}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
    for name in ("serviceAccountName", "nodeName"):
        if spec.get(name):
            yield from _named(f"{where}.{name}", spec[name], validation_names.why_not_subdomain(spec[name]))
    if spec.get("hostname"):
        yield from _named(f"{where}.hostname", spec["hostname"], validation_names.why_not_label(spec["hostname"]))


def _container_causes(container: Object, where: str) -> Iterator[Cause]:
    name, image = container.get("name", ""), container.get("image", "")
    if not name:
        yield cause.required(f"{where}.name")
    else:
        yield from _named(f"{where}.name", name, validation_names.why_not_label(name))
    if not image:
        yield cause.required(f"{where}.image")
    elif image != image.strip():
        yield cause.invalid(f"{where}.image", image, "must not have leading or trailing whitespace")
    yield from _port_causes(container, where)
    for index, variable in enumerate(container.get("env") or ()):
        yield from _variable_causes(variable, f"{where}.env[{index}]")
    for source in container.get("envFrom") or ():
        if (source.get("configMapRef") is None) == (source.get("secretRef") is None):
            yield cause.invalid(f"{where}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`")
    yield from _one_of(f"{where}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    yield from _one_of(
        f"{where}.terminationMessagePolicy", container.get("terminationMessagePolicy"), _MESSAGE_POLICIES
    )
    yield from _resource_causes(container.get("resources") or {}, f"{where}.resources")
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(kind) is not None:
            yield from _handler_causes(container[kind], f"{where}.{kind}")


def _port_causes(container: Object, where: str) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(container.get("ports") or ()):
        place = f"{where}.ports[{index}]"
        number = port.get("containerPort", 0)
        if not number:
            yield cause.required(f"{place}.containerPort")
        else:
            yield from _named(f"{place}.containerPort", number, validation_names.why_not_port(number))
        if port.get("name"):
            yield from _named(f"{place}.name", port["name"], validation_names.why_not_port_name(port["name"]))
            if port["name"] in names:
                yield cause.duplicate(f"{place}.name", port["name"])
            names.add(port["name"])
        yield from _one_of(f"{place}.protocol", port.get("protocol"), _PROTOCOLS)


def _variable_causes(variable: Object, where: str) -> Iterator[Cause]:
    name, source = variable.get("name", ""), variable.get("valueFrom")
    if not name:
        yield cause.required(f"{where}.name")
    else:
        yield from _named(f"{where}.name", name, validation_names.why_not_variable(name))
    if source is None:
        return
    place = f"{where}.valueFrom"
    given = [key for key, value in source.items() if value is not None]
    if not given:
        detail = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        )
        yield cause.invalid(place, "", detail)
    elif len(given) > 1:
        yield cause.invalid(place, "", "may not have more than one field specified at a time")
    elif variable.get("value"):
        yield cause.invalid(place, "", "may not be specified when `value` is not empty")
    yield from _source_causes(source, place)


def _source_causes(source: Object, where: str) -> Iterator[Cause]:
    field = source.get("fieldRef")
    if field is not None:
        path = field.get("fieldPath", "")
        if not path:
            yield cause.required(f"{where}.fieldRef.fieldPath")
        elif not _FIELD_PATHS.fullmatch(path):
            detail = f"error converting fieldPath: field label not supported: {path}"
            yield cause.invalid(f"{where}.fieldRef.fieldPath", path, detail)
    resource = source.get("resourceFieldRef")
    if resource is not None:
        name = resource.get("resource", "")
        if not name:
            yield cause.required(f"{where}.resourceFieldRef.resource")
        elif not _RESOURCE_FIELDS.fullmatch(name):
            yield cause.invalid(f"{where}.resourceFieldRef.resource", name, "unsupported resource name")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(kind)
        if reference is None:
            continue
        if not reference.get("name"):
            yield cause.required(f"{where}.{kind}.name")
        if not reference.get("key"):
            yield cause.required(f"{where}.{kind}.key")
        else:
            yield from _named(
                f"{where}.{kind}.key", reference["key"], validation_names.why_not_config_key(reference["key"])
            )


def _resource_causes(resources: Object, where: str) -> Iterator[Cause]:
    limits = resources.get("limits") or {}
    for kind in ("limits", "requests"):
        for name, text in (resources.get(kind) or {}).items():
            place, amount = f"{where}.{kind}[{name}]", validation_quantity.amount(text)
            if amount is None:
                detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                yield cause.invalid(place, text, detail)
            elif amount < 0:
                yield cause.invalid(place, text, "must be greater than or equal to 0")
            elif kind == "requests" and name in limits:
                limit = validation_quantity.amount(limits[name])
                if limit is not None and amount > limit:
                    detail = f"must be less than or equal to {name} limit of {limits[name]}"
                    yield cause.invalid(f"{where}.requests", text, detail)


def _handler_causes(probe: Object, where: str) -> Iterator[Cause]:
    given = [kind for kind in _HANDLERS if probe.get(kind) is not None]
    if not given:
        yield cause.required(where, "must specify a handler type")
    for kind in given[1:]:
        yield cause.forbidden(f"{where}.{kind}", "may not specify more than 1 handler type")


def _one_of(field: str, value: Any, allowed: list[str]) -> Iterator[Cause]:
    if value is not None and value not in allowed:
        yield cause.not_supported(field, value, list(allowed))


def _named(field: str, value: Any, complaints: list[str]) -> Iterator[Cause]:
    for complaint in complaints:
        yield Cause(CauseReason.INVALID, f"Invalid value: {cause.shown(value)}: {complaint}", field)
