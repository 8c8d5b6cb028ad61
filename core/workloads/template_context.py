"""The data of a run that a container may use in templates (``BUBU_TEMPLATE_CONTEXT``), within bounds.

Outputs in storage are included as references, without their content. A note replaces each step's value above
``MAX_VALUE_BYTES``. While the whole does not fit into one environment variable, notes also replace the largest values,
and at last all steps together. (In the reference the bound has no effect, and a run with much data cannot start its
later steps.) Pure. Source: StepRun contract 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bubu_contract.references import STORAGE_KEYS, STORAGE_REFERENCE
from core.api.canonical import encode
from core.workloads.environment import TEMPLATE_CONTEXT
from core.workloads.variables import MAX_VARIABLE_BYTES

MAX_VALUE_BYTES: Final = 64 * 1024
_ROOM_BYTES: Final = MAX_VARIABLE_BYTES - len(f"{TEMPLATE_CONTEXT}=")


def encode_template_context(context: Mapping[str, Any]) -> str:
    """``{"inputs": …, "steps": {…}}`` as one line that fits into ``BUBU_TEMPLATE_CONTEXT``.

    Raises:
        PayloadError: it has a value that JSON cannot represent.
    """
    bare, text = context, encode(context)
    if STORAGE_REFERENCE in text:
        bare = _without_stored_data(context)
        text = encode(bare)
    size = _bytes_of(text)
    return text if size <= MAX_VALUE_BYTES else _cut_to_fit(bare, size)


def _cut_to_fit(context: Mapping[str, Any], size: int) -> str:
    """Each value is encoded only once for measuring: a step may come after a thousand others."""
    steps: dict[str, Any] = {**(context.get("steps") or {})}
    cut = {**context, "steps": steps}
    sizes = {("inputs",): _size_of(context.get("inputs"))} | _sizes_of(steps)
    for path in sorted(sizes, key=lambda path: sizes[path], reverse=True):
        if sizes[path] <= MAX_VALUE_BYTES and size <= _ROOM_BYTES:
            break
        parent = cut if len(path) == 1 else steps
        note = _note(parent[path[-1]], sizes[path])
        if (note_size := _size_of(note)) >= sizes[path]:
            break  # the smaller ones would not make room either
        parent[path[-1]] = note
        size += note_size - sizes[path]
    if size > _ROOM_BYTES:  # so many that even their notes do not fit
        cut["steps"] = _note(context["steps"], _size_of(context["steps"]))
    return encode(cut)


def _sizes_of(steps: Mapping[str, Any]) -> dict[tuple[str, ...], int]:
    """The size of each in bytes; a step with several names is measured once."""
    measured: dict[int, int] = {}
    for value in steps.values():
        if id(value) not in measured:
            measured[id(value)] = _size_of(value)
    return {("steps", name): measured[id(value)] for name, value in steps.items()}


def _size_of(value: Any) -> int:
    return _bytes_of(encode(value))


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _note(value: Any, size_bytes: int) -> dict[str, Any]:
    return {
        "$bubuOmitted": True,
        "reason": "template_context_size_limit",
        "type": "array" if isinstance(value, list | tuple) else "map",
        "sizeBytes": size_bytes,
        "hasStorageRef": _has_reference(value),
    }


def _without_stored_data(value: Any) -> Any:
    """A copy in which objects with a storage reference keep only the reference."""
    match value:
        case Mapping() if STORAGE_REFERENCE in value:
            return {key: value[key] for key in STORAGE_KEYS if key in value}
        case Mapping():
            return {key: _without_stored_data(child) for key, child in value.items()}
        case list() | tuple():
            return [_without_stored_data(child) for child in value]
        case _:
            return value


def _has_reference(value: Any) -> bool:
    match value:
        case Mapping():
            return STORAGE_REFERENCE in value or any(_has_reference(child) for child in value.values())
        case list() | tuple():
            return any(_has_reference(child) for child in value)
        case _:
            return False
