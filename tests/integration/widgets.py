"""A custom kind for tests: its definition, and objects of it."""

from __future__ import annotations

from typing import Any

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["color"],
            "properties": {
                "color": {"type": "string"},
                "size": {"type": "integer", "default": 3, "minimum": 1},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    },
}


def version(name: str, *, storage: bool = True, **fields: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": SCHEMA}
    found = {"name": name, "served": True, "storage": storage, "subresources": {"status": {}}, "schema": schema}
    return {**found, "selectableFields": [{"jsonPath": ".spec.color"}], **fields}


def definition(*versions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": list(versions) or [version("v1")],
            **spec,
        },
    }


def widget(name: str, spec: dict[str, Any] | None = None, api_version: str = "v1", **metadata: Any) -> dict[str, Any]:
    spec = {"color": "red"} if spec is None else spec
    return {
        "apiVersion": f"example.com/{api_version}",
        "kind": "Widget",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }
