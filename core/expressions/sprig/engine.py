"""The engine's own functions: lengths, types and presence of values; they recognise storage references.

Source: templating contract 9, "custom functions".
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from core.expressions.errors import Fault, OffloadedDataError
from core.expressions.template import values
from core.expressions.template.functions import ANY, FunctionTable
from core.expressions.template.values import Int, Value, ValueKind

FUNCTIONS: Final = FunctionTable()

_KINDS: Final = {
    ValueKind.NIL: "null",
    ValueKind.BOOL: "bool",
    ValueKind.INT: "number",
    ValueKind.FLOAT: "number",
    ValueKind.STRING: "string",
    ValueKind.LIST: "array",
    ValueKind.MAP: "object",
    ValueKind.OBJECT: "object",
}


@FUNCTIONS.add("len", takes=(ANY,))
def length(value: Value) -> Int:
    """Bytes of a string, items of a list or map, 0 for nil."""
    _refuse_reference(value)
    if value is None:
        return Int(0)
    if isinstance(value, str):
        return Int(values.byte_length(value))
    if isinstance(value, (list, dict)):
        return Int(len(value))
    raise ValueError(f"a value of type {values.type_name(value)} has no length")


@FUNCTIONS.add("hash_of", takes=(ANY,))
def hash_of(value: Value) -> str:
    """SHA-256 of a string, in hexadecimal."""
    _refuse_reference(value)
    if not isinstance(value, str):
        raise ValueError("hashes strings only; convert with toJson")  # noqa: TRY004 - the data is wrong, not the call
    return hashlib.sha256(values.to_bytes(value)).hexdigest()


@FUNCTIONS.add("type_of", takes=(ANY,), takes_missing=True)
def type_of(value: Value) -> str:
    """``null``, ``string``, ``number``, ``bool``, ``object``, ``array``, or ``offloaded(…)``."""
    target = _reference(value)
    if target is None:
        return _KINDS[values.kind_of(value)]
    path = value.get(STORAGE_PATH)
    if not isinstance(path, str) or not path:
        return f"offloaded({target})"
    return f"offloaded({target}{path if path[0] in '.[' else '.' + path})"


@FUNCTIONS.add("exists", takes=(ANY,), takes_missing=True)
def exists(value: Value) -> bool:
    """Whether there is a value, even an empty one."""
    return value is not None


@FUNCTIONS.add("sample", takes=(ANY,))
def sample(value: Value) -> Value:
    """``value`` itself; it must not be in object storage."""
    _refuse_reference(value)
    return value


def _reference(value: Any) -> str | None:
    target = value.get(STORAGE_REFERENCE) if isinstance(value, dict) else None
    return target if isinstance(target, str) and target.strip() else None


def _refuse_reference(value: Value) -> None:
    if _reference(value) is not None:
        raise OffloadedDataError("the value is in object storage", fault=Fault.CALL)
