"""The values of the recordings, and what our writers make of them. Prints the input of ``record_storage.go``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from bubu_sdk.dehydrate import Placement, dehydrate, dehydrate_inputs
from bubu_sdk.testing import InMemoryStore
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, plan

INLINE_BYTES: Final = 100
_LONG: Final = "x" * 150

VALUES: Final[dict[str, Any]] = {
    "a small value": {"a": 1},
    "a long string": _LONG,
    "a string in an object": {"body": _LONG, "n": 1},
    "strings in a list": {"items": [{"id": 1, "text": _LONG}, {"id": 2, "text": "short"}]},
    "a large list of small numbers": {"numbers": list(range(60))},
    "a large object of small parts": {f"key{number:02}": number * 1.5 for number in range(20)},
    "several parts": {"a": _LONG, "b": {"c": _LONG, "d": [_LONG, "y" * 50]}},
    "text beyond ASCII": {"text": "grüße – 日本語 😀 " * 10},
    "characters that Go escapes": {"text": "<a href='x'>&\u2028\u2029</a>" * 8},
    "numbers": {"n": [0, 1, -1, 1.5, 1e20, 1e21, 1e-6, 1e-7, 2**53, 3.141592653589793, 1e100] * 3},
    "null, booleans and empty values": {"v": [None, True, False, "", {}, []] * 8},
}

Written: TypeAlias = tuple[Any, dict[str, str]]
"""The value with references, and the objects by key."""


def by_sdk(kind: str, value: Any) -> Written:
    """With keys as the Go SDK has them, as for requests."""
    return _by_sdk(kind, value, with_digest=False)


def by_sdk_with_digests(kind: str, value: Any) -> Written:
    """As for the output of a step."""
    return _by_sdk(kind, value, with_digest=True)


def by_operator(kind: str, value: Any) -> Written:
    planned = plan(value, ObjectPlace(Folder(kind), "team", "run-step"), OffloadBounds(INLINE_BYTES, INLINE_BYTES))
    return planned.remaining, {each.key: each.content.decode() for each in planned.objects}


WRITERS: Final[dict[str, Callable[[str, Any], Written]]] = {
    "SDK": by_sdk,
    "SDK with digests": by_sdk_with_digests,
    "operator": by_operator,
}


def _by_sdk(kind: str, value: Any, *, with_digest: bool) -> Written:
    store, place = InMemoryStore(), Placement(kind, "team", "run-step", with_digest=with_digest)
    write = dehydrate_inputs if kind == "inputs" else dehydrate
    result = write(value, store, place, inline_bytes=INLINE_BYTES, max_depth=10)
    return result, {key: content.decode() for key, content in store.objects.items()}


def wanted() -> list[dict[str, Any]]:
    """Without a ``result``, the recorder stores the value itself; otherwise it reads what is stored."""
    rows: list[dict[str, Any]] = []
    for name, value in VALUES.items():
        for kind in ("outputs", "inputs") if isinstance(value, dict) else ("outputs",):
            row = {"name": name, "kind": kind, "value": value}
            rows.append(row)
            for by, write in WRITERS.items():
                result, objects = write(kind, value)
                rows.append(row | {"by": by, "result": result, "objects": objects})
    return rows


if __name__ == "__main__":
    json.dump(wanted(), sys.stdout, ensure_ascii=False)
