"""Objects as the table that ``kubectl get`` prints (meta.k8s.io/v1 Table).

Built-in kinds have the columns and cells of the real server; custom kinds those of their additionalPrinterColumns, or
name and age. Not here: the cells of single kinds (tables_*.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from localcluster.server import tables_age, tables_cluster, tables_jsonpath, tables_pod, tables_workloads
from localcluster.server.types import Object, PrinterColumn, ResourceType

Include = Literal["Metadata", "None", "Object"]
"""What each row carries beside its cells: the object's metadata, nothing, or the whole object."""

_Cells = Callable[[Object, datetime], list[Any]]


@dataclass(frozen=True)
class _Column:
    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object.",
            "priority": self.priority,
        }


@dataclass(frozen=True)
class _Layout:
    columns: tuple[_Column, ...]
    cells: _Cells
    conditions: Callable[[Object], list[Object]] | None = None


def render_table(
    rtype: ResourceType,
    objects: Iterable[Object],
    *,
    now: datetime,
    resource_version: str,
    include: Include = "Metadata",
    continue_token: str = "",
    remaining: int | None = None,
    with_columns: bool = True,
) -> Object:
    """A Table with one row per object.

    Args:
        now: the time, with a timezone, from which ages are counted.
        resource_version: of the list, or of the single object.
        continue_token: of a list that goes on, with ``remaining`` items after this page.
        with_columns: False for watch events after the first, which do not repeat the column definitions.
    """
    layout = _layout(rtype)
    metadata: Object = {"resourceVersion": resource_version}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in layout.columns] if with_columns else [],
        "rows": [_row(layout, obj, now, include) for obj in objects],
    }


def _row(layout: _Layout, obj: Object, now: datetime, include: Include) -> Object:
    row: Object = {"cells": layout.cells(obj, now)}
    if layout.conditions is not None and (conditions := layout.conditions(obj)):
        row["conditions"] = conditions
    match include:
        case "Object":
            row["object"] = obj
        case "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj.get("metadata") or {},
            }
        case "None":
            row["object"] = None
    return row


def _layout(rtype: ResourceType) -> _Layout:
    if rtype.custom:
        return _custom_layout(rtype.printer_columns)
    return _BUILTIN.get((rtype.group, rtype.plural), _NAME_AND_AGE)


def _custom_layout(printed: tuple[PrinterColumn, ...]) -> _Layout:
    if not printed:
        return _NAME_AND_AGE
    columns = tuple(
        _Column(
            column.name,
            column.type,
            column.format,
            column.priority,
            column.description or f"Custom resource definition column (in JSONPath format): {column.json_path}",
        )
        for column in printed
    )

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [obj["metadata"]["name"], *(_custom_cell(column, obj, now) for column in printed)]

    return _Layout((_NAME, *columns), cells)


def _custom_cell(column: PrinterColumn, obj: Object, now: datetime) -> Any:
    """The first value that the path selects; None when there is none or it is not of the column's type."""
    found = tables_jsonpath.values_at(column.json_path, obj)
    value = found[0] if found else None
    match column.type:
        case "date":
            return tables_age.age(value, now) if isinstance(value, str) else None
        case "integer":
            return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case _:
            return None if value is None else value if isinstance(value, str) else _as_text(value)


def _as_text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- columns of built-in kinds ---------------------------------------------------------------------------------------

_NAME = _Column("Name", format="name", description="Name of the object, unique among its kind in its namespace.")
_AGE = _Column("Age", description="Time since the object was created.")
_CREATED = _Column("Created At", "date", description="When the object was created.")


def _columns(*names: str, wide: tuple[str, ...] = ()) -> tuple[_Column, ...]:
    """Columns by name; ``wide`` ones appear only with ``-o wide``. ``name:type`` states a type other than string."""
    found = [_NAME]
    for priority, listed in ((0, names), (1, wide)):
        for entry in listed:
            name, _, type_name = entry.partition(":")
            found.append(_AGE if name == "Age" else _Column(name, type_name or "string", priority=priority))
    return tuple(found)


_NAME_AND_AGE = _Layout((_NAME, _AGE), tables_cluster.name_age)
_NAME_AND_DATE = _Layout((_NAME, _CREATED), tables_cluster.name_created)

_EVENT = _Layout(
    (
        _Column("Last Seen", description="When this was observed most recently."),
        _Column("Type", description="Normal or Warning."),
        _Column("Reason", description="One word for what happened."),
        _Column("Object", description="What the event is about."),
        _Column("Subobject", priority=1, description="The part of the object it is about."),
        _Column("Source", priority=1, description="The component that reported it."),
        _Column("Message", description="Human-readable description of what happened."),
        _Column("First Seen", priority=1, description="When this was observed first."),
        _Column("Count", priority=1, description="How often this was observed."),
        _Column("Name", format="name", priority=1, description="Name of the event itself."),
    ),
    tables_cluster.event,
)
_WIDE_NODE = ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")
_WIDE_WORKLOAD = ("Containers", "Images", "Selector")
_BINDING = _Layout(_columns("Role", "Age", wide=("Users", "Groups", "ServiceAccounts")), tables_cluster.binding)
_WEBHOOKS = _Layout(_columns("Webhooks:integer", "Age"), tables_cluster.webhook_configuration)

_BUILTIN: dict[tuple[str, str], _Layout] = {
    ("", "configmaps"): _Layout(_columns("Data", "Age"), tables_cluster.config_map),
    ("", "events"): _EVENT,
    ("", "limitranges"): _NAME_AND_DATE,
    ("", "namespaces"): _Layout(_columns("Status", "Age"), tables_cluster.namespace),
    ("", "nodes"): _Layout(_columns("Status", "Roles", "Age", "Version", wide=_WIDE_NODE), tables_cluster.node),
    ("", "persistentvolumeclaims"): _Layout(
        _columns(
            "Status",
            "Volume",
            "Capacity",
            "Access Modes",
            "StorageClass",
            "VolumeAttributesClass",
            "Age",
            wide=("VolumeMode",),
        ),
        tables_cluster.claim,
    ),
    ("", "pods"): _Layout(
        _columns("Ready", "Status", "Restarts", "Age", wide=("IP", "Node", "Nominated Node", "Readiness Gates")),
        tables_pod.pod_cells,
        tables_pod.finished_condition,
    ),
    ("", "resourcequotas"): _Layout(_columns("Request", "Limit", "Age"), tables_cluster.resource_quota),
    ("", "secrets"): _Layout(_columns("Type", "Data", "Age"), tables_cluster.secret),
    ("", "services"): _Layout(
        _columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)), tables_cluster.service
    ),
    ("apps", "controllerrevisions"): _Layout(
        _columns("Controller", "Revision", "Age"), tables_workloads.controller_revision_cells
    ),
    ("apps", "deployments"): _Layout(
        _columns("Ready", "Up-to-date", "Available", "Age", wide=_WIDE_WORKLOAD), tables_workloads.deployment_cells
    ),
    ("apps", "replicasets"): _Layout(
        _columns("Desired:integer", "Current:integer", "Ready:integer", "Age", wide=_WIDE_WORKLOAD),
        tables_workloads.replica_set_cells,
    ),
    ("apps", "statefulsets"): _Layout(
        _columns("Ready", "Age", wide=("Containers", "Images")), tables_workloads.stateful_set_cells
    ),
    ("batch", "jobs"): _Layout(
        _columns("Status", "Completions", "Duration", "Age", wide=_WIDE_WORKLOAD), tables_workloads.job_cells
    ),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _BINDING,
    ("rbac.authorization.k8s.io", "clusterroles"): _NAME_AND_DATE,
    ("rbac.authorization.k8s.io", "rolebindings"): _BINDING,
    ("rbac.authorization.k8s.io", "roles"): _NAME_AND_DATE,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): _WEBHOOKS,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): _WEBHOOKS,
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): _Layout(
        _columns("Validations:integer", "ParamKind", "Age"), tables_cluster.admission_policy
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): _Layout(
        _columns("PolicyName", "ParamRef", "Age"), tables_cluster.admission_policy_binding
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _Layout(
        (
            *_columns("Scope", "Versions"),
            _CREATED,
            *_columns(wide=("Group", "Kind", "ShortNames", "Established:boolean"))[1:],
        ),
        tables_cluster.custom_resource_definition,
    ),
    ("coordination.k8s.io", "leases"): _Layout(_columns("Holder", "Age"), tables_cluster.lease),
    ("discovery.k8s.io", "endpointslices"): _Layout(
        _columns("AddressType", "Ports", "Endpoints", "Age"), tables_cluster.endpoint_slice
    ),
    ("events.k8s.io", "events"): _EVENT,
    ("networking.k8s.io", "networkpolicies"): _Layout(_columns("Pod-Selector", "Age"), tables_cluster.network_policy),
    ("policy", "poddisruptionbudgets"): _Layout(
        _columns("Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"),
        tables_cluster.disruption_budget,
    ),
}
