"""The description of a kind in one version: a frozen record, built in or read from a CustomResourceDefinition.

Not here: the built-in records (builtin.py) and the effect of a schema on an object (schema.py, pruning.py,
defaulting.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcluster.server.cause import SchemaError
from localcluster.server.schema_structure import structural_problems

Object = dict[str, Any]

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""Verbs of an ordinary stored kind, in the order of discovery documents."""


@dataclass(frozen=True)
class PrinterColumn:
    """One column of ``kubectl get``: ``json_path`` selects the cell; ``priority`` above 0 needs ``-o wide``."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True)
class ScalePaths:
    """Where a custom kind keeps the values of its scale; paths as steps, ``selector`` empty when there is none."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ResourceType:
    """A kind in one served version.

    Compared and hashed by identity, so that compiled schemas can be cached per record: a changed
    CustomResourceDefinition makes new records.

    Attributes:
        group: empty for the core group.
        schema: structural OpenAPI v3 schema of the whole object; None accepts anything.
        preserve_unknown: True turns pruning off.
        selectable_fields: JSON paths such as ``.spec.stepId`` that field selectors may name beside name/namespace.
        storage_version: version of stored objects; differs from ``version`` only for multi-version custom kinds.
        conversion_webhook: ``spec.conversion.webhook`` of the CustomResourceDefinition when its strategy is Webhook.
        counts_generation: ``metadata.generation`` rises when anything outside metadata and status changes.
        scale_paths: of a custom kind with the scale subresource.
        deprecation: the warning for every request for this version; empty when it is not deprecated.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    list_kind: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    verbs: tuple[str, ...]
    subresources: frozenset[str]
    schema: Mapping[str, Any] | None
    preserve_unknown: bool
    printer_columns: tuple[PrinterColumn, ...]
    selectable_fields: tuple[str, ...]
    storage_version: str
    served_versions: tuple[str, ...]
    conversion_webhook: Mapping[str, Any] | None
    custom: bool
    counts_generation: bool = False
    scale_paths: ScalePaths | None = None
    deprecation: str = ""

    @property
    def api_version(self) -> str:
        """``group/version``, as in an object's ``apiVersion`` field."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """``plural.group``, the name of a resource in error messages; only the plural in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def resource_types_of_crd(crd: Object) -> tuple[ResourceType, ...]:
    """The served versions of a CustomResourceDefinition (apiextensions.k8s.io/v1), in its own order.

    The rest of the definition is assumed to be valid (validation_crd.py).

    Raises:
        SchemaError: a schema is not structural; every problem is named.
    """
    spec = crd["spec"]
    problems = [
        problem
        for index, version in enumerate(spec["versions"])
        if (schema := (version.get("schema") or {}).get("openAPIV3Schema")) is not None
        for problem in structural_problems(schema, f"spec.versions[{index}].schema.openAPIV3Schema")
    ]
    if problems:
        raise SchemaError(problems)
    names = spec["names"]
    conversion = spec.get("conversion") or {}
    webhook = conversion.get("webhook") if conversion.get("strategy") == "Webhook" else None
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    served = tuple(version["name"] for version in spec["versions"] if version.get("served"))
    return tuple(
        _served_version(spec, names, version, storage, served, webhook)
        for version in spec["versions"]
        if version.get("served")
    )


def _served_version(
    spec: Object,
    names: Object,
    version: Object,
    storage: str,
    served: tuple[str, ...],
    webhook: Mapping[str, Any] | None,
) -> ResourceType:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        list_kind=names.get("listKind") or names["kind"] + "List",
        namespaced=spec.get("scope") != "Cluster",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=STANDARD_VERBS,
        subresources=frozenset(version.get("subresources") or ()),
        schema=schema,
        preserve_unknown=schema is None
        or bool(spec.get("preserveUnknownFields"))
        or bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        printer_columns=tuple(_printer_column(column) for column in version.get("additionalPrinterColumns") or ()),
        selectable_fields=tuple(field["jsonPath"] for field in version.get("selectableFields") or ()),
        storage_version=storage,
        served_versions=served,
        conversion_webhook=webhook,
        custom=True,
        counts_generation=True,
        scale_paths=_scale_paths((version.get("subresources") or {}).get("scale")),
        deprecation=_deprecation(spec, version),
    )


def _deprecation(spec: Object, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    if warning := version.get("deprecationWarning"):
        return str(warning)
    group, kind = spec["group"], spec["names"]["kind"]
    text = f"{group}/{version['name']} {kind} is deprecated"
    better = [found["name"] for found in spec["versions"] if found.get("served") and not found.get("deprecated")]
    return f"{text}; use {group}/{better[0]} {kind}" if better else text


def _scale_paths(scale: Object | None) -> ScalePaths | None:
    if scale is None:
        return None

    def steps(field: str) -> tuple[str, ...]:
        return tuple(step for step in scale.get(field, "").split(".") if step)

    return ScalePaths(steps("specReplicasPath"), steps("statusReplicasPath"), steps("labelSelectorPath"))


def _printer_column(column: Object) -> PrinterColumn:
    return PrinterColumn(
        name=column["name"],
        type=column["type"],
        json_path=column["jsonPath"],
        format=column.get("format", ""),
        description=column.get("description", ""),
        priority=column.get("priority", 0),
    )
