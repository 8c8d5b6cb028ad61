"""Which writes may change which part of an object, per kind and subresource, and when ``generation`` rises.

Pure. A status write changes only ``status`` (for built-in kinds also labels and annotations); any other write leaves
``status`` as it was. Source: the ``PrepareForCreate``/``PrepareForUpdate`` strategies of kube-apiserver.
"""

from __future__ import annotations

from typing import Final

from kubewire import values_equal
from localcluster.server.types import Object, ResourceType

_UNCONDITIONAL_EXCEPT: Final = frozenset(
    {("coordination.k8s.io", "leases"), ("apiextensions.k8s.io", "customresourcedefinitions")}
)
_CREATE_ON_UPDATE: Final = frozenset(
    {
        ("", "events"),
        ("", "limitranges"),
        ("coordination.k8s.io", "leases"),
        ("events.k8s.io", "events"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "roles"),
    }
)
_NAMESPACE_FINALIZER: Final = "kubernetes"
_TOP: Final = ("apiVersion", "kind", "metadata")
STATUS_FIELDS: Final = frozenset({*_TOP, "status"})
"""All fields that a write of the status reads."""


def allows_unconditional_update(resource: ResourceType) -> bool:
    """Whether an update without ``resourceVersion`` overwrites any stored version."""
    return not resource.custom and (resource.group, resource.plural) not in _UNCONDITIONAL_EXCEPT


def allows_create_on_update(resource: ResourceType) -> bool:
    """Whether a PUT to a name that does not exist creates the object."""
    return (resource.group, resource.plural) in _CREATE_ON_UPDATE


def only_written(obj: Object, resource: ResourceType, subresource: str) -> Object:
    """The part of ``obj`` that a write to ``subresource`` may change and therefore own; shares it with ``obj``."""
    if subresource == "status":
        return status_fields(obj)
    if "status" in resource.subresources:
        return {name: value for name, value in obj.items() if name != "status"}
    return obj


def status_fields(obj: Object) -> Object:
    """The part of ``obj`` that a write of its status reads; shares it with ``obj``."""
    return {name: value for name, value in obj.items() if name in STATUS_FIELDS}


def prepare_for_create(obj: Object, resource: ResourceType) -> None:
    """Discard fields that a create may not set, and fill in the initial values of the kind, in place."""
    if "status" in resource.subresources and (resource.group, resource.plural) != ("", "nodes"):
        obj.pop("status", None)  # only a node keeps its status: the kubelet registers it with one
        if not resource.custom:
            obj["status"] = {}
    if resource.counts_generation:
        obj["metadata"]["generation"] = 1
    else:
        obj["metadata"].pop("generation", None)
    if resource.custom or resource.group:
        return
    match resource.plural:
        case "pods":
            obj["status"] = {"phase": "Pending", "qosClass": _qos_class(obj.get("spec") or {})}
        case "persistentvolumeclaims":
            obj["status"] = {"phase": "Pending"}
        case "services":
            obj["status"] = {"loadBalancer": {}}
        case "namespaces":
            spec = obj.setdefault("spec", {})
            if _NAMESPACE_FINALIZER not in spec.setdefault("finalizers", []):
                spec["finalizers"].append(_NAMESPACE_FINALIZER)
            obj["status"] = {"phase": "Active"}
            obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def prepare_for_update(obj: Object, old: Object, resource: ResourceType, subresource: str) -> Object:
    """``obj`` with every part that this write may not change taken from ``old``; may be ``obj`` itself, changed."""
    if subresource == "binding":
        return obj  # the server made this object (binding.py), not the client
    if subresource == "status":
        return _status_update(obj, old, resource)
    if subresource == "finalize":
        spec = {**old.get("spec", {}), "finalizers": (obj.get("spec") or {}).get("finalizers") or []}
        return {**obj, "spec": spec, "status": old.get("status", {})}
    if "status" in resource.subresources:
        _keep(obj, old, "status")
    if (resource.group, resource.plural) == ("", "namespaces"):
        _keep(obj, old, "spec")
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    if resource.counts_generation:
        generation = old["metadata"].get("generation", 1)
        obj["metadata"]["generation"] = generation + (not _same_intent(obj, old, resource))
    else:
        _keep(obj["metadata"], old["metadata"], "generation")
    return obj


def _status_update(obj: Object, old: Object, resource: ResourceType) -> Object:
    if not resource.custom:
        kept = {key: value for key, value in old.items() if key not in ("metadata", "status")}
        metadata = {**obj["metadata"]}
        for name in ("ownerReferences", "generation"):
            _keep(metadata, old["metadata"], name)
        result = {**kept, "metadata": metadata}
    else:
        metadata = {**old["metadata"]}
        if "managedFields" in obj["metadata"]:
            metadata["managedFields"] = obj["metadata"]["managedFields"]
        result = {**old, "metadata": metadata}
        result.pop("status", None)
    if "status" in obj:
        result["status"] = obj["status"]
    return result


def _same_intent(obj: Object, old: Object, resource: ResourceType) -> bool:
    """Whether nothing changed outside metadata (and status, where it is a subresource)."""
    if not resource.custom:
        return values_equal(obj.get("spec"), old.get("spec")) and values_equal(obj.get("webhooks"), old.get("webhooks"))
    ignored = (*_TOP, "status") if "status" in resource.subresources else _TOP
    names = {name for name in (*obj, *old) if name not in ignored}
    return all(name in obj and name in old and values_equal(obj[name], old[name]) for name in names)


def _keep(target: Object, old: Object, name: str) -> None:
    if name in old:
        target[name] = old[name]
    else:
        target.pop(name, None)


def _qos_class(spec: Object) -> str:
    """``BestEffort`` without any resources, ``Guaranteed`` when every limit is set and equals its request."""
    requests_seen, guaranteed = False, True
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        relevant = ("cpu", "memory")
        requests_seen = requests_seen or any(name in limits or name in requests for name in relevant)
        guaranteed = guaranteed and all(
            name in limits and requests.get(name, limits[name]) == limits[name] for name in relevant
        )
    if not requests_seen:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
