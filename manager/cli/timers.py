"""Until when the steps of a run wait, from the annotation in which the operator keeps it. Pure.

Source: StoryRun contract 11.6. Damaged entries count as absent.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from core.api import keys
from core.api.instant import parse_instant_or_none

Object = dict[str, Any]

GATE_TIMEOUT: Final = "gateTimeoutAt"
_INSTANTS: Final = ("sleepUntil", "waitTimeoutAt", GATE_TIMEOUT, "deadlineAt")
CLEANUP_GROUPS: Final = ("@compensations", "@finally")
"""Names of the two clean-up groups among those of the steps."""


def deadlines_of(run: Object) -> dict[str, datetime]:
    """By step or clean-up group."""
    found = {}
    for name, entry in _entries(run).items():
        instants = [parse_instant_or_none(entry.get(key)) for key in _INSTANTS]
        if instant := next((each for each in instants if each is not None), None):
            found[name] = instant
    return found


def timed_gates_of(run: Object) -> frozenset[str]:
    """Steps that are open gates with a timeout."""
    return frozenset(name for name, entry in _entries(run).items() if GATE_TIMEOUT in entry)


def _entries(run: Object) -> dict[str, Object]:
    text = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STEP_TIMERS)
    try:
        entries = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    entries = entries if isinstance(entries, dict) else {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}
