"""What a container may look up of the run it belongs to (``BUBU_TEMPLATE_CONTEXT``), within bounds.

Outputs in storage are named, not carried. A step's value above ``MAX_VALUE_BYTES`` is replaced by a note of what was
left out, and so are the largest ones while the whole does not fit into one environment variable (in the reference the
bound has no effect, and a run with much data cannot start its later steps). Pure. Source: StepRun contract 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.workloads.environment import MAX_VARIABLE_BYTES, TEMPLATE_CONTEXT
from core.workloads.payload import encode

MAX_VALUE_BYTES: Final = 64 * 1024
_ROOM_BYTES: Final = MAX_VARIABLE_BYTES - len(f"{TEMPLATE_CONTEXT}=")
_REFERENCE: Final = "$bubuStorageRef"
_REFERENCE_KEYS: Final = (
    "$bubuStorageRef",
    "$bubuStoragePath",
    "$bubuStorageContentType",
    "$bubuStorageSchema",
    "$bubuStorageSchemaVersion",
)


def encode_template_context(context: Mapping[str, Any]) -> str:
    """``{"inputs": …, "steps": {…}}`` as one line that fits into ``BUBU_TEMPLATE_CONTEXT``.

    Raises:
        PayloadError: it holds something that JSON cannot say.
    """
    bare: dict[str, Any] = _without_stored_data(context)
    text = encode(bare)
    if len(text.encode()) <= MAX_VALUE_BYTES:
        return text
    values = {("inputs",): bare.get("inputs")} | {("steps", name): value for name, value in _steps(bare).items()}
    sizes = {path: len(encode(value).encode()) for path, value in values.items()}
    for path in sorted(sizes, key=lambda path: sizes[path], reverse=True):
        if sizes[path] <= MAX_VALUE_BYTES and len(text.encode()) <= _ROOM_BYTES:
            break
        parent = bare if len(path) == 1 else bare["steps"]
        parent[path[-1]] = _note(values[path], sizes[path])
        text = encode(bare)
    return text


def _steps(context: Mapping[str, Any]) -> Mapping[str, Any]:
    steps: Mapping[str, Any] = context.get("steps") or {}
    return steps


def _note(value: Any, size_bytes: int) -> dict[str, Any]:
    return {
        "$bubuOmitted": True,
        "reason": "template_context_size_limit",
        "type": "array" if isinstance(value, list | tuple) else "map",
        "sizeBytes": size_bytes,
        "hasStorageRef": _has_reference(value),
    }


def _without_stored_data(value: Any) -> Any:
    """A copy in which objects that refer to storage keep only the reference."""
    match value:
        case Mapping() if _REFERENCE in value:
            return {key: value[key] for key in _REFERENCE_KEYS if key in value}
        case Mapping():
            return {key: _without_stored_data(child) for key, child in value.items()}
        case list() | tuple():
            return [_without_stored_data(child) for child in value]
        case _:
            return value


def _has_reference(value: Any) -> bool:
    match value:
        case Mapping():
            return _REFERENCE in value or any(_has_reference(child) for child in value.values())
        case list() | tuple():
            return any(_has_reference(child) for child in value)
        case _:
            return False
