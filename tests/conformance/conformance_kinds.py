"""The objects of the conformance suite: a custom kind with every feature of a structural schema, and more."""

from __future__ import annotations

from typing import Any

from kubewire import Object

GROUP = "conformance.example.com"
WIDGETS_CRD = f"widgets.{GROUP}"
FINALIZER = f"{GROUP}/keep"

_SPEC: Object = {
    "type": "object",
    "required": ["color"],
    "properties": {
        "color": {"type": "string", "minLength": 1, "maxLength": 20},
        "size": {"type": "integer", "default": 3, "minimum": 1, "maximum": 100},
        "big": {"type": "integer", "format": "int64"},
        "small": {"type": "integer", "format": "int32"},
        "ratio": {"type": "number", "multipleOf": 0.5},
        "above": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "enabled": {"type": "boolean"},
        "mode": {"type": "string", "enum": ["Fast", "Slow"], "default": "Fast"},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "at": {"type": "string", "format": "date-time"},
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 4},
        "atoms": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "atomic"},
        "parts": {
            "type": "array",
            "maxItems": 10,
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 20},
                    "count": {"type": "integer", "default": 1},
                    "note": {"type": "string"},
                },
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        "notes": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 10}, "maxProperties": 2},
        "nested": {
            "type": "object",
            "default": {},
            "properties": {"depth": {"type": "integer", "default": 7}, "name": {"type": "string"}},
        },
        "maybe": {"type": "string", "nullable": True},
        "filled": {"type": "string", "default": "full"},
        "either": {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        "replicas": {"type": "integer", "minimum": 0},
        "embedded": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "fixed": {
            "type": "string",
            "maxLength": 20,
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed cannot be changed"}],
        },
        "range": {
            "type": "object",
            "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}},
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.low) || !has(self.high) || self.low <= self.high",
                    "messageExpression": "self.low > 50 ? 'low is far above high' : 'low is above high'",
                    "reason": "FieldValueForbidden",
                    "fieldPath": ".low",
                }
            ],
        },
    },
    "x-kubernetes-validations": [
        {"rule": "!(self.color == 'black' && self.mode == 'Fast')", "message": "black is never fast"},
        {"rule": "!has(self.parts) || self.parts.all(p, p.name != 'bad')"},
        {
            "rule": "!has(oldSelf.big) || has(self.big)",
            "message": "big cannot be removed",
            "reason": "FieldValueInvalid",
        },
        {
            "rule": "!has(self.tags) || oldSelf.hasValue() || self.tags.size() < 3",
            "message": "at most two tags at first",
            "optionalOldSelf": True,
        },
    ],
}

_STATUS: Object = {
    "type": "object",
    "properties": {
        "phase": {"type": "string", "enum": ["New", "Done"]},
        "replicas": {"type": "integer"},
        "selector": {"type": "string"},
        "seen": {"type": "integer", "default": 0},
    },
}

_COLUMNS: list[Object] = [
    {"name": "Color", "type": "string", "jsonPath": ".spec.color", "description": "What it looks like."},
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def widget_version(name: str, *, storage: bool) -> Object:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC, "status": _STATUS}}},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}],
        "additionalPrinterColumns": _COLUMNS,
    }


def widget_definition() -> Object:
    return definition(
        "widgets", "Widget", widget_version("v1", storage=True), widget_version("v2", storage=False), shortNames=["wd"]
    )


def definition(plural: str, kind: str, *versions: Object, **names: Any) -> Object:
    """A namespaced CustomResourceDefinition of the suite's group."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List", **names},
            "versions": list(versions),
        },
    }


def version(name: str = "v1", spec: Object | None = None, *, storage: bool = True, **fields: Any) -> Object:
    """A version whose spec has the given properties; any spec when there are none."""
    shape: Object = {"type": "object"}
    shape |= {"x-kubernetes-preserve-unknown-fields": True} if spec is None else {"properties": spec}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": shape}}}
    return {"name": name, "served": True, "storage": storage, "schema": schema, **fields}


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"a": "b"} if data is None else data,
    }


def widget(name: str, spec: Object | None = None, *, served: str = "v1", **metadata: Any) -> Object:
    """A red widget with the fields of ``spec``."""
    return {
        "apiVersion": f"{GROUP}/{served}",
        "kind": "Widget",
        "metadata": {"name": name, **metadata},
        "spec": {"color": "red", **(spec or {})},
    }


def pod(name: str, *containers: Object, **spec: Any) -> Object:
    """A Pod that no scheduler takes."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": list(containers) or [container("main")], **spec},
    }


def container(name: str, **fields: Any) -> Object:
    return {"name": name, "image": "example.com/app:1", **fields}


def deployment(name: str, *containers: Object, **spec: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(name, *containers)["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def job(name: str, **spec: Any) -> Object:
    """A Job that starts no Pod."""
    template = {"spec": {**pod(name)["spec"], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"suspend": True, "template": template, **spec},
    }


def owner(obj: Object, **fields: Any) -> Object:
    """A reference that makes another object a dependent of this one."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        **fields,
    }
