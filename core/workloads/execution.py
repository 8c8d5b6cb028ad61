"""When two executions of a step are equal, although its Story declares no cache. Pure.

Stricter than the output cache, whose user has chosen what counts: here everything does that the operator knows of,
except Secrets. Source: StepRun contract 20.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bubu_contract.canonical import NotJsonError
from bubu_contract.references import STORAGE_REFERENCE
from core.api.artifact import ARTIFACT
from core.api.objects import ReadOnlyObject
from core.workloads.output_cache import by_content

_MARKS: Final = (STORAGE_REFERENCE.encode(), ARTIFACT.encode())
"""Keys without which there is no stored data in a value."""


def definition_digest(engram: ReadOnlyObject, template: ReadOnlyObject) -> str:
    """What a step is bound to, as hexadecimal SHA-256: names and specs of its Engram and template, not their UIDs.

    Raises:
        NotJsonError: a spec cannot be written as JSON.
    """
    parts = [
        [of["metadata"].get("namespace", ""), of["metadata"].get("name", ""), of["spec"]] for of in (engram, template)
    ]
    return hashlib.sha256(_encoded(parts)).hexdigest()


def execution_key(definition: str, image: str, call: Mapping[str, Any] | None, salt: str, inputs: Any) -> str:
    """What equal executions have in common, as hexadecimal SHA-256.

    Args:
        definition: ``definition_digest``.
        image: as it is written; it may be the step's own.
        call: of a container without an SDK, its templates resolved.
        salt: of the step's cache, if it has one.
        inputs: resolved; their large parts may be stored.
    Raises:
        NotJsonError: a value cannot be written as JSON.
    """
    text = _encoded(inputs)
    if any(mark in text for mark in _MARKS):  # the search is much cheaper than the walk
        text = _encoded(by_content(inputs))
    rest = _encoded({"call": call, "definition": definition, "image": image, "salt": salt})
    return hashlib.sha256(rest + text).hexdigest()


def _encoded(value: Any) -> bytes:
    """JSON with sorted keys. Unlike payloads, a key need not have the form in which Go writes numbers."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise NotJsonError("", f"cannot be written as JSON: {error}") from None
