"""JSON Schemas of every kind of a server, for kubeconform, which would otherwise fetch them from the Internet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.e2e.cert_manager import definition_files
from tools.control_plane.binaries import ensure_go_module

FILE_NAMES = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
_KIND = "x-kubernetes-group-version-kind"
_MONITORING = ("servicemonitors", "podmonitors", "prometheusrules")


def write_schemas(document: Mapping[str, Any], directory: Path) -> None:
    """Write a file for every kind in an OpenAPI v3 document. Fields that no schema knows are refused."""
    components = {name: _closed(schema) for name, schema in document["components"]["schemas"].items()}
    for name, schema in components.items():
        for group, version, kind in _kinds(schema):
            reference = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": components}}
            path = directory / f"{kind.lower()}-{group or version}-{version}.json"  # kubeconform's convention
            path.write_text(json.dumps(reference))


def write_schema_of(definition: Mapping[str, Any], directory: Path) -> None:
    """The same for each version of a CustomResourceDefinition, of a project that no server of the tests has."""
    spec = definition["spec"]
    for version in spec["versions"]:
        path = directory / f"{spec['names']['kind'].lower()}-{spec['group']}-{version['name']}.json"
        path.write_text(json.dumps(_closed(version["schema"]["openAPIV3Schema"])))


def definitions_of_others() -> Iterator[Any]:
    """The definitions of Issuer and Certificate, and of what the Prometheus operator reads, as their projects publish
    them: from their Go modules.

    Raises:
        MissingBinariesError: there is no Go.
    """
    crds = ensure_go_module("prometheus-operator", "github.com/prometheus-operator/prometheus-operator")
    folder = crds / "example" / "prometheus-operator-crd"
    ours = [folder / f"monitoring.coreos.com_{plural}.yaml" for plural in _MONITORING]
    for path in (*map(Path, definition_files()), *ours):
        yield YAML(typ="safe").load(path)


def _kinds(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for entry in schema.get(_KIND) or ():
        yield entry["group"], entry["version"], entry["kind"]


def _closed(schema: Any) -> Any:
    """The same schema, in which objects allow only the declared fields."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed
