"""The JSON Patch from one JSON value to another. Pure. Source: RFC 6902, RFC 6901."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from webhooks.validate.change import differs

Operation = dict[str, Any]


def difference(before: Any, after: Any) -> list[Operation]:
    """The patch that changes ``before`` into ``after``; empty if they are equal. It only has values that differ.

    A list is only replaced as a whole if its length changes.
    """
    return list(_difference(before, after, ""))


def _difference(before: Any, after: Any, path: str) -> Iterator[Operation]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before:
            if key not in after:
                yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
        for key, value in after.items():
            if key in before:
                yield from _difference(before[key], value, f"{path}/{_escaped(key)}")
            else:
                yield {"op": "add", "path": f"{path}/{_escaped(key)}", "value": value}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _difference(one, other, f"{path}/{index}")
    elif differs(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
