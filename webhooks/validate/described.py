"""What schemas say about the data of a Story: its inputs by ``inputsSchema``, the outputs of steps by their templates.

A schema is followed only as far as it is simple: ``properties`` and ``items`` without combinations, references and
patterns. Beyond that, nothing is known. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bubu_contract.references import CONFIG_MAP_REFERENCE, SECRET_REFERENCE, STORAGE_REFERENCE
from core.api.objects import ReadOnlyObject
from core.api.suggestion import closest
from core.expressions.reads import Segments

_NOT_SIMPLE: Final = frozenset(
    (
        *("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "patternProperties"),
        *("dependentSchemas", "unevaluatedProperties", "propertyNames", "prefixItems", "dependencies"),
    )
)
_REFERENCES: Final = frozenset((STORAGE_REFERENCE, CONFIG_MAP_REFERENCE, SECRET_REFERENCE))
_TYPES: Final = frozenset(("string", "integer", "number", "boolean", "array", "object", "null"))


@dataclass(frozen=True, slots=True)
class Gap:
    """The first segment of a path that a schema does not have, as an index, and the keys that it has there.

    ``is_closed``: the schema allows no other keys.
    """

    index: int
    known: tuple[str, ...]
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Described:
    """One schema; ``root`` leads from the variables of an expression to the data that it describes."""

    schema: ReadOnlyObject
    root: Segments
    source: str
    """How messages call the schema."""

    def gap(self, path: Segments) -> Gap | None:
        """The first segment of ``path``, which begins with ``root``, that the schema does not have."""
        node: Any = self.schema
        for index in range(len(self.root), len(path)):
            if not _is_simple(node):
                return None
            segment = path[index]
            if isinstance(segment, int):
                node = node.get("items")
                continue
            properties, further = node.get("properties"), node.get("additionalProperties")
            if not isinstance(properties, Mapping) or not properties or isinstance(further, Mapping):
                return None
            if segment not in properties:
                return Gap(index, tuple(map(str, properties)), further is False)
            node = properties[segment]
        return None

    def types(self, path: Segments) -> frozenset[str]:
        """The types that the value at ``path`` can have; empty if that is unknown."""
        node: Any = self.schema
        for segment in path[len(self.root) :]:
            if not _is_simple(node):
                return frozenset()
            properties = node.get("properties")
            inside = properties.get(segment) if isinstance(properties, Mapping) else None
            node = node.get("items") if isinstance(segment, int) else inside
        return _types_of(node) if _is_simple(node) else frozenset()


class UnknownName(NamedTuple):
    """A key of a document that its schema does not mention; ``path`` is that of the object with the key."""

    path: str
    key: str
    known: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.path}.{self.key}"

    @property
    def remedy(self) -> str:
        """What to do about it, for messages."""
        guess = closest(self.key, self.known)
        return f"did you mean {guess!r}?" if guess else "correct the name, or add it to the schema"


def unknown_names(schema: Any, document: Any, path: str) -> Iterator[UnknownName]:
    """The keys of ``document``, the field at ``path``, that a schema with ``properties`` neither has nor speaks about.

    A schema that allows or forbids further keys by ``additionalProperties`` speaks about them: the first is intended,
    and the second is an error of validation.
    """
    if isinstance(document, list) and _is_simple(schema):
        for index, item in enumerate(document):
            yield from unknown_names(schema.get("items"), item, f"{path}[{index}]")
    if not isinstance(document, Mapping) or not _is_simple(schema) or not _REFERENCES.isdisjoint(document):
        return
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return
    for key, item in document.items():
        if key in properties:
            yield from unknown_names(properties[key], item, f"{path}.{key}")
        elif "additionalProperties" not in schema:
            yield UnknownName(path, key, tuple(properties))


def of_keys(keys: Iterable[str], root: Segments, source: str) -> Described:
    """Data of which only the keys are known."""
    return Described({"properties": {key: {} for key in keys}}, root, source)


def _is_simple(node: Any) -> bool:
    return isinstance(node, Mapping) and _NOT_SIMPLE.isdisjoint(node)


def _types_of(node: Mapping[str, Any]) -> frozenset[str]:
    written = node.get("type")
    names = [written] if isinstance(written, str) else written if isinstance(written, list) else []
    found = frozenset(name for name in names if isinstance(name, str))
    return found if found <= _TYPES and not node.get("nullable") else frozenset()
