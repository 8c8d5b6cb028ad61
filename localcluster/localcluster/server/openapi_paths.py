"""The ``paths`` of OpenAPI documents: only the parts that clients read.

kubectl learns from them which kind lives at a URL (explain), and whether writes know ``fieldValidation``,
``fieldManager`` and ``dryRun`` (validation, server-side apply). Both document versions share the structure.
"""

from __future__ import annotations

from typing import Any

from localcluster.server.types import Object, ResourceType

_WRITE_PARAMETERS = {
    "dryRun": "All: do everything but store the result.",
    "fieldManager": "Who makes this change; required for apply patches.",
    "fieldValidation": "What to do about unknown or duplicate fields: Ignore, Warn or Strict.",
}
_FORCE = ("force", "Take over fields other managers applied; for apply patches only.")
_READ_PARAMETERS = {
    "allowWatchBookmarks": "Send bookmarks in a watch.",
    "continue": "Place in a list that is read in pages.",
    "fieldSelector": "Only objects with these field values.",
    "labelSelector": "Only objects with these labels.",
    "limit": "Objects per page.",
    "resourceVersion": "State to read or to watch from.",
    "resourceVersionMatch": "How resourceVersion is meant: Exact or NotOlderThan.",
    "sendInitialEvents": "Begin a watch with what exists.",
    "timeoutSeconds": "End the watch after this long.",
    "watch": "Watch changes instead of listing.",
}
_NUMBERS = frozenset({"limit", "timeoutSeconds"})
_SWITCHES = frozenset({"allowWatchBookmarks", "force", "sendInitialEvents", "watch"})
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_CUSTOM_PATCH_TYPES = tuple(name for name in _PATCH_TYPES if "strategic" not in name)


def paths_of(rtype: ResourceType, definition: str, *, version: int) -> dict[str, Object]:
    """The operations of a kind, by URL template.

    Args:
        definition: full name of the kind's definition.
        version: 2 or 3, the version of the document.
    """
    base = f"/apis/{rtype.group}/{rtype.version}" if rtype.group else f"/api/{rtype.version}"
    writer = _Operations(rtype, definition, version)
    found: dict[str, Object] = {}
    scope = f"{base}/namespaces/{{namespace}}" if rtype.namespaced else base
    names = ["namespace"] if rtype.namespaced else []
    found[f"{scope}/{rtype.plural}"] = writer.collection(names)
    if "get" not in rtype.verbs:
        return found
    found[f"{scope}/{rtype.plural}/{{name}}"] = writer.item([*names, "name"])
    if "status" in rtype.subresources:
        found[f"{scope}/{rtype.plural}/{{name}}/status"] = writer.part([*names, "name"])
    if rtype.namespaced:
        found[f"{base}/{rtype.plural}"] = writer.collection([], across_namespaces=True)
    return found


class _Operations:
    """Writes the operations of one kind."""

    def __init__(self, rtype: ResourceType, definition: str, version: int) -> None:
        self._rtype = rtype
        self._version = version
        root = "#/definitions/" if version == 2 else "#/components/schemas/"
        self._body = {"$ref": root + definition}

    def collection(self, names: list[str], *, across_namespaces: bool = False) -> Object:
        found: Object = {}
        if "list" in self._rtype.verbs:
            found["get"] = self._operation("list", _READ_PARAMETERS)
        if across_namespaces:
            return {**found, "parameters": self._path_parameters(names)}
        if "create" in self._rtype.verbs:
            found["post"] = self._write("create", "post")
        if "deletecollection" in self._rtype.verbs:
            found["delete"] = self._operation("delete collection of", {**_READ_PARAMETERS, "dryRun": "All."})
        return {**found, "parameters": self._path_parameters(names)}

    def item(self, names: list[str]) -> Object:
        return {
            **self.part(names),
            "delete": self._operation("delete", {"dryRun": _WRITE_PARAMETERS["dryRun"]}),
            "parameters": self._path_parameters(names),
        }

    def part(self, names: list[str]) -> Object:
        return {
            "get": self._operation("read", {}),
            "put": self._write("replace", "put"),
            "patch": self._write("patch", "patch"),
            "parameters": self._path_parameters(names),
        }

    def _write(self, verb: str, method: str) -> Object:
        parameters = dict(_WRITE_PARAMETERS)
        if method == "patch":
            parameters[_FORCE[0]] = _FORCE[1]
        operation = self._operation(verb, parameters)
        body: Any = {"type": "object"} if method == "patch" else self._body
        types = self._patch_types() if method == "patch" else ("application/json", "application/yaml")
        if self._version == 2:
            operation["consumes"] = list(types)
            operation["parameters"].insert(0, {"name": "body", "in": "body", "required": True, "schema": body})
        else:
            content = {name: {"schema": body} for name in types}
            operation["requestBody"] = {"content": content, "required": True}
        return operation

    def _operation(self, verb: str, parameters: dict[str, str]) -> Object:
        rtype = self._rtype
        operation: Object = {
            "description": f"{verb} {rtype.kind}",
            "parameters": [self._query_parameter(name, text) for name, text in parameters.items()],
            "responses": {"200": self._response()},
            "x-kubernetes-action": verb.split()[0],
            "x-kubernetes-group-version-kind": {"group": rtype.group, "version": rtype.version, "kind": rtype.kind},
        }
        if self._version == 2:
            operation["produces"] = ["application/json", "application/yaml"]
        return operation

    def _response(self) -> Object:
        if self._version == 2:
            return {"description": "OK", "schema": self._body}
        return {"description": "OK", "content": {"application/json": {"schema": self._body}}}

    def _patch_types(self) -> tuple[str, ...]:
        return _CUSTOM_PATCH_TYPES if self._rtype.custom else _PATCH_TYPES

    def _query_parameter(self, name: str, text: str) -> Object:
        kind = "integer" if name in _NUMBERS else "boolean" if name in _SWITCHES else "string"
        return self._parameter(name, "query", text, kind)

    def _path_parameters(self, names: list[str]) -> list[Object]:
        return [
            {**self._parameter(name, "path", f"{name.capitalize()} of the object.", "string"), "required": True}
            for name in names
        ]

    def _parameter(self, name: str, place: str, text: str, kind: str) -> Object:
        shape = {"type": kind, "uniqueItems": True}
        entry: Object = {"name": name, "in": place, "description": text}
        return {**entry, **shape} if self._version == 2 else {**entry, "schema": shape}
