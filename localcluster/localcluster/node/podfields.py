"""Fields of a Pod for its own containers: fieldRef and resourceFieldRef, in variables and downward volumes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcluster.node.quantity import in_units
from localcluster.node.settings import HOST_IP

Object = dict[str, Any]

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class PodFieldError(Exception):
    """The reference names a field or resource that does not exist; the text says which."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts about the node that its Pods can read."""

    node_name: str
    host_ip: str
    allocatable: Mapping[str, str]
    """Quantity by resource name: the limit that a container without one of its own sees."""
    address_of: Callable[[Object], str] = lambda _: HOST_IP
    """The address of a Pod."""


def field_value(pod: Object, path: str, host: HostFacts) -> str:
    """The string at ``path``, e.g. ``metadata.name`` or ``metadata.labels['app']``; a missing label is ``""``.

    Raises:
        PodFieldError: Kubernetes offers no such path.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript is not None:
        return str((metadata.get(subscript.group(1)) or {}).get(subscript.group(2), ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata[path.removeprefix("metadata.")])
        case "metadata.labels" | "metadata.annotations":
            entries = metadata.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(entries.items()))
        case "spec.nodeName":
            return host.node_name
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName") or "default")
        case "status.hostIP" | "status.hostIPs":
            return host.host_ip
        case "status.podIP" | "status.podIPs":
            return host.address_of(pod)
    raise PodFieldError(f"fieldRef.fieldPath: {path!r} is not supported")


def resource_value(container: Object, reference: Mapping[str, Any], host: HostFacts) -> str:
    """The limit or request that ``reference`` (a resourceFieldRef) names, in units of its divisor.

    Raises:
        PodFieldError: the resource does not exist, or a quantity cannot be read.
    """
    kind, _, resource = str(reference["resource"]).partition(".")
    resources = container.get("resources") or {}
    if kind not in ("limits", "requests") or not resource:
        raise PodFieldError(f"resourceFieldRef.resource: {reference['resource']!r}; write for example limits.cpu")
    quantity = (resources.get(kind) or {}).get(resource)
    if quantity is None and kind == "limits":
        quantity = host.allocatable.get(resource)
    try:
        return str(in_units(str(quantity or "0"), str(reference.get("divisor") or "1")))
    except ValueError as error:
        raise PodFieldError(f"resourceFieldRef: {error}") from error


def _quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(letter, letter) for letter in value) + '"'
