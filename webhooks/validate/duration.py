"""Go durations in fields. Source: admission contract 3.2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from core.api.duration import parse_duration
from core.api.objects import ReadOnlyObject
from webhooks.finding import Finding, Rule


def check(
    rule: Rule, parent: ReadOnlyObject, key: str, path: str, *, zero: bool = False, least: timedelta | None = None
) -> Iterator[Finding]:
    """A finding if ``parent[key]`` is not valid; a blank or absent value is valid.

    Args:
        rule: broken by a string that is not a duration, or not greater than zero.
        parent: the object at ``path``.
        zero: whether zero is allowed.
        least: the shortest allowed duration.
    """
    value = parent.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return
    field = f"{path}.{key}"
    if not isinstance(value, str):
        yield rule.at(field, "must be a duration", "write for example 30s, 5m or 1h30m, in quotes")
        return
    try:
        duration = parse_duration(value)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        yield rule.at(field, message, remedy or "use a shorter one")
        return
    if duration < timedelta() or (not zero and duration == timedelta()):
        yield rule.at(field, f"{value!r} must be {'zero or more' if zero else 'greater than zero'}", "use more than 0s")
    elif least is not None and duration < least:
        yield rule.at(field, f"{value!r} must be at least {least // timedelta(milliseconds=1)}ms", "use a longer one")
