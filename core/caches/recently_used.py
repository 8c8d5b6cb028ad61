"""Caches of what follows from texts of tenants: the values that were used last, within a total size.

A bound on their number would not bound their memory: compiled, a text takes up to 400 times its length.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, cast

ENTRY_BYTES: Final = 500
"""What a value takes at least, with its key and its place."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")
R = TypeVar("R")


class RecentlyUsed(Generic[K, V]):
    """Keeps the values that were used last, up to ``limit``, which is in the unit of their sizes. The newest one stays,
    whatever its size. May be used by several threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size = 0
        self._changing = threading.Lock()
        self.hits = 0
        """How often ``get`` has found something; approximately, if several threads ask."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self.hits += 1
        try:
            self._kept.move_to_end(key)
        except KeyError:  # another thread has just removed it
            return found[0]
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        with self._changing:
            before = self._kept.pop(key, None)
            self._kept[key] = (value, size)
            self._size += size - (0 if before is None else before[1])
            while self._size > self._limit and len(self._kept) > 1:
                _, (_, gone) = self._kept.popitem(last=False)
                self._size -= gone

    def clear(self) -> None:
        with self._changing:
            self._kept.clear()
            self._size = 0


class CacheInfo(NamedTuple):
    hits: int
    currsize: int
    """The number of values."""


class RememberedFunction(Protocol[P, R]):
    """A function whose results are kept; see ``kept_by_text``."""

    __wrapped__: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def cache_info(self) -> CacheInfo: ...

    def cache_clear(self) -> None: ...


def kept_by_text(
    limit: int, size_of: Callable[[Any], int] = lambda _: 0
) -> Callable[[Callable[P, R]], RememberedFunction[P, R]]:
    """Keep the results of a function for the texts that it got last; an error that it raises is not kept.

    The function gets a text or bytes, and perhaps more that is hashable, by position, and does not return None.

    Args:
        limit: bytes, of texts and results together.
        size_of: what a result takes beside its text, if that is much.
    """

    def decorated(function: Callable[P, R]) -> RememberedFunction[P, R]:
        results: RecentlyUsed[Any, R] = RecentlyUsed(limit)

        @functools.wraps(function)
        def kept(text: str | bytes, *more: Any) -> R:
            key = (text, *more) if more else text
            result = results.get(key)
            if result is None:
                result = function(text, *more)  # type: ignore[call-arg, arg-type]
                results.put(key, result, ENTRY_BYTES + len(text) + size_of(result))
            return result

        kept.cache_info = lambda: CacheInfo(results.hits, len(results))  # type: ignore[attr-defined]
        kept.cache_clear = results.clear  # type: ignore[attr-defined]
        return cast("RememberedFunction[P, R]", kept)

    return decorated
