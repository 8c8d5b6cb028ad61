"""When two executions of a step are equal, although its Story declares no cache. Pure.

Stricter than the output cache, whose user has chosen what counts: here everything does that the operator knows of,
except Secrets. Source: StepRun contract 20.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from core.api.canonical import encode
from core.api.objects import ReadOnlyObject
from core.workloads.output_cache import by_content


def definition_digest(engram: ReadOnlyObject, template: ReadOnlyObject) -> str:
    """What a step is bound to, as hexadecimal SHA-256: names and specs of its Engram and template, not their UIDs.

    Raises:
        NotSerializableError: a spec has no JSON form.
    """
    parts = [
        [of["metadata"].get("namespace", ""), of["metadata"].get("name", ""), of["spec"]] for of in (engram, template)
    ]
    return _sha256(parts)


def execution_key(definition: str, image: str, call: Mapping[str, Any] | None, salt: str, inputs: Any) -> str:
    """What equal executions have in common, as hexadecimal SHA-256.

    Args:
        definition: ``definition_digest``.
        image: as it is written; it may be the step's own.
        call: of a container without an SDK, its templates resolved.
        salt: of the step's cache, if it has one.
        inputs: resolved; their large parts may be stored.
    Raises:
        NotSerializableError: a value has no JSON form.
    """
    return _sha256({"call": call, "definition": definition, "image": image, "inputs": by_content(inputs), "salt": salt})


def _sha256(value: Any) -> str:
    return hashlib.sha256(encode(value).encode()).hexdigest()
