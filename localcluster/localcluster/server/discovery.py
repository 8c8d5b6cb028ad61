"""Discovery documents: which groups, versions and resources are served.

Both the classic documents (one request per group version) and the aggregated ones (two requests in all), for which
clients ask with ``Accept: …;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList``.
Pure; callers may cache by the catalog's generation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from localcluster.server.types import Object, ResourceType

AGGREGATED_CONTENT_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Content type of the aggregated documents; clients that do not ask for it get the classic ones."""

_STATUS_VERBS = ("get", "patch", "update")
_SUBRESOURCES: dict[str, tuple[tuple[str, str, str] | None, tuple[str, ...]]] = {
    # subresource: (group, version, kind) that is read and written, if not the resource itself; verbs
    "binding": (("", "v1", "Binding"), ("create",)),
    "finalize": (None, ("update",)),
    "log": (None, ("get",)),
    "scale": (("autoscaling", "v1", "Scale"), _STATUS_VERBS),
    "status": (None, _STATUS_VERBS),
    "token": (("authentication.k8s.io", "v1", "TokenRequest"), ("create",)),
}
_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY = {"alpha": 0, "beta": 1, None: 2}


def wants_aggregated(accept: str) -> bool:
    """Whether an Accept header prefers the aggregated documents to the classic ones."""
    for offer in accept.split(","):
        parameters = {part.strip() for part in offer.split(";")[1:]}
        if "as=APIGroupDiscoveryList" in parameters:
            if {"g=apidiscovery.k8s.io", "v=v2"} <= parameters and offer.strip().startswith("application/json"):
                return True
            continue  # protobuf or v2beta1, which this server does not offer
        if offer.split(";")[0].strip() in ("application/json", "*/*", "application/*"):
            return False
    return False


def version_priority(version: str) -> tuple[int, int, int, str]:
    """A sort key: newer and more stable versions are higher: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > others."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (-1, 0, 0, version)
    return (_STABILITY[found[2]], int(found[1]), int(found[3] or 0), version)


def core_versions(server_address: str = "") -> Object:
    """``/api``: the versions of the core group."""
    cidrs = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}] if server_address else []
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": cidrs}


def api_groups(types: Iterable[ResourceType]) -> Object:
    """``/apis``: every named group with its versions, the preferred one first."""
    groups = [api_group_entry(group, versions) for group, versions in _groups(types).items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(types: Iterable[ResourceType], group: str) -> Object | None:
    """``/apis/<group>``; None when the group is not served."""
    versions = _groups(types).get(group)
    if not group or versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **api_group_entry(group, versions)}


def api_group_entry(group: str, versions: Sequence[str]) -> Object:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def group_resources(types: Iterable[ResourceType], group: str, version: str) -> Object | None:
    """``/api/v1`` and ``/apis/<group>/<version>``; None when the version is not served."""
    found = [rtype for rtype in types if rtype.group == group and rtype.version == version]
    if not found:
        return None
    resources: list[Object] = []
    for rtype in found:
        resources.append(_resource(rtype))
        resources += [_subresource(rtype, name) for name in _discoverable(rtype)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def aggregated(types: Iterable[ResourceType], *, core: bool) -> Object:
    """The aggregated document: of the core group (``/api``) or of all named groups (``/apis``)."""
    listed = list(types)
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [_aggregated_version(listed, group, version) for version in versions],
        }
        for group, versions in _groups(listed).items()
        if (group == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _groups(types: Iterable[ResourceType]) -> dict[str, list[str]]:
    """Groups in order of first appearance, each with its versions by priority."""
    found: dict[str, set[str]] = {}
    for rtype in types:
        found.setdefault(rtype.group, set()).add(rtype.version)
    return {group: sorted(versions, key=version_priority, reverse=True) for group, versions in found.items()}


def _discoverable(rtype: ResourceType) -> list[str]:
    return sorted(name for name in rtype.subresources if name in _SUBRESOURCES)


def _resource(rtype: ResourceType) -> Object:
    entry: Object = {
        "name": rtype.plural,
        "singularName": rtype.singular,
        "namespaced": rtype.namespaced,
        "kind": rtype.kind,
        "verbs": list(rtype.verbs),
    }
    return {**entry, **_names(rtype)}


def _subresource(rtype: ResourceType, name: str) -> Object:
    other, verbs = _SUBRESOURCES[name]
    entry: Object = {"name": f"{rtype.plural}/{name}", "singularName": "", "namespaced": rtype.namespaced}
    if other is not None and other[0] != rtype.group:
        entry |= {"group": other[0], "version": other[1]}
    return {**entry, "kind": other[2] if other is not None else rtype.kind, "verbs": list(verbs)}


def _names(rtype: ResourceType) -> dict[str, Any]:
    named = {"shortNames": list(rtype.short_names), "categories": list(rtype.categories)}
    return {key: value for key, value in named.items() if value}


def _aggregated_version(types: list[ResourceType], group: str, version: str) -> Object:
    resources = [_aggregated_resource(rtype) for rtype in types if (rtype.group, rtype.version) == (group, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(rtype: ResourceType) -> Object:
    own = (rtype.group, rtype.version, rtype.kind)
    entry: Object = {
        "resource": rtype.plural,
        "responseKind": _response_kind(own),
        "scope": "Namespaced" if rtype.namespaced else "Cluster",
        "singularResource": rtype.singular,
        "verbs": list(rtype.verbs),
        **_names(rtype),
    }
    subresources = [
        {"subresource": name, "responseKind": _response_kind(_SUBRESOURCES[name][0] or own), "verbs": list(verbs)}
        for name in _discoverable(rtype)
        for verbs in (_SUBRESOURCES[name][1],)
    ]
    return {**entry, "subresources": subresources} if subresources else entry


def _response_kind(kind: tuple[str, str, str]) -> Object:
    return dict(zip(("group", "version", "kind"), kind, strict=True))
