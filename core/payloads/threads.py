"""Threads for what blocks: as many as are needed, and never more for one store than it may hang.

A thread that hangs in a read cannot be interrupted. It is left behind, and counts until it ends: so a store that never
answers holds on to few threads, and none of another store's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

import trio

from core.payloads.errors import StoreUnavailableError

PER_STORE: Final = 4
"""Reads of one store at the same time; further ones wait, within their deadline."""

_DECODING: Final = "decoding"

_Value = TypeVar("_Value")
_Arguments = TypeVarTuple("_Arguments")

_limiters: Final[trio.lowlevel.RunVar[WeakValueDictionary[str, trio.CapacityLimiter]]] = trio.lowlevel.RunVar(
    "payload threads"
)
"""By store; each lives as long as somebody waits or a thread is out."""


async def answer_in_time(
    store: str, timeout_seconds: float, function: Callable[[*_Arguments], _Value], *arguments: *_Arguments
) -> _Value:
    """What ``function`` gives, which asks the store of this name.

    Raises:
        StoreUnavailableError: nothing within ``timeout_seconds``, waiting for a thread included.
    Cancellation: the thread goes on and its result is dropped.
    """
    with trio.move_on_after(timeout_seconds):
        return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=_limiter(store))
    raise StoreUnavailableError(f"{store} gave no answer within {timeout_seconds:g} s")


async def compute(function: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
    """What ``function`` gives, which takes too long for the event loop but surely ends.

    Cancellation: the thread goes on and its result is dropped.
    """
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=_limiter(_DECODING))


def _limiter(name: str) -> trio.CapacityLimiter:
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = WeakValueDictionary()
        _limiters.set(limiters)
    limiter = limiters.get(name)
    if limiter is None:
        limiter = limiters[name] = trio.CapacityLimiter(PER_STORE)
    return limiter
