"""Generates ``types.json``: the protobuf layout of built-in kinds, read from the struct tags of Kubernetes.

    python -m localcluster.server.protobuf.generate <k8s.io/api directory> <k8s.io/apimachinery directory>

The file contains only messages that the served kinds use. Run it when the served Kubernetes version changes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from localcluster.server.builtin import BUILTIN

_GROUPS: Final = (
    "admissionregistration",
    "apps",
    "authentication",
    "authorization",
    "autoscaling",
    "batch",
    "coordination",
    "core",
    "discovery",
    "events",
    "networking",
    "policy",
    "rbac",
)
_SCALARS: Final = {
    "string": "string",
    "bool": "bool",
    "int": "int",
    "int32": "int",
    "int64": "int",
    "uint32": "int",
    "byte": "int",
    "float64": "double",
}
_SPECIAL: Final = {
    "meta.Time": "time",
    "meta.MicroTime": "microtime",
    "meta.Duration": "duration",
    "meta.FieldsV1": "rawjson",
    "resource.Quantity": "quantity",
    "intstr.IntOrString": "intorstring",
    "runtime.RawExtension": "rawjson",
    "types.UID": "string",
}
_STRUCT = re.compile(r"^type (\w+) struct \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_ALIAS = re.compile(r"^type (\w+) (\[\]|map\[\w+\])?([\w.]+)$", re.MULTILINE)
_FIELD = re.compile(r"^\s+(?:\w+\s+)?(\S+)\s+`json:\"([^\"]*)\"[^`]*protobuf:\"(\w+),(\d+),(\w+)[^\"]*\"", re.MULTILINE)


@dataclass(frozen=True)
class _Alias:
    container: str
    type: str


class _Sources:
    """Structs and named types of all packages, by ``package.Name``."""

    def __init__(self, api: Path, apimachinery: Path) -> None:
        self.structs: dict[str, str] = {}
        self.aliases: dict[str, _Alias] = {}
        for group in _GROUPS:
            self._read(group, api / group / "v1")
        self._read("meta", apimachinery / "pkg/apis/meta/v1")

    def fields(self, name: str) -> Iterator[tuple[int, list[str]]]:
        """``number, [json name, type, label, keep zero]`` of each field; an embedded struct has an empty json name."""
        package = name.partition(".")[0]
        for go_type, json_tag, _, number, _ in _FIELD.findall(self.structs[name]):
            json_name, *json_options = json_tag.split(",")
            if json_name == "-" or re.search(r"v\d+(alpha|beta)\d+\.", go_type):
                continue  # fields of unreleased APIs are not served
            kind, label = self._resolve(package, go_type)
            pointer = go_type.startswith("*")
            kept = not pointer and not {"omitempty", "omitzero"} & set(json_options)
            yield int(number), [json_name, kind, "*" if pointer else label, "0" if kept and json_name else ""]

    def _read(self, package: str, folder: Path) -> None:
        for path in sorted(folder.glob("*.go")):
            text = path.read_text()
            self.structs |= {f"{package}.{name}": body for name, body in _STRUCT.findall(text)}
            self.aliases |= {
                f"{package}.{name}": _Alias(container, kind) for name, container, kind in _ALIAS.findall(text)
            }

    def _resolve(self, package: str, go_type: str) -> tuple[str, str]:
        """The scalar, special or message name of a Go type, and ``""``, ``[]`` or ``{}``."""
        go_type = go_type.removeprefix("*")
        if go_type in ("[]byte",):
            return "bytes", ""
        if go_type.startswith("[]"):
            return self._resolve(package, go_type[2:])[0], "[]"
        if go_type.startswith("map["):
            inner = go_type.partition("]")[2]
            return self._resolve(package, inner)[0], "{}"
        if go_type in _SCALARS:
            return _SCALARS[go_type], ""
        qualifier, _, bare = go_type.rpartition(".")
        owner = {"": package, "metav1": "meta", "corev1": "core", "v1": self._owner_of(bare)}.get(qualifier, qualifier)
        name = f"{owner}.{bare}"
        if name in _SPECIAL:
            return _SPECIAL[name], ""
        alias = self.aliases.get(name)
        if alias is not None and name not in self.structs:
            if alias.container == "[]":
                return "strings", ""
            kind, label = self._resolve(owner, alias.type)
            return kind, "{}" if alias.container else label
        if name not in self.structs:
            raise LookupError(f"{package}: {go_type} is not known")
        return name, ""

    def _owner_of(self, bare: str) -> str:
        """The package that an import with the name ``v1`` means: the core types, or otherwise the metadata types."""
        name = f"core.{bare}"
        return "core" if name in self.structs or name in self.aliases else "meta"


def main(api: Path, apimachinery: Path, target: Path) -> None:
    """Generate the file ``target``."""
    sources = _Sources(api, apimachinery)
    kinds = {}
    for resource in BUILTIN:
        package = resource.group.partition(".")[0] or "core"
        name = f"{package}.{resource.kind}"
        if name in sources.structs:
            kinds[f"{resource.api_version} {resource.kind}"] = name
    kinds |= {
        "autoscaling/v1 Scale": "autoscaling.Scale",
        "authentication.k8s.io/v1 TokenRequest": "authentication.TokenRequest",
        "v1 Binding": "core.Binding",
        "v1 DeleteOptions": "meta.DeleteOptions",
        "meta.k8s.io/v1 DeleteOptions": "meta.DeleteOptions",
    }
    messages: dict[str, dict[str, list[str]]] = {}
    pending = list(kinds.values())
    while pending:
        name = pending.pop()
        if name in messages:
            continue
        messages[name] = {str(number): field for number, field in sources.fields(name)}
        pending += [kind for _, kind, _, _ in messages[name].values() if "." in kind]
    table = {"kinds": kinds, "messages": dict(sorted(messages.items()))}
    target.write_bytes(orjson.dumps(table, option=orjson.OPT_SORT_KEYS) + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).with_name("types.json"))
