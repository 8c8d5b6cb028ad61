"""The form of a stored object: ``{"contentType":"json","data":…}``, or ``raw`` with a string. Source: SDK contract
2.
"""

from __future__ import annotations

from typing import Final

import orjson

from bubu_contract.references import is_intact, shown
from core.expressions.paths import Json
from core.payloads import threads
from core.payloads.errors import PayloadError

MAX_CONTAINERS: Final = 250_000
"""Objects and lists in one stored object. Each takes up to 240 bytes of memory besides its content: 60 MiB in total."""

_ON_LOOP_BYTES: Final = 64 * 1024
"""The largest content that is decoded on the event loop, within about 0.3 ms."""
_MAX_DEPTH: Final = 1024
"""The limit of orjson."""
_RAW_START: Final = b'{"contentType":"raw",'


async def unwrap(content: bytes, key: str) -> Json:
    """The data inside a stored object.

    Raises:
        PayloadError: not the content whose digest ``key`` has, not the wrapper, nested too deeply for any reader, or
            with too many objects and lists.
    """
    if len(content) <= _ON_LOOP_BYTES:
        return _unwrapped(content, key)
    return await threads.compute(_unwrapped, content, key)


def _unwrapped(content: bytes, key: str) -> Json:
    subject = f"the stored object {shown(key)}"
    if not is_intact(key, content):
        raise PayloadError(
            f"{subject} does not have the content that was stored: its SHA-256 differs from the one in the key; "
            "run the step again that wrote it"
        )
    if _opening_brackets(content) > MAX_CONTAINERS:
        raise PayloadError(
            f"{subject} has more than {MAX_CONTAINERS:,} objects and lists (brackets in strings count, too); "
            "process it in a step, and output only what is needed here"
        )
    try:
        wrapper = orjson.loads(content)
    except orjson.JSONDecodeError:
        # Not chained: the error contains the whole document, which must not reach a log.
        raise PayloadError(f"{subject} is not JSON, or nested deeper than {_MAX_DEPTH}; write it again") from None
    kind = wrapper.get("contentType") if isinstance(wrapper, dict) else None
    if kind not in ("json", "raw") or "data" not in wrapper:
        raise PayloadError(
            f"{subject} is not a payload: it needs contentType 'json' or 'raw' together with data, as the SDK writes it"
        )
    data = wrapper["data"]
    if kind == "raw" and not isinstance(data, str):
        raise PayloadError(f"{subject} has the contentType 'raw', but its data is not a string")
    return data


def _opening_brackets(content: bytes) -> int:
    """At least the number of objects and lists."""
    if len(content) <= MAX_CONTAINERS or content.startswith(_RAW_START):  # a long string may have as many brackets
        return 0
    return content.count(b"[") + content.count(b"{")
