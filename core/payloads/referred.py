"""Which objects a value refers to, also by way of other stored objects.

It finds too many rather than too few, because what nothing refers to may be deleted. Source: SDK contract 1, 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from bubu_contract.references import STORAGE_REFERENCE
from core.api.artifact import ARTIFACT
from core.payloads import key as keys
from core.payloads import threads
from core.payloads.address import may_refer
from core.payloads.errors import ObjectMissingError, PayloadError, StoreUnavailableError
from core.payloads.several import for_several
from core.payloads.store import ObjectReader

_AT_ONCE: Final = 4
_MARKS: Final = (STORAGE_REFERENCE, ARTIFACT)
_IN_TEXT: Final = re.compile(rf"(?:{'|'.join(map(re.escape, _MARKS))})" + r'\\*"\s*:\s*\\*"([^"\\]+)')


def keys_referred_to(value: Any) -> frozenset[str]:
    """The key of each storage reference and artifact in ``value``; also of malformed ones, and of those in JSON inside
    strings.
    """
    found = set[str]()
    pending: list[Any] = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):  # most values
            if any(mark in each for mark in _MARKS):
                found.update(_IN_TEXT.findall(each))
        elif isinstance(each, dict | Mapping):  # without dict, this takes ten times as long
            found.update(target for mark in _MARKS if isinstance(target := each.get(mark), str))
            pending += each.values()
        elif isinstance(each, list | tuple):
            pending += each
    return frozenset(found)


async def reachable_from(
    roots: Iterable[str], reader: ObjectReader, *, namespace: str, object_bytes: int
) -> frozenset[str]:
    """``roots``, and each object that one of them refers to, at any depth.

    Only objects of ``namespace`` are read, and only those that may have references inside.

    Raises:
        PayloadError: an object is larger than ``object_bytes``, or cannot be read, so it may refer to anything.
        StoreUnavailableError: see ``ObjectReader.read``.
        Cancellation: nothing is lost.
    """
    found = set(roots)
    pending = sorted(found)

    async def read(key: str) -> frozenset[str]:
        return await _referred_by(key, reader, namespace, object_bytes)

    while pending:
        answers = await for_several(pending, read, at_once=_AT_ONCE, failures=(PayloadError, StoreUnavailableError))
        deeper = set[str]().union(*answers)
        pending = sorted(deeper - found)
        found |= deeper
    return frozenset(found)


async def _referred_by(key: str, reader: ObjectReader, namespace: str, object_bytes: int) -> frozenset[str]:
    try:
        keys.check_namespace(key, namespace)
    except PayloadError:
        return frozenset()  # no reader follows it either
    if not may_refer(key):
        return frozenset()
    try:
        content = await reader.read(key, object_bytes)
    except ObjectMissingError:
        return frozenset()
    if not any(mark.encode() in content for mark in _MARKS):
        return frozenset()
    return await threads.compute(_in_content, content)


def _in_content(content: bytes) -> frozenset[str]:
    try:
        return keys_referred_to(orjson.loads(content))
    except orjson.JSONDecodeError:
        return keys_referred_to(content.decode(errors="replace"))
