"""The JSON Schemas of an EngramTemplate, checked inside the container.

Checks need the extra ``bubu-sdk[schema]`` (jsonschema-rs), the right to read the template, and a schema; if one of them
is missing, nothing is checked. Outputs are checked as returned, before parts of them are offloaded. Source: SDK
contract 15.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from bubu_sdk.contract import Identity
from bubu_sdk.errors import EngramError, ExitClass, InputError, Object
from bubu_sdk.kube import CATALOG_API, ENGRAMS_API, Cluster, KubeError, StatusError

_ALLOW_REFERENCES: Final = "x-bubu-allow-runtime-refs"
_ALLOW_TEMPLATES: Final = "x-bubu-allow-template-strings"
_MAX_REPORTED: Final = 10

_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas")
_SINGLES = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LIFTED = ("$schema", "$id", "definitions", "$defs")

_REFERENCE_SCHEMAS: tuple[Object, ...] = (
    {
        "type": "object",
        "required": ["$bubuStorageRef"],
        "properties": {
            "$bubuStorageRef": {"type": "string"},
            "$bubuStoragePath": {"type": "string"},
            "$bubuStorageContentType": {"type": "string"},
            "$bubuStorageSchema": {"type": "string"},
            "$bubuStorageSchemaVersion": {"type": "string"},
        },
        "additionalProperties": False,
    },
    {"type": "object", "required": ["$bubuConfigMapRef"], "maxProperties": 1},
    {"type": "object", "required": ["$bubuSecretRef"], "maxProperties": 1},
)
_TEMPLATE_SCHEMA: Object = {"type": "string", "pattern": r"^\s*\$?\{\{[\s\S]+\}\}\s*$"}


class Schemas:
    """The schemas of one engram; each may be absent."""

    def __init__(self, inputs: Object | None, outputs: Object | None) -> None:
        self._inputs = inputs
        self._outputs = outputs

    def check_inputs(self, value: Any) -> None:
        """Raise ``InputError`` unless ``value`` fits the input schema; the error names the paths that do not fit."""
        _check(value, self._inputs, "inputs")

    def check_output(self, value: Any) -> None:
        """Raise ``InputError`` unless ``value`` fits the output schema; the error names the paths that do not fit."""
        _check(value, self._outputs, "output")


def load(cluster: Cluster, identity: Identity, step_run: Object, *, timeout_seconds: float) -> Schemas:
    """The schemas of this container's EngramTemplate.

    Raises:
        EngramError: the schemas could not be read for another reason than missing rights; another attempt may succeed.
    """
    if importlib.util.find_spec("jsonschema_rs") is None:
        return Schemas(None, None)
    name = identity.engram or str(step_run.get("spec", {}).get("engramRef", {}).get("name") or "")
    if not name:
        return Schemas(None, None)
    try:
        path = f"{ENGRAMS_API}/namespaces/{identity.namespace}/engrams/{name}"
        engram = cluster.request("GET", path, timeout_seconds=timeout_seconds)
        template_name = engram.get("spec", {}).get("templateRef", {}).get("name")
        if not template_name:
            return Schemas(None, None)
        template = cluster.request(
            "GET", f"{CATALOG_API}/engramtemplates/{template_name}", timeout_seconds=timeout_seconds
        )
    except StatusError as error:
        if error.code == 403:
            return Schemas(None, None)
        raise _unusable(f"the schemas of engram {name!r} cannot be read: {error}") from error
    except KubeError as error:
        raise _unusable(f"the schemas of engram {name!r} cannot be read: {error}") from error
    spec = template.get("spec", {})
    return Schemas(spec.get("inputSchema"), spec.get("outputSchema"))


def normalise(schema: Any) -> Any:
    """``schema`` as plain JSON Schema: boolean ``required`` becomes a list of the parent, ``x-bubu-allow-…`` becomes
    ``anyOf``.

    Raises:
        EngramError: the schema refers to another document.
    """
    return _normalise(schema, references=False, templates=False)


def _normalise(node: Any, *, references: bool, templates: bool) -> Any:
    if not isinstance(node, Mapping):
        return node
    target = node.get("$ref")
    if isinstance(target, str) and not target.startswith("#"):
        raise _unusable(f"the schema refers to another document: $ref {target!r}; only '#…' is allowed")
    references = bool(node.get(_ALLOW_REFERENCES, references))
    templates = bool(node.get(_ALLOW_TEMPLATES, templates))
    plain: Object = dict(node)
    for key in _SINGLES:
        if key in plain:
            plain[key] = _each(plain[key], references, templates)
    for key in _MAPS:
        if isinstance(plain.get(key), Mapping):
            plain[key] = {
                name: _normalise(sub, references=references, templates=templates) for name, sub in plain[key].items()
            }
    for key in _LISTS:
        if isinstance(plain.get(key), list):
            inherit = key != "oneOf"  # a relaxed branch would match in addition to the intended one
            plain[key] = [
                _normalise(sub, references=references and inherit, templates=templates and inherit)
                for sub in plain[key]
            ]
    plain = _lift_required(plain, node)
    return _relaxed(plain, references, templates)


def _each(value: Any, references: bool, templates: bool) -> Any:
    if isinstance(value, list):
        return [_normalise(item, references=references, templates=templates) for item in value]
    return _normalise(value, references=references, templates=templates)


def _lift_required(plain: Object, original: Mapping[str, Any]) -> Object:
    properties = original.get("properties")
    lifted: list[str] = []
    if isinstance(properties, Mapping):
        lifted = [name for name, sub in properties.items() if isinstance(sub, Mapping) and sub.get("required") is True]
    if isinstance(plain.get("required"), bool):
        plain.pop("required")
    if lifted:
        present = plain.get("required")
        plain["required"] = sorted({*(present if isinstance(present, list) else ()), *lifted})
    return plain


def _relaxed(plain: Object, references: bool, templates: bool) -> Object:
    if not (references or templates):
        return plain
    lifted = {key: plain.pop(key) for key in _LIFTED if key in plain}
    branches = [plain, *(_REFERENCE_SCHEMAS if references else ()), *((_TEMPLATE_SCHEMA,) if templates else ())]
    return {**lifted, "anyOf": branches}


def _check(value: Any, schema: Object | None, name: str) -> None:
    if not schema:
        return
    jsonschema = importlib.import_module("jsonschema_rs")
    normalised = normalise(schema)
    try:
        validator = (
            jsonschema.validator_for(normalised) if "$schema" in normalised else jsonschema.Draft7Validator(normalised)
        )
    except ValueError as error:
        raise _unusable(f"the {name} schema cannot be compiled: {error}") from error
    problems = [f"{name}{_dotted(found.instance_path)}: {found.message}" for found in validator.iter_errors(value)]
    if problems:
        more = f"; and {len(problems) - _MAX_REPORTED} more" if len(problems) > _MAX_REPORTED else ""
        raise InputError(f"{name} schema violated: " + "; ".join(problems[:_MAX_REPORTED]) + more)


def _dotted(path: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _unusable(message: str) -> EngramError:
    return EngramError(message, exit_class=ExitClass.RETRY)
