"""The operations of a schema on an object: prune it, set its defaults, validate it.

Three functions over one compiled form per ResourceType, made on first use and kept as long as the record lives. Records
with equal schemas share it: those of a definition that is written again, and those of two servers in one process.
The schema of a custom kind sets defaults and validates; for built-in kinds, code does (builtin_defaults.py,
validation_builtin.py). Schemas prune both. Not here: object metadata (objectmeta.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import orjson

from localcluster.server import cause, validation_ratcheting
from localcluster.server.builtin_defaults import default_builtin
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.defaulting import Defaulter, compile_defaulter
from localcluster.server.pruning import Pruner, compile_pruner, prune_metadata
from localcluster.server.rules import ABSENT, RuleSet, compile_rules
from localcluster.server.types import Object, ResourceType
from localcluster.server.validation import compile_validator
from localcluster.server.validation_builtin import validate_builtin
from localcluster.server.violation import Validator, Violation

_BLOCKING = frozenset(
    {
        CauseReason.NOT_SUPPORTED,
        CauseReason.REQUIRED,
        CauseReason.TOO_LONG,
        CauseReason.TOO_MANY,
        CauseReason.TYPE_INVALID,
    }
)
_RULES_NOT_ASKED = Cause(
    CauseReason.INVALID,
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    cause.NO_FIELD,
)


@dataclass(frozen=True, slots=True)
class _Compiled:
    pruner: Pruner | None
    defaulter: Defaulter | None
    parts: _Part | None
    rules: RuleSet | None


@dataclass(frozen=True, slots=True)
class _Part:
    """The parts of a schema by field, so that an unchanged field need not be validated."""

    itself: Validator
    """Lists the faults of the value, without those of ``fields``."""
    fields: Mapping[str, _Part]


_KEPT_SCHEMAS: Final = 64
"""Schemas whose compiled form outlives their records, the latest ones."""
_compiled: WeakKeyDictionary[ResourceType, _Compiled] = WeakKeyDictionary()


def prune(obj: Object, rtype: ResourceType) -> list[str]:
    """Drop unknown fields in place.

    Returns:
        Paths of dropped fields, such as ``spec.steps[0].zz``, metadata first. For each of them, a Strict write is
        refused and a Warn write gets the warning ``unknown field "<path>"``.
    """
    dropped = [f"metadata{path}" for path in prune_metadata(obj.get("metadata"))]
    pruner = _of(rtype).pruner
    if pruner is not None and not rtype.preserve_unknown:
        dropped += [path.removeprefix(".") for path in pruner(obj)]
    return dropped


def apply_defaults(obj: Object, rtype: ResourceType) -> None:
    """Fill in defaults in place; nulls that are not allowed become the default or are dropped."""
    if not rtype.custom:
        default_builtin(obj, rtype)
        return
    defaulter = _of(rtype).defaulter
    if defaulter is not None:
        defaulter(obj)


def validate(obj: Object, old: Object | None, rtype: ResourceType) -> list[Cause]:
    """Every reason to refuse ``obj``; empty when it is valid.

    Args:
        old: the stored object on an update. Its earlier faults in unchanged parts are tolerated, and rules that name
            ``oldSelf`` are evaluated.
    """
    if not rtype.custom:
        return validate_builtin(obj, old, rtype)
    compiled = _of(rtype)
    faults = _faults(compiled.parts, obj, old) if compiled.parts is not None else []
    if faults and old is not None:
        unchanged = validation_ratcheting.is_unchanged
        faults = [fault for fault in faults if not unchanged(fault.path, obj, old, rtype.schema)]
    causes = [fault.cause() for fault in faults]
    if compiled.rules is None:
        return causes
    if any(found.reason in _BLOCKING for found in causes):
        return [*causes, _RULES_NOT_ASKED]
    return causes + compiled.rules(obj, ABSENT if old is None else old, ())


def _faults(part: _Part, value: Any, old: Any) -> list[Violation]:
    """The faults of ``value``, without those of unchanged fields, which are tolerated."""
    found = part.itself(value)
    if not part.fields or not isinstance(value, dict):
        return found
    before = old if isinstance(old, dict) else {}
    for name, item in value.items():
        field = part.fields.get(name)
        if field is None or (name in before and _is_same(item, before[name])):
            continue
        faults = _faults(field, item, before.get(name))
        for fault in faults:
            fault.steps.append(name)
        found = [*found, *faults] if faults else found
    return found


def _is_same(item: Any, before: Any) -> bool:
    return item is before or (item == before and type(item) is type(before))


def _of(rtype: ResourceType) -> _Compiled:
    found = _compiled.get(rtype)
    if found is None:
        found = _compiled[rtype] = _compile(rtype)
    return found


def _compile(rtype: ResourceType) -> _Compiled:
    if rtype.schema is None:
        return _Compiled(None, None, None, None)
    return _compiled_text(orjson.dumps(rtype.schema), custom=rtype.custom)


@lru_cache(maxsize=_KEPT_SCHEMAS)
def _compiled_text(text: bytes, *, custom: bool) -> _Compiled:
    """The compiled form of a schema, as JSON. Compiling one takes longer than most requests."""
    schema = orjson.loads(text)
    pruner = compile_pruner(schema, root=True)
    if not custom:  # code validates and defaults built-in kinds; their schema prunes and documents
        return _Compiled(pruner, None, None, None)
    return _Compiled(pruner, compile_defaulter(schema), _divided(schema), compile_rules(schema))


def _divided(schema: Mapping[str, Any]) -> _Part:
    properties = schema.get("properties") or {}
    if not properties or "additionalProperties" in schema:
        return _Part(compile_validator(schema), {})
    itself = compile_validator({name: item for name, item in schema.items() if name != "properties"})
    return _Part(itself, {name: _divided(sub) for name, sub in properties.items()})
