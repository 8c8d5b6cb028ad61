"""Validation of CustomResourceDefinitions in addition to structural schemas, and of changes to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localcluster.server import cause, tables_jsonpath, validation_names
from localcluster.server.cause import Cause
from localcluster.server.schema_structure import structural_problems
from localcluster.server.types import Object
from localcluster.server.validation_webhooks import client_causes

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_PROTECTED = (".k8s.io", ".kubernetes.io")
_APPROVAL = "api-approved.kubernetes.io"
_PLACES = {
    "schema": "spec.validation",
    "subresources": "spec.subresources",
    "additionalPrinterColumns": "spec.additionalPrinterColumns",
    "selectableFields": "spec.selectableFields",
}
"""The paths that the API server reports for values that are the same in all versions, because it stores these once."""


def definition_causes(crd: Object, old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a definition, or with a change of one."""
    spec = crd.get("spec") or {}
    yield from _name_causes(crd, spec)
    yield from _group_causes(crd, spec)
    scope = spec.get("scope", "")
    if not scope:
        yield cause.required("spec.scope")
    elif scope not in ("Cluster", "Namespaced"):
        yield cause.not_supported("spec.scope", scope, ["Cluster", "Namespaced"])
    yield from _names_causes(spec.get("names") or {})
    if spec.get("preserveUnknownFields"):
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        yield cause.invalid("spec.preserveUnknownFields", True, detail)
    yield from _version_causes(spec.get("versions") or [])
    yield from _conversion_causes(spec.get("conversion") or {})
    if old is not None:
        yield from _change_causes(spec, old)


def _name_causes(crd: Object, spec: Object) -> Iterator[Cause]:
    name = crd["metadata"].get("name", "")
    if name != f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        yield cause.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _group_causes(crd: Object, spec: Object) -> Iterator[Cause]:
    group = spec.get("group", "")
    if not group:
        yield cause.required("spec.group")
        return
    for complaint in validation_names.why_not_subdomain(group):
        yield cause.invalid("spec.group", group, complaint)
    if "." not in group:
        yield cause.invalid("spec.group", group, "should be a domain with at least one dot")
    if f".{group}".endswith(_PROTECTED) and not (crd["metadata"].get("annotations") or {}).get(_APPROVAL):
        detail = f'protected groups must have approval annotation "{_APPROVAL}"'
        yield cause.required(f"metadata.annotations[{_APPROVAL}]", detail)


def _names_causes(names: Object) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind"):
        value = names.get(key, "")
        if not value:
            yield cause.required(f"spec.names.{key}")
            continue
        text = value.lower() if "ind" in key else value
        for complaint in validation_names.why_not_label_1035(text):
            yield cause.invalid(f"spec.names.{key}", value, complaint)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield cause.invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
    for key in ("shortNames", "categories"):
        for index, value in enumerate(names.get(key) or ()):
            for complaint in validation_names.why_not_label_1035(value):
                yield cause.invalid(f"spec.names.{key}[{index}]", value, complaint)


def _version_causes(versions: list[Object]) -> Iterator[Cause]:
    names = [version.get("name", "") for version in versions]
    if sum(1 for version in versions if version.get("storage")) != 1:
        yield cause.invalid("spec.versions", names, "must have exactly one version marked as storage version")
    if len(set(names)) != len(names):
        yield cause.invalid("spec.versions", names, "must contain unique version names")
    shared = {key for key in _PLACES if all(version.get(key) == versions[0].get(key) for version in versions)}
    for index, version in enumerate(versions):
        where = f"spec.versions[{index}]"
        place = {key: top if key in shared else f"{where}.{key}" for key, top in _PLACES.items()}
        name = version.get("name", "")
        for complaint in validation_names.why_not_label_1035(name):
            yield cause.invalid(f"{where}.name", name, complaint)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not isinstance(schema, Mapping):
            yield cause.required(f"{where}.schema.openAPIV3Schema")
            schema = None
        elif index == 0 or "schema" not in shared:
            yield from structural_problems(schema, f"{place['schema']}.openAPIV3Schema")
        if index == 0 or "additionalPrinterColumns" not in shared:
            columns = version.get("additionalPrinterColumns") or []
            yield from _column_causes(columns, place["additionalPrinterColumns"])
        if index == 0 or "subresources" not in shared:
            yield from _scale_causes((version.get("subresources") or {}).get("scale"), place["subresources"])
        if index == 0 or "selectableFields" not in shared:
            yield from _selectable_causes(version.get("selectableFields") or [], schema, place["selectableFields"])


def _column_causes(columns: list[Object], where: str) -> Iterator[Cause]:
    for index, column in enumerate(columns):
        place = f"{where}[{index}]"
        if not column.get("name"):
            yield cause.required(f"{place}.name")
        kind = column.get("type", "")
        if not kind:
            yield cause.required(f"{place}.type")
        elif kind not in _COLUMN_TYPES:
            yield cause.invalid(f"{place}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
        yield from _path_causes(column.get("jsonPath", ""), f"{place}.jsonPath")


def _scale_causes(scale: Object | None, where: str) -> Iterator[Cause]:
    if scale is None:
        return
    for key, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        field, path = f"{where}.scale.{key}", scale.get(key, "")
        yield from _path_causes(path, field)
        if path.startswith(".") and not path.startswith(root):
            yield cause.invalid(field, path, f"should be a json path under {root[:-1]}")


def _path_causes(path: str, field: str) -> Iterator[Cause]:
    if not path:
        yield cause.required(field)
        return
    try:
        tables_jsonpath.compile_path(path)
    except tables_jsonpath.JSONPathError:
        yield cause.invalid(field, path, "must be a simple json path starting with .")


def _selectable_causes(fields: list[Object], schema: Mapping[str, Any] | None, where: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, entry in enumerate(fields):
        field, path = f"{where}[{index}].jsonPath", entry.get("jsonPath", "")
        if not path:
            yield cause.required(field)
            continue
        if path in seen:
            yield cause.duplicate(field, path)
        seen.add(path)
        found: Any = schema or {}
        for step in path.removeprefix(".").split("."):
            found = (found.get("properties") or {}).get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            yield cause.invalid(field, path, "is an invalid path: does not refer to a valid field")
        elif found.get("type") not in ("string", "integer", "boolean"):
            detail = "must point to a field of type string, boolean or integer"
            yield cause.invalid(field, path, detail)


def _conversion_causes(conversion: Object) -> Iterator[Cause]:
    strategy = conversion.get("strategy", "None")
    if strategy not in ("None", "Webhook"):
        yield cause.not_supported("spec.conversion.strategy", strategy, ["None", "Webhook"])
    if strategy != "Webhook":
        return
    webhook = conversion.get("webhook") or {}
    field = "spec.conversion.webhook.clientConfig"
    if webhook.get("clientConfig") is None:
        yield cause.required(field, "required when strategy is set to Webhook")
    else:
        yield from client_causes(webhook["clientConfig"], field)
    if not webhook.get("conversionReviewVersions"):
        yield cause.required("spec.conversion.webhook.conversionReviewVersions")


def _change_causes(spec: Object, old: Object) -> Iterator[Cause]:
    before = old.get("spec") or {}
    if spec.get("group") != before.get("group"):
        yield cause.invalid("spec.group", spec.get("group"), "field is immutable")
    established = any(
        found.get("type") == "Established" and found.get("status") == "True"
        for found in (old.get("status") or {}).get("conditions") or ()
    )
    if not established:
        return
    if spec.get("scope") != before.get("scope"):
        yield cause.invalid("spec.scope", spec.get("scope"), "field is immutable")
    for key in ("plural", "kind"):
        now, then = (spec.get("names") or {}).get(key), (before.get("names") or {}).get(key)
        if now != then:
            yield cause.invalid(f"spec.names.{key}", now, "field is immutable")
    names = {version.get("name") for version in spec.get("versions") or ()}
    for index, stored in enumerate((old.get("status") or {}).get("storedVersions") or ()):
        if stored not in names:
            yield cause.invalid(f"status.storedVersions[{index}]", stored, "missing from spec.versions")
