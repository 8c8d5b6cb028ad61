"""Checks of JSON Schemas in definitions, and of documents with them, within a bound on their cost.

Beyond the bound, a warning says that the run makes the check, in a process that can be killed.
Source: admission contract 3.4 and 3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from core.api.suggestion import closest
from core.caches.recently_used import kept_by_text
from core.evaluation import schema as schemas
from core.evaluation import worker
from core.evaluation.schema import Cost, SchemaError
from core.expressions.patterns import states_of
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate.described import unknown_names

TOO_COSTLY: Final = Rule("any/schema-too-costly", "3.4", severity=Severity.WARNING)

_MAX_COST: Final = 20_000
"""Schema nodes visited; takes about ten milliseconds."""
_MAX_PROBLEMS: Final = 20
_MAX_GUESSES: Final = 5
_CACHED_BYTES: Final = 1 << 20
"""Of the texts of the schemas that were used last; prepared, one takes eight to forty times its text."""
_MASK: Final = "\ufdd0"  # the library puts this in the place of values
_NOT_CHECKED: Final = "is too costly to check now; the run checks it when it uses it"


def check_schema(rule: Rule, schema: Any, path: str) -> Iterator[Finding]:
    """A finding if ``schema`` is not usable."""
    if not isinstance(schema, Mapping):
        return
    try:
        if _prepared(orjson.dumps(schema)).validate is None:
            yield TOO_COSTLY.at(path, _NOT_CHECKED, "simplify the schema")
    except (SchemaError, ValueError, TypeError, RecursionError) as error:
        why = str(error).replace(_MASK, "a part of it")
        yield rule.at(path, f"is not a usable JSON Schema: {why}", "correct the schema")


def check_document(rule: Rule, schema: Any, document: Any, path: str) -> Iterator[Finding]:
    """Everything in ``document``, the field at ``path``, that the schema does not allow.

    Defaults are filled in first; templates and references stand for any value. An unusable schema is not an error of
    the document: the object with the schema gets that finding.
    """
    if not isinstance(schema, Mapping):
        return
    filled = schemas.apply_schema_defaults(schema, {} if document is None else document)
    try:
        text = orjson.dumps(schema)
        prepared = _prepared(text)
        if prepared.validate is None or _cost_of(text).bound(filled) >= _MAX_COST:
            yield TOO_COSTLY.at(path, _NOT_CHECKED, "simplify the schema it is checked against")
            return
        found = prepared.validate(filled, _MAX_PROBLEMS)
    except (SchemaError, ValueError, TypeError, RecursionError):
        return
    for segments, message, keyword in found:
        below = schemas.path_of(segments)
        place = f"{path}{'' if not below or below.startswith('[') else '.'}{below}"
        meant = _meant(schema, filled, segments) if keyword == "additionalProperties" else ""
        yield rule.at(place, message, meant or "give a value that matches the schema")


def _meant(schema: Any, document: Any, segments: Iterable[str | int]) -> str:
    """The remedy for keys of an object that its schema does not know; empty if that cannot be found out."""
    for segment in segments:
        below = schema.get("properties" if isinstance(segment, str) else "items")
        schema = below.get(segment) if isinstance(segment, str) and isinstance(below, Mapping) else below
        document = document[segment]
        if not isinstance(schema, Mapping):
            return ""
    known = schema.get("properties")
    if not isinstance(known, Mapping) or not isinstance(document, Mapping):
        return ""
    unknown = list(islice((str(key) for key in document if key not in known), _MAX_GUESSES))
    absent = [str(each) for each in known if each not in document]
    found = [f"{guess} instead of {key}" for key in unknown if (guess := closest(key, absent))]
    return f"did you mean {', '.join(found)}?" if found else f"remove it; known are {', '.join(map(str, known))}"


def check_names(rule: Rule, schema: Any, document: Any, path: str, source: str, *also: Any) -> Iterator[Finding]:
    """A finding for each key of ``document`` that neither ``schema``, which messages call ``source``, nor one of the
    schemas ``also`` mentions.
    """
    others = [{name.place for name in unknown_names(other, document, path)} for other in also if other]
    for found in islice(unknown_names(schema, document, path), _MAX_PROBLEMS):
        if all(found.place in unknown for unknown in others):
            yield rule.at(found.place, f"is not in {source}", found.remedy)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A schema in normal form, and its validator, unless that is too costly to build."""

    normal: dict[str, Any]
    validate: Callable[[Any, int], list[list[Any]]] | None


@kept_by_text(_CACHED_BYTES)
def _prepared(text: bytes) -> _Prepared:
    """The prepared schema for its JSON; many steps share one."""
    normal = schemas.normalise(orjson.loads(text))
    return _Prepared(normal, worker.build_validator(normal) if _building_cost(normal) < _MAX_COST else None)


@kept_by_text(_CACHED_BYTES)
def _cost_of(text: bytes) -> Cost:
    """The cost of checking documents with the schema in JSON; unused if there are no documents."""
    return schemas.cost_of(_prepared(text).normal, give_up_at=_MAX_COST)


def _building_cost(normal: Mapping[str, Any]) -> int:
    """The cost of building a validator from the schema: its nodes, and the compiled size of its patterns."""
    total, pending = 0, [normal]
    while pending:
        node: Any = pending.pop()
        total += 1
        if isinstance(node, Mapping):
            pattern, named = node.get("pattern"), node.get("patternProperties")
            patterns = [*([pattern] if isinstance(pattern, str) else ()), *(named if isinstance(named, dict) else ())]
            total += sum(schemas.pattern_building_cost(states_of(text)) for text in patterns)
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return total
