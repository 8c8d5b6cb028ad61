"""Messages about the expressions of a run that wait for their turn to be evaluated, and since when. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from bubu_contract.instants import format_instant


def waiting_words(since: datetime) -> str:
    """The message that an expression waits for its turn."""
    return f"Waiting since {format_instant(since)} for its turn to be evaluated; other expressions are ahead"


def words_for_run(waiting_since: Mapping[str, datetime], stated: Collection[str]) -> str:
    """The message for the run as a whole about waiting steps that are not in ``stated``; empty if there are none.

    ``waiting_since`` has the steps that wait; an empty name is the run itself. ``stated`` are the steps whose own state
    can show the message. A step has no state before its ``if`` is evaluated: a state would mean that the ``if`` holds.
    """
    silent = {name: since for name, since in waiting_since.items() if name not in stated}
    if not silent:
        return ""
    first = min(silent, key=lambda name: (silent[name], name))
    more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
    return f"step {first}: {waiting_words(silent[first])}{more}" if first else f"{waiting_words(silent[first])}{more}"
