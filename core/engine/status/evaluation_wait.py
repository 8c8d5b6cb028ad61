"""What of a run waits for its turn to be evaluated, and since when, in words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from core.api.instant import format_instant


def waiting_words(since: datetime) -> str:
    """That something waits for its turn."""
    return f"Waiting since {format_instant(since)} for its turn to be evaluated; other expressions are ahead"


def words_for_run(waiting_since: Mapping[str, datetime], stated: Collection[str]) -> str:
    """What to say on the run as a whole: of what waits and is not among ``stated``; empty when there is nothing.

    ``waiting_since`` is by step, empty for the run itself; ``stated`` are the steps that have a state to say it in. One
    has none before its ``if`` is decided: a state would say that it holds.
    """
    silent = {name: since for name, since in waiting_since.items() if name not in stated}
    if not silent:
        return ""
    first = min(silent, key=lambda name: (silent[name], name))
    more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
    return f"step {first}: {waiting_words(silent[first])}{more}" if first else f"{waiting_words(silent[first])}{more}"
