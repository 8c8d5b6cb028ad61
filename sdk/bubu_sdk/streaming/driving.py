"""The loop that drives a streaming function: it takes what the function yields, and says when the function is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any

from bubu_sdk.errors import EngramError
from bubu_sdk.signature import HostedFunction, Signature
from bubu_sdk.streaming.messages import Feed


def is_source(signature: Signature) -> bool:
    """Whether the function reads no messages."""
    return signature.inputs is None


def driver(
    work: HostedFunction, arguments: Mapping[str, Any], feed: Feed, stopping: Callable[[], bool]
) -> Callable[[], Any]:
    """What the function's host runs: a callable, or one that returns an awaitable.

    ``stopping``: whether a source is to end at its next ``yield``.
    """
    if work.is_async:
        return lambda: _drive_async(work.function, arguments, feed, stopping)
    return lambda: _drive(work.function, arguments, feed, stopping)


def _drive(
    function: Callable[..., Any], arguments: Mapping[str, Any], feed: Feed, stopping: Callable[[], bool]
) -> None:
    result = function(**arguments)
    if isinstance(result, Generator):
        _pull(result, feed, stopping)
    elif result is not None:
        raise _returned(result)
    feed.finish_all()


def _pull(outputs: Generator[Any, None, Any], feed: Feed, stopping: Callable[[], bool]) -> None:
    try:
        value = next(outputs)
        while not stopping():
            try:
                feed.send(value, feed.current)
            except EngramError as error:
                value = outputs.throw(error)
            else:
                value = next(outputs)
    except StopIteration:
        return
    finally:
        outputs.close()


async def _drive_async(
    function: Callable[..., Any], arguments: Mapping[str, Any], feed: Feed, stopping: Callable[[], bool]
) -> None:
    result = function(**arguments)
    if isinstance(result, AsyncGenerator):
        await _pull_async(result, feed, stopping)
    elif (value := await result) is not None:
        raise _returned(value)
    feed.finish_all()


async def _pull_async(outputs: AsyncGenerator[Any, None], feed: Feed, stopping: Callable[[], bool]) -> None:
    try:
        value = await anext(outputs)
        while not stopping():
            try:
                await feed.send_async(value, feed.current)
            except EngramError as error:
                value = await outputs.athrow(error)
            else:
                value = await anext(outputs)
    except StopAsyncIteration:
        return
    finally:
        await outputs.aclose()


def _returned(value: Any) -> TypeError:
    return TypeError(f"a streaming engram returns nothing, not {type(value).__name__}; yield outputs instead")
