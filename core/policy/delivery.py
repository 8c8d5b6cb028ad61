"""The delivery policy of an Impulse: its own fields over those of its template. Pure.

Source: Trigger contract 5.3. A key template that only the template has is dropped when the Impulse chooses another mode
than ``key``: there it has no meaning, and SDKs refuse a template without its mode. A delay of zero is dropped, too: it
means the default, and the SDK of the reference refuses a delay of zero for every event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from bubu_contract.durations import parse_duration
from core.api.objects import ReadOnlyObject

KEY: Final = "key"
"""The only mode with a key template."""
_DELAYS: Final = ("baseDelay", "maxDelay")
_PARTS: Final = ("dedupe", "retry")


def mode_of(dedupe: ReadOnlyObject) -> str:
    """The dedupe mode as SDKs read it: without blanks, in lower case; empty when there is none."""
    return str(dedupe.get("mode") or "").strip().lower()


def merged_policy(template: ReadOnlyObject | None, impulse: ReadOnlyObject) -> dict[str, dict[str, Any]]:
    """``dedupe`` and ``retry`` of an Impulse, each with the fields that are set.

    >>> template = {"spec": {"deliveryPolicy": {"retry": {"maxAttempts": 3, "baseDelay": "1s"}}}}
    >>> merged_policy(template, {"spec": {"deliveryPolicy": {"retry": {"maxAttempts": 5}}}})["retry"]
    {'maxAttempts': 5, 'baseDelay': '1s'}
    >>> merged_policy(template, {"spec": {"deliveryPolicy": {"retry": {"baseDelay": "0s"}}}})["retry"]
    {'maxAttempts': 3}
    """
    below, own = _policy(template or {}), _policy(impulse)
    merged = {part: {**_present(below.get(part)), **_present(own.get(part))} for part in _PARTS}
    dedupe = merged["dedupe"]
    if mode_of(dedupe) != KEY and not _present(own.get("dedupe")).get("keyTemplate"):
        dedupe.pop("keyTemplate", None)
    retry = merged["retry"]
    merged["retry"] = {key: value for key, value in retry.items() if key not in _DELAYS or not _is_zero(value)}
    return merged


def _is_zero(delay: Any) -> bool:
    try:
        return parse_duration(str(delay)) == timedelta()
    except ValueError:
        return False  # admission refuses it, and so does the listener


def _policy(source: ReadOnlyObject) -> ReadOnlyObject:
    policy: ReadOnlyObject = (source.get("spec") or {}).get("deliveryPolicy") or {}
    return policy


def _present(part: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields that say something; a blank text says nothing."""
    return {
        key: value
        for key, value in (part or {}).items()
        if value is not None and not (isinstance(value, str) and not value.strip())
    }
