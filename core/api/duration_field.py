"""Whether a field of a manifest is a usable Go duration. Source: admission contract 3.2."""

from __future__ import annotations

from datetime import timedelta

from bubu_contract.durations import parse_duration
from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject


def duration_problem(
    parent: ReadOnlyObject, key: str, path: str, *, zero: bool = False, least: timedelta | None = None
) -> FieldError | None:
    """What is wrong with ``parent[key]``; a blank or absent value is valid.

    Args:
        parent: the object at ``path``.
        zero: whether zero is allowed.
        least: the shortest allowed duration.
    """
    value = parent.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    field = f"{path}.{key}"
    if not isinstance(value, str):
        return FieldError(field, "must be a duration", "write for example 30s, 5m or 1h30m, in quotes")
    try:
        duration = parse_duration(value)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        return FieldError(field, message, remedy or "use a shorter one")
    if duration < timedelta() or (not zero and duration == timedelta()):
        return FieldError(
            field, f"{value!r} must be {'zero or more' if zero else 'greater than zero'}", "use more than 0s"
        )
    if least is not None and duration < least:
        return FieldError(
            field, f"{value!r} must be at least {least // timedelta(milliseconds=1)}ms", "use a longer one"
        )
    return None
