"""Whether an output that the operator has read fits into the status of its StepRun. Pure.

An SDK puts a larger output into object storage, and so does the operator for containers without an SDK. What is still
too large, or without a store, fails the step. Source: StepRun contract 25.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from core.api.phases import Reason
from core.api.sizes import MAX_STEP_STATUS_BYTES, MAX_STEP_STATUS_VALUES, values_in
from core.engine.ports import StepError
from core.expressions.paths import is_reference

MAX_INLINE_BYTES: Final = MAX_STEP_STATUS_BYTES // 2
MAX_INLINE_VALUES: Final = MAX_STEP_STATUS_VALUES // 2
"""The other half of the status is for all that is not the output."""
MAX_INLINE_DEPTH: Final = 32
"""As in an SDK."""


def inline_limit(max_inline_size_bytes: int | None) -> int:
    """The largest size of an output in a status; see ``why_not_inline``."""
    return MAX_INLINE_BYTES if max_inline_size_bytes is None else min(MAX_INLINE_BYTES, max(max_inline_size_bytes, 0))


def why_not_inline(output: Mapping[str, Any], max_inline_size_bytes: int | None) -> StepError | None:
    """Why the output is refused. ``max_inline_size_bytes`` is that of the step's policy; None: it is not known."""
    text = orjson.dumps(output)
    limit = inline_limit(max_inline_size_bytes)
    if is_reference(output):
        return None
    if len(text) > limit:
        remedy = f"raise execution.maxInlineSize (up to {MAX_INLINE_BYTES})" if limit < MAX_INLINE_BYTES else ""
        return _too_large(f"has {len(text)} bytes, more than the {limit} that execution.maxInlineSize allows", remedy)
    if values_in(text) > MAX_INLINE_VALUES:
        return _too_large(f"has about {values_in(text)} values, more than {MAX_INLINE_VALUES}", "")
    if _is_deeper(output, MAX_INLINE_DEPTH):
        return _too_large(f"is nested deeper than {MAX_INLINE_DEPTH} levels", "")
    return None


def _too_large(what: str, remedy: str) -> StepError:
    remedies = "; ".join(
        filter(None, ("output less", remedy, "or name an object store with controller.storage.provider"))
    )
    return StepError(Reason.OUTPUT_TOO_LARGE, f"the output {what}; {remedies}")


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return any(isinstance(each, Mapping | list) for each in level)


def _children(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
