"""JSON Schemas of inputs and outputs: defaults, normal form, and a bound on their cost.

The normal form is a draft-7 schema without outside references in which every node also accepts values that are filled
in later: storage, Secret and ConfigMap references and whole-string templates. Keywords that hold schemas must have the
form that the meta-schema demands; the validator checks the other keywords when it is built. Pure. Source: StoryRun
contract 5, StepRun contract 9.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bubu_contract.references import CONFIG_MAP_REFERENCE, SECRET_REFERENCE, STORAGE_REFERENCE
from core.expressions.patterns import states_of

Json: TypeAlias = Any

MAX_DEFAULTS_DEPTH: Final = 32
MAX_SCHEMA_NODES: Final = 10_000
MAX_SCHEMA_DEPTH: Final = 64

_DEFINITIONS: Final = "definitions"
_LATER: Final = "later"
_ONE_SCHEMA: Final = (
    "not",
    "if",
    "then",
    "else",
    "additionalProperties",
    "additionalItems",
    "contains",
    "propertyNames",
)
_MANY_SCHEMAS: Final = ("allOf", "anyOf", "oneOf")
_NAMED_SCHEMAS: Final = ("properties", "patternProperties", "dependencies")
_LIBRARIES: Final = ("definitions", "$defs")
_TEXTS: Final = ("title", "description")
_PLAIN_KEYWORDS: Final = frozenset(
    [
        "type",
        "enum",
        "const",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxProperties",
        "minProperties",
        "required",
        "format",
    ]
)
_REFERENCE_KEYS: Final = (STORAGE_REFERENCE, SECRET_REFERENCE, CONFIG_MAP_REFERENCE)
_FILLED_IN_LATER: Final[dict[str, Json]] = {
    "anyOf": [
        *({"type": "object", "required": [key]} for key in _REFERENCE_KEYS),
        {"type": "string", "pattern": r"^\s*\$?\{\{[\s\S]+\}\}\s*$"},
    ]
}
_PATTERN: Final = 20  # cost in nodes of applying the smallest regular expression
_COMPILING: Final = 40  # cost in nodes of compiling it, once
_STATES_PER_NODE: Final = 0.4  # states of its automaton, when compiling
_COSTLIEST_PATTERN: Final = 20_000  # a counted repetition can compile to a megabyte, but not to more
_STEPS_PER_NODE: Final = 15  # of a search: states times characters, as the text may reach a new state each time


class SchemaError(ValueError):
    """The schema itself cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One violation of the schema in a document; ``path`` is the JSON path, ``keyword`` the violated rule."""

    path: str
    message: str
    keyword: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def apply_schema_defaults(schema: Mapping[str, Json] | None, inputs: Json) -> Json:
    """A copy of ``inputs`` in which absent keys have the schema's defaults.

    Applies ``allOf`` first, then ``properties``; creates objects when a value below them has a default. Depth limit 32.
    """
    result = _copied(inputs)
    if isinstance(schema, Mapping) and isinstance(result, dict):
        _fill(schema, result, 0)
    return result


def normalise(schema: Mapping[str, Json]) -> dict[str, Json]:
    """``schema`` in normal form.

    Raises:
        SchemaError: it has a reference to the outside or to a missing place, a malformed part, or is too large.
    """
    return _Normaliser(schema).run()


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of validating a document, as far as the schema alone determines it.

    Attributes:
        nodes: of the schema, with references expanded; each may be applied to every value of the document once.
        nodes_per_value: added to ``nodes`` for each value of the document, because ``uniqueItems`` compares values.
        give_up_at: the largest value that is returned.
        once: cost of compiling its patterns, in nodes.
        states: of its patterns; each pattern may have to search every string of the document.
    """

    nodes: int
    nodes_per_value: int
    give_up_at: int
    once: int = 0
    states: int = 0

    def bound(self, document: Json) -> int:
        """An upper bound of the schema nodes visited for ``document``; ``give_up_at`` when the bound is that or
        more.
        """
        values, characters = _count_values(document, self.give_up_at)
        visited = (self.nodes + self.nodes_per_value * values) * values
        searched = self.states * characters // _STEPS_PER_NODE
        return min(visited + searched + self.once, self.give_up_at)


def cost_of(normal: Mapping[str, Json], *, give_up_at: int) -> Cost:
    """The cost of a schema in normal form. A recursive schema has no bound: its bound is always ``give_up_at``."""
    definitions = normal.get(_DEFINITIONS, {})
    root = {key: item for key, item in normal.items() if key != _DEFINITIONS}
    without, with_one = (_Weigher(definitions, values, give_up_at).of(root) for values in (0, 1))
    if with_one.nodes + with_one.once >= give_up_at:
        return Cost(give_up_at, 0, give_up_at)
    return Cost(without.nodes, with_one.nodes - without.nodes, give_up_at, without.once, without.states)


def cost_bound(normal: Mapping[str, Json], document: Json, *, give_up_at: int) -> int:
    """``Cost.bound`` for a schema that is used once."""
    return cost_of(normal, give_up_at=give_up_at).bound(document)


def path_of(segments: list[str | int]) -> str:
    """``a.b[0]``, from the segments of an instance path."""
    text = ""
    for segment in segments:
        text += f"[{segment}]" if isinstance(segment, int) else f".{segment}" if text else segment
    return text


# Defaults


def _copied(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _fill(schema: Mapping[str, Json], target: dict[str, Json], depth: int) -> None:
    if depth >= MAX_DEFAULTS_DEPTH:
        return
    for part in _schemas(schema.get("allOf")):
        _fill(part, target, depth + 1)
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for name, child in properties.items():
        if not isinstance(child, Mapping):
            continue
        if name in target:
            if isinstance(target[name], dict):
                _fill(child, target[name], depth + 1)
        elif "default" in child:
            target[name] = _copied(child["default"])
        elif child.get("type", "object") == "object" and _has_defaults(child, depth + 1):
            created: dict[str, Json] = {}
            _fill(child, created, depth + 1)
            target[name] = created


def _has_defaults(schema: Mapping[str, Json], depth: int) -> bool:
    if depth >= MAX_DEFAULTS_DEPTH:
        return False
    properties = schema.get("properties")
    children = _schemas(list(properties.values())) if isinstance(properties, Mapping) else []
    if any("default" in child or _has_defaults(child, depth + 1) for child in children):
        return True
    return any(_has_defaults(part, depth + 1) for part in _schemas(schema.get("allOf")))


def _schemas(value: Json) -> list[Mapping[str, Json]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


# Normal form


class _Normaliser:
    def __init__(self, schema: Mapping[str, Json]) -> None:
        self._source = schema
        self._names: dict[str, str] = {}
        self._definitions: dict[str, Json] = {_LATER: _FILLED_IN_LATER}
        self._pending: list[tuple[str, Json, bool]] = []
        """Referenced parts: name, schema, and whether it may be the schema of a property."""
        self._nodes = 0
        self._by_name: dict[str, Json] | None = None

    def run(self) -> dict[str, Json]:
        root = self._node(self._source, "#", 0)
        while self._pending:
            name, target, is_property = self._pending.pop()
            self._definitions[name] = self._node(target, name, 0, is_property=is_property)
        assert isinstance(root, dict)  # a Mapping gives an object
        return {**root, _DEFINITIONS: self._definitions}

    def _node(self, schema: Json, where: str, depth: int, *, is_property: bool = False) -> Json:
        self._nodes += 1
        if self._nodes > MAX_SCHEMA_NODES or depth > MAX_SCHEMA_DEPTH:
            raise SchemaError(f"the schema has more than {MAX_SCHEMA_NODES} nodes or {MAX_SCHEMA_DEPTH} levels")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{where}: a schema must be an object or a boolean")
        if "$ref" in schema:
            body: dict[str, Json] = {"$ref": self._reference(schema["$ref"], where)}
        else:
            _check_form(schema, where, is_property=is_property)
            body = self._keywords(schema, where, depth)
        return {"if": {"$ref": f"#/{_DEFINITIONS}/{_LATER}"}, "else": body}

    def _keywords(self, schema: Mapping[str, Json], where: str, depth: int) -> dict[str, Json]:
        body = {key: value for key, value in schema.items() if key in _PLAIN_KEYWORDS}
        _modernise(body)
        required = body.pop("required", None)
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            names += [
                name
                for name, child in properties.items()
                if isinstance(child, Mapping) and child.get("required") is True
            ]
        if names:
            body["required"] = list(dict.fromkeys(names))
        for key in _ONE_SCHEMA:
            if key in schema:
                body[key] = self._node(schema[key], f"{where}/{key}", depth + 1)
        for key in _MANY_SCHEMAS:
            if key in schema:
                body[key] = [
                    self._node(item, f"{where}/{key}/{index}", depth + 1) for index, item in enumerate(schema[key])
                ]
        for key in _NAMED_SCHEMAS:
            if key in schema:
                body[key] = {
                    name: self._named_node(key, child, f"{where}/{key}/{name}", depth + 1)
                    for name, child in schema[key].items()
                }
        items = schema.get("items")
        if isinstance(items, list):
            body["items"] = [self._node(item, f"{where}/items/{index}", depth + 1) for index, item in enumerate(items)]
        elif "items" in schema:
            body["items"] = self._node(items, f"{where}/items", depth + 1)
        return body

    def _named_node(self, keyword: str, schema: Json, where: str, depth: int) -> Json:
        if keyword == "dependencies" and isinstance(schema, list):
            return schema  # names of properties
        return self._node(schema, where, depth, is_property=keyword == "properties")

    def _reference(self, reference: Json, where: str) -> str:
        if not isinstance(reference, str):
            raise SchemaError(f"{where}: $ref must be a string")
        if reference not in self._names:
            target = self._target(reference, where)
            name = f"d{len(self._names)}"
            self._names[reference] = name
            by_pointer = reference.rpartition("#")[2].startswith("/")
            self._pending.append((name, target, not by_pointer or reference.split("/")[-2] == "properties"))
        return f"#/{_DEFINITIONS}/{self._names[reference]}"

    def _named(self) -> Mapping[str, Json]:
        """The named parts of the schema, collected once."""
        if self._by_name is None:
            self._by_name = {}
            _collect_named(self._source, self._by_name, 0)
        return self._by_name

    def _target(self, reference: str, where: str) -> Json:
        document, _, fragment = reference.partition("#")
        if document and document not in (self._source.get("$id"), self._source.get("id")):
            raise SchemaError(f"{where}: $ref {reference!r} leaves the schema; copy what it refers to into definitions")
        if fragment and not fragment.startswith("/"):
            found = self._named().get(fragment)
            if found is None:
                raise SchemaError(f"{where}: there is no schema named {reference!r}")
            return found
        target: Json = self._source
        for raw in fragment.split("/")[1:]:
            key = raw.replace("~1", "/").replace("~0", "~").replace("%25", "%").replace("%24", "$")
            if isinstance(target, Mapping) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(target):
                target = target[int(key[:9])]
            else:
                raise SchemaError(f"{where}: there is no {reference!r}")
        return target


def _check_form(schema: Mapping[str, Json], where: str, *, is_property: bool) -> None:
    """
    Raises:
        SchemaError: a keyword does not have the form in which its schemas, names or texts can be read. ``is_property``:
            ``required`` may be a boolean.
    """
    for key in (*_NAMED_SCHEMAS, *_LIBRARIES):
        if key in schema and not isinstance(schema[key], Mapping):
            raise SchemaError(f"{where}/{key}: must be an object, whose values are schemas")
    for key in _MANY_SCHEMAS:
        if key in schema and not (isinstance(schema[key], list) and schema[key]):
            raise SchemaError(f"{where}/{key}: must be a list of at least one schema")
    for key in _TEXTS:
        if key in schema and not isinstance(schema[key], str):
            raise SchemaError(f"{where}/{key}: must be a string")
    required = schema.get("required", [])
    if isinstance(required, bool) and is_property:
        return
    if not isinstance(required, list) or any(not isinstance(name, str) for name in required):
        raise SchemaError(f"{where}/required: must be a list of names; only a property may have true or false")
    if len(set(required)) < len(required):
        raise SchemaError(f"{where}/required: must not name a property twice")


def _modernise(body: dict[str, Json]) -> None:
    """Draft 4's boolean ``exclusiveMinimum`` and ``exclusiveMaximum`` as numbers."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(body.get(exclusive), bool) and body.pop(exclusive) and bound in body:
            body[exclusive] = body.pop(bound)


def _collect_named(schema: Json, found: dict[str, Json], depth: int) -> None:
    """Every part with an anchor, or with a fragment as its identifier, by that name; the first one of a name counts."""
    if depth > MAX_SCHEMA_DEPTH:
        return
    if isinstance(schema, Mapping):
        for name in (schema.get("$id"), schema.get("id")):
            if isinstance(name, str) and name.startswith("#"):
                found.setdefault(name[1:], schema)
        anchor = schema.get("$anchor")
        if isinstance(anchor, str):
            found.setdefault(anchor, schema)
        for child in schema.values():
            _collect_named(child, found, depth + 1)
    elif isinstance(schema, list):
        for child in schema:
            _collect_named(child, found, depth + 1)


# Cost


def _count_values(document: Json, give_up_at: int) -> tuple[int, int]:
    """The number of values, with long strings counted as several, and of characters in all strings and keys."""
    count, characters, pending = 0, 0, [document]
    while pending and count < give_up_at:
        value = pending.pop()
        count += 1
        if isinstance(value, dict):
            characters += sum(map(len, value))
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, str):
            characters += len(value)
            count += len(value) >> 10
    return count, characters


@dataclass(slots=True)
class _Weight:
    """The cost of a schema: its nodes with references expanded, and the cost of its patterns; see ``Cost``."""

    nodes: int = 0
    once: int = 0
    states: int = 0

    def add(self, other: _Weight) -> None:
        self.nodes += other.nodes
        self.once += other.once
        self.states += other.states


class _Weigher:
    def __init__(self, definitions: Mapping[str, Json], values: int, give_up_at: int) -> None:
        self._definitions = definitions
        self._values = values
        self._give_up_at = give_up_at
        self._known: dict[str, _Weight] = {}

    def of(self, schema: Json) -> _Weight:
        total, pending = _Weight(), [schema]
        while pending and total.nodes + total.once < self._give_up_at:
            node = pending.pop()
            if isinstance(node, dict):
                total.nodes += 1
                self._add_keywords(total, node)
                pending.extend(node.values())
            elif isinstance(node, list):
                total.nodes += len(node)
                pending.extend(item for item in node if isinstance(item, (dict, list)))
        return _Weight(*(min(part, self._give_up_at) for part in (total.nodes, total.once, total.states)))

    def _add_keywords(self, total: _Weight, node: dict[str, Json]) -> None:
        reference = node.get("$ref")
        if isinstance(reference, str):
            total.add(self._definition(reference.rpartition("/")[2]))
        if node.get("uniqueItems") is True:
            total.nodes += self._values
        pattern = node.get("pattern")
        patterns = [pattern] if isinstance(pattern, str) else []
        if isinstance(node.get("patternProperties"), dict):
            patterns += node["patternProperties"]
        for text in patterns:
            total.add(self._pattern(text))

    def _definition(self, name: str) -> _Weight:
        if name == _LATER:
            return _Weight(len(_REFERENCE_KEYS) + 2)
        if name not in self._known:
            self._known[name] = _Weight(self._give_up_at)  # the cost of a reference back to it
            self._known[name] = self.of(self._definitions[name])
        return self._known[name]

    def _pattern(self, text: str) -> _Weight:
        states = states_of(text)
        if states is None:
            return _Weight(self._give_up_at)
        return _Weight(_PATTERN, pattern_building_cost(states), states)


def pattern_building_cost(states: int | None) -> int:
    """The cost in nodes of compiling a pattern with so many states; None: the number is unbounded."""
    return (
        _COSTLIEST_PATTERN if states is None else min(_COMPILING + int(states / _STATES_PER_NODE), _COSTLIEST_PATTERN)
    )
