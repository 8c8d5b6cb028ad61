"""The same work for several items, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import trio

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def for_several(
    items: Iterable[_Item],
    work: Callable[[_Item], Awaitable[_Result]],
    *,
    at_once: int,
    failures: tuple[type[Exception], ...],
) -> list[_Result]:
    """The results of ``work`` for each item, in the order in which they are ready.

    The first failure of one of these types ends the rest, and is raised alone instead of in a group, so that a caller
    can catch it by its type.

    Raises:
        Cancellation: ``work`` is cancelled wherever it is.
    """
    results, failed = list[_Result](), list[Exception]()
    rest = iter(items)

    async def take_items() -> None:
        for item in rest:  # all tasks take from the same iterator
            try:
                results.append(await work(item))
            except failures as error:
                failed.append(error)
                nursery.cancel_scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(take_items)
    if failed:
        raise failed[0]
    return results
