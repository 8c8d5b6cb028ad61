"""For which key the current task is at work: so that a write can be fenced by the key it is made for.

The object that is written does not tell: a run writes its StepRuns and Jobs, but also the run that one of its steps
calls, and asks an older run of its Story to end. What counts is who decided, which is the task. Tasks that a task
starts are at work for the same key, unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.ownership.ownership import OwnedKey

_key: ContextVar[OwnedKey | None] = ContextVar("key that a task works for", default=None)


@contextmanager
def acting_for(key: OwnedKey) -> Iterator[None]:
    """What the block does, and what it starts, is done for ``key``."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def current_key() -> OwnedKey | None:
    """None: the task works for no key in particular, for example to renew a lease."""
    return _key.get()
