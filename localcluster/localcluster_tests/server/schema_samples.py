"""Definitions that the schema tests share: one wide kind, and a way to make a record from any schema."""

from __future__ import annotations

from typing import Any

from localcluster.server.types import Object, ResourceType, resource_types_of_crd

WIDGET_SCHEMA: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["color"],
            "properties": {
                "color": {"type": "string", "enum": ["red", "green", "blue"]},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2},
                "n32": {"type": "integer", "format": "int32"},
                "n64": {"type": "integer", "format": "int64"},
                "flag": {"type": "boolean"},
                "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0, "multipleOf": 0.5},
                "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
                "when": {"type": "string", "format": "date-time"},
                "tags": {
                    "type": "array",
                    "items": {"type": "string"},
                    "maxItems": 3,
                    "x-kubernetes-list-type": "set",
                },
                "arr": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
                "steps": {
                    "type": "array",
                    "maxItems": 20,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "maxLength": 63},
                            "kind": {"type": "string", "default": "plain"},
                            "n": {"type": "integer", "maximum": 9},
                            "sub": {
                                "type": "object",
                                "default": {},
                                "properties": {"x": {"type": "integer", "default": 7}},
                            },
                        },
                    },
                },
                "open": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"known": {"type": "integer"}},
                },
                "any": {"x-kubernetes-preserve-unknown-fields": True},
                "port": {"x-kubernetes-int-or-string": True, "maxLength": 5},
                "labels": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "maxLength": 4},
                    "maxProperties": 2,
                },
                "atLeastOne": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
                "template": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
                "note": {"type": "string", "nullable": True},
                "one": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                },
                "either": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
                },
                "both": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "allOf": [{"required": ["a"]}, {"required": ["b"]}],
                },
                "without": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "not": {"required": ["a"]},
                },
                "fixed": {
                    "type": "string",
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is immutable"}],
                },
            },
        },
        "status": {"type": "object", "properties": {"last": {"type": "string", "format": "date-time"}}},
    },
}
"""One field for each feature of a schema."""


def crd_of(schema: Object, **version: Any) -> Object:
    """A CustomResourceDefinition of kind Widget. ``schema`` is its only version."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.example.com"},
        "spec": {
            "group": "test.example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }


def record_of(schema: Object, **version: Any) -> ResourceType:
    """The record of that definition."""
    return resource_types_of_crd(crd_of(schema, **version))[0]


def spec_record(properties: Object, **spec: Any) -> ResourceType:
    """A record whose spec has these properties."""
    shape = {"type": "object", "properties": properties, **spec}
    return record_of({"type": "object", "properties": {"spec": shape}})


def widget(**spec: Any) -> Object:
    """A Widget that is valid unless ``spec`` says otherwise."""
    return {
        "apiVersion": "test.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w1", "namespace": "default"},
        "spec": {"color": "red", **spec},
    }
