"""The key that the current task works for, so that a write can be fenced by the key it is made for.

The written object does not show that key: a run writes its StepRuns and Jobs, but also the run that one of its steps
calls, and it asks an older run of its Story to end. What counts is the task that decided the write. A task works for
the same key as the task that started it, unless it sets another key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.ownership.ownership import OwnedKey

_key: ContextVar[OwnedKey | None] = ContextVar("key that a task works for", default=None)


@contextmanager
def acting_for(key: OwnedKey) -> Iterator[None]:
    """Inside the block, the task and the tasks that it starts work for ``key``."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def current_key() -> OwnedKey | None:
    """The key; None: the task works for no particular key, for example to renew a lease."""
    return _key.get()
