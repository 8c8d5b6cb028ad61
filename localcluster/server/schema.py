"""The operations of a schema on an object: prune it, set its defaults, validate it.

Three functions over one compiled form per ResourceType, made on first use and kept as long as the record lives.
Custom kinds are defaulted and validated by their schema, built-in ones by code (builtin_defaults.py,
validation_builtin.py); both are pruned by schema. Not here: object metadata (objectmeta.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

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
    """A value as its schema divides it, so that a field which stays as it was need not be looked at."""

    itself: Validator
    """What is wrong with the value, ``fields`` left out."""
    fields: Mapping[str, _Part]


_compiled: WeakKeyDictionary[ResourceType, _Compiled] = WeakKeyDictionary()


def prune(obj: Object, rtype: ResourceType) -> list[str]:
    """Drop unknown fields in place.

    Returns:
        Paths of what was dropped, such as ``spec.steps[0].zz``, metadata first; a Strict write is refused and a Warn
        write warned with ``unknown field "<path>"`` for each.
    """
    dropped = [f"metadata{path}" for path in prune_metadata(obj.get("metadata"))]
    pruner = _of(rtype).pruner
    if pruner is not None and not rtype.preserve_unknown:
        dropped += [path.removeprefix(".") for path in pruner(obj)]
    return dropped


def apply_defaults(obj: Object, rtype: ResourceType) -> None:
    """Fill defaults in place; nulls that are not allowed become the default or go."""
    if not rtype.custom:
        default_builtin(obj, rtype)
        return
    defaulter = _of(rtype).defaulter
    if defaulter is not None:
        defaulter(obj)


def validate(obj: Object, old: Object | None, rtype: ResourceType) -> list[Cause]:
    """Every reason to refuse ``obj``; empty when there is none.

    Args:
        old: the stored object on an update. Faults it already had in parts that stay the same are tolerated, and rules
            naming ``oldSelf`` are asked.
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
    """What is wrong in ``value``, except for fields that are as they were: faults there would be tolerated."""
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
    pruner = compile_pruner(rtype.schema, root=True)
    if not rtype.custom:  # built-in kinds validate and default in code; their schema prunes and documents
        return _Compiled(pruner, None, None, None)
    return _Compiled(pruner, compile_defaulter(rtype.schema), _divided(rtype.schema), compile_rules(rtype.schema))


def _divided(schema: Mapping[str, Any]) -> _Part:
    properties = schema.get("properties") or {}
    if not properties or "additionalProperties" in schema:
        return _Part(compile_validator(schema), {})
    itself = compile_validator({name: item for name, item in schema.items() if name != "properties"})
    return _Part(itself, {name: _divided(sub) for name, sub in properties.items()})
