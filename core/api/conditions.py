"""Set, find and compare conditions, purely.

A condition is the wire dict of ``metav1.Condition``. ``lastTransitionTime`` moves only when ``status`` changes.
Reasons and messages are cut to the sizes that the CRDs accept, so that a long error never makes the status patch fail.
Source: StoryRun contract 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bubu_contract.instants import format_instant
from core.api.phases import ConditionType

MAX_REASON_LENGTH: Final = 64
MAX_MESSAGE_LENGTH: Final = 2048

Condition = dict[str, Any]


def find_condition(conditions: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.get("type") == type_), None)


def is_true(conditions: Iterable[Mapping[str, Any]], type_: str) -> bool:
    condition = find_condition(conditions, type_)
    return condition is not None and condition.get("status") == "True"


def with_condition(
    conditions: Sequence[Mapping[str, Any]],
    type_: str,
    status: bool | None,
    *,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """A new list with that condition set: the order is kept, a new type is appended; ``status`` None means
    ``Unknown``.
    """
    word = "Unknown" if status is None else str(status)
    previous = find_condition(conditions, type_)
    unchanged = previous is not None and previous.get("status") == word and previous.get("lastTransitionTime")
    condition: Condition = {
        "type": type_,
        "status": word,
        "reason": reason[:MAX_REASON_LENGTH],
        "message": truncated(message, MAX_MESSAGE_LENGTH),
        "observedGeneration": generation,
        "lastTransitionTime": previous["lastTransitionTime"] if previous and unchanged else format_instant(now),
    }
    kept = [dict(other) for other in conditions]
    for index, other in enumerate(kept):
        if other.get("type") == type_:
            kept[index] = condition
            return kept
    return [*kept, condition]


def with_ready(
    conditions: Sequence[Mapping[str, Any]], *, reason: str, message: str, generation: int, now: datetime
) -> list[Condition]:
    """A new list with ``Ready``: ``False`` unless it was set. The CRDs require it beside any other condition."""
    if find_condition(conditions, ConditionType.READY) is not None:
        return [dict(condition) for condition in conditions]
    return with_condition(
        conditions, ConditionType.READY, False, reason=reason, message=message, generation=generation, now=now
    )


def truncated(text: str, limit: int) -> str:
    """``text``, cut to ``limit`` characters; if it was cut, the last character is an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
