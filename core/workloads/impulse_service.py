"""The Service in front of a listener, and what has to change in a stored one. Pure. Source: Trigger contract 6.4.

The operator owns the labels, annotations and fields that it writes, and no others: an annotation of the Service records
its keys, so that one which is no longer wanted is removed, and those of others stay. Values that the API server fills
in, such as addresses and node ports, are never compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import SERVICE
from core.workloads.impulse_workload import ListenerMode, ListenerWorkload, controlled_by_impulse, workload_labels

HEADLESS: Final = "None"
"""``clusterIP`` of a Service without an address of its own."""
_CLUSTER_IP: Final = "ClusterIP"
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_service_name(text: str) -> bool:
    return _DNS_LABEL.fullmatch(text) is not None


def service_ports(template: ReadOnlyObject) -> list[Object]:
    """The ports of the template, in the form of a Service; empty: the listener needs no Service."""
    execution = (template.get("spec") or {}).get("execution") or {}
    return [
        {
            **({"name": port["name"]} if port.get("name") else {}),
            "protocol": port.get("protocol") or "TCP",
            "port": port["port"],
            "targetPort": port["targetPort"],
        }
        for port in (execution.get("service") or {}).get("ports") or ()
    ]


def listener_service(workload: ListenerWorkload, ports: Sequence[Object], settings: ReadOnlyObject) -> Object:
    """The Service to create; ``settings`` is ``spec.service`` of the Impulse.

    That of a StatefulSet is headless, so that each Pod has a name in DNS; unless another type was asked for.
    """
    obj = controlled_by_impulse(
        workload.namespace, workload.impulse_name, workload.impulse_uid, workload.service_name, SERVICE
    )
    metadata, selector = obj["metadata"], workload_labels(workload.impulse_name)
    metadata["labels"] = {**(settings.get("labels") or {}), **selector}
    metadata["annotations"] = dict(settings.get("annotations") or {})
    metadata["annotations"][keys.ANNOTATION_MANAGED_KEYS] = ",".join(_managed(metadata))
    type_ = settings.get("type") or _CLUSTER_IP
    spec: Object = {"type": type_, "selector": selector, "ports": list(ports)}
    if workload.mode is ListenerMode.STATEFUL_SET and type_ == _CLUSTER_IP:
        spec["clusterIP"] = HEADLESS
    return {**obj, "spec": spec}


def must_be_replaced(stored: ReadOnlyObject, wanted: ReadOnlyObject) -> bool:
    """Whether the stored Service has to be deleted first: a Service cannot become headless, or stop being it."""
    return _is_headless(stored) != _is_headless(wanted)


def service_correction(stored: ReadOnlyObject, wanted: ReadOnlyObject) -> Object:
    """The merge patch that gives the stored Service what is wanted; empty when it has it already."""
    patch: Object = {}
    spec = {key: value for key, value in wanted["spec"].items() if not _has(stored["spec"].get(key), value)}
    if "selector" in spec:
        spec["selector"] = {**dict.fromkeys(stored["spec"].get("selector") or {}), **spec["selector"]}
    if spec:
        patch["spec"] = spec
    metadata = {part: changes for part in ("labels", "annotations") if (changes := _changed(stored, wanted, part))}
    if metadata:
        patch["metadata"] = metadata
    return patch


def _is_headless(service: ReadOnlyObject) -> bool:
    return bool(service["spec"].get("clusterIP") == HEADLESS)


def _managed(metadata: ReadOnlyObject) -> Iterator[str]:
    for part in ("labels", "annotations"):
        yield from (f"{part}:{key}" for key in sorted(metadata[part]))


def _changed(stored: ReadOnlyObject, wanted: ReadOnlyObject, part: str) -> dict[str, Any]:
    """Changes of the labels or annotations: what is wanted, and nothing for each key that is not wanted any more."""
    have, want = stored["metadata"].get(part) or {}, wanted["metadata"][part]
    record = (stored["metadata"].get("annotations") or {}).get(keys.ANNOTATION_MANAGED_KEYS) or ""
    managed = [entry.removeprefix(f"{part}:") for entry in record.split(",") if entry.startswith(f"{part}:")]
    stale: dict[str, Any] = {key: None for key in managed if key in have and key not in want}
    return stale | {key: value for key, value in want.items() if have.get(key) != value}


def _has(stored: Any, wanted: Any) -> bool:
    """Whether the stored value has everything that is wanted; a list must have as many entries.

    The selector must be equal: one more label would select other Pods.
    """
    if isinstance(wanted, list):
        entries = stored if isinstance(stored, list) else []
        return len(entries) == len(wanted) and all(map(_has_fields, entries, wanted))
    return bool(stored == wanted)


def _has_fields(stored: Any, wanted: Mapping[str, Any]) -> bool:
    return isinstance(stored, dict) and all(stored.get(key) == value for key, value in wanted.items())
