"""Threads for blocking calls: as many as needed, but a bounded number for each store.

A thread that hangs in a read cannot be interrupted. It is abandoned, and counts until it ends. So a store that never
answers blocks only a few threads, and none of another store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

import trio

from core.payloads.errors import StoreUnavailableError

PER_STORE: Final = 4
"""Concurrent reads of one store; further reads wait, within their deadline."""

_DECODING: Final = "decoding"

_Value = TypeVar("_Value")
_Arguments = TypeVarTuple("_Arguments")

_limiters: Final[trio.lowlevel.RunVar[WeakValueDictionary[str, trio.CapacityLimiter]]] = trio.lowlevel.RunVar(
    "payload threads"
)
"""By store; an entry lives as long as a caller waits or a thread works."""


async def answer_in_time(
    store: str, timeout_seconds: float, function: Callable[[*_Arguments], _Value], *arguments: *_Arguments
) -> _Value:
    """The result of ``function``, which reads from the store named ``store``.

    Raises:
        StoreUnavailableError: no result within ``timeout_seconds``, including the wait for a thread.
        Cancellation: the thread continues and its result is dropped.
    """
    with trio.move_on_after(timeout_seconds):
        return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=_limiter(store))
    raise StoreUnavailableError(f"{store} did not answer within {timeout_seconds:g} s")


async def compute(function: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
    """The result of ``function``, which takes too long for the event loop but certainly ends.

    Cancellation: the thread continues and its result is dropped.
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
