"""Runs the user's function: directly, under asyncio, or under Trio; always in another thread than the supervisor.

The supervisor keeps the main thread, so that it obeys a deadline and SIGTERM even while the function blocks its event
loop or never returns. ``run`` is called in its own thread, ``cancel`` from any other. asyncio and Trio are imported
only when a function needs them.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal, Protocol

Backend = Literal["asyncio", "trio"]
BlockingCall = Callable[[Callable[..., Any], Callable[[], None]], Any]
"""A blocking call that is given a blocking callback, and what to call when that callback must stop."""


class FunctionCancelledError(Exception):
    """The function was cancelled and ended because of it."""


class Host(Protocol):
    """Runs one function."""

    def run(self, function: Callable[[], Any]) -> Any:
        """What ``function`` returns; blocks this thread.

        Raises:
            FunctionCancelledError: it ended because of ``cancel``.
        """

    def cancel(self) -> None:
        """Ask the function to stop; from any thread, at any time, more than once."""


def host_for(function: Callable[..., Any], backend: Backend | None) -> Host:
    """The host that ``function`` needs; without ``backend`` a coroutine function that names trio gets Trio.

    Raises:
        TypeError: a backend is named for a function that is not a coroutine function.
    """
    if not inspect.iscoroutinefunction(function):
        if backend is not None:
            raise TypeError(f"backend={backend!r} needs an 'async def' function")
        return PlainHost()
    return TrioHost() if (backend or _detected(function)) == "trio" else AsyncioHost()


class PlainHost:
    """Calls the function; it hears of a cancellation through ``ctx.cancelled`` only."""

    def run(self, function: Callable[[], Any]) -> Any:
        return function()

    def cancel(self) -> None:
        """A plain function cannot be interrupted."""


class AsyncioHost:
    """Runs a coroutine function under ``asyncio.run``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self._cancelled = False

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        import asyncio

        async def supervised() -> Any:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            with self._lock:
                self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
                if self._cancelled:
                    self._cancel()
            return await function()

        try:
            return asyncio.run(supervised())
        except asyncio.CancelledError as error:
            raise FunctionCancelledError("the function was cancelled") from error
        finally:
            with self._lock:
                self._cancel = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._cancel is not None:
                with suppress(RuntimeError):  # the loop closed a moment ago: there is nothing left to cancel
                    self._cancel()


class TrioHost:
    """Runs a coroutine function under ``trio.run``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self._cancelled = False

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        import trio

        async def supervised() -> Any:
            token = trio.lowlevel.current_trio_token()
            with trio.CancelScope() as scope:
                with self._lock:
                    self._cancel = lambda: token.run_sync_soon(scope.cancel)
                    if self._cancelled:
                        self._cancel()
                return await function()
            raise FunctionCancelledError("the function was cancelled")

        try:
            return trio.run(supervised)
        finally:
            with self._lock:
                self._cancel = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._cancel is not None:
                import trio

                with suppress(trio.RunFinishedError):
                    self._cancel()


async def in_thread(function: Callable[[], Any]) -> Any:
    """Await a blocking function without blocking the running event loop, whichever it is.

    Cancellation: waits for the function, which is bounded by its own timeout.
    """
    if _running_trio():
        import trio

        return await trio.to_thread.run_sync(function)
    import asyncio

    return await _uninterrupted(asyncio.ensure_future(asyncio.to_thread(function)), lambda: None)


async def in_thread_with_callback(call: BlockingCall, callback: Callable[..., Awaitable[Any]]) -> Any:
    """Await a blocking ``call`` that itself calls back into the event loop.

    Cancellation, of the caller or through the stop function given to ``call``, ends ``callback`` first.
    """
    if _running_trio():
        return await _trio_callback(call, callback)
    return await _asyncio_callback(call, callback)


async def _trio_callback(call: BlockingCall, callback: Callable[..., Awaitable[Any]]) -> Any:
    import trio

    token, scope = trio.lowlevel.current_trio_token(), trio.CancelScope()

    async def scoped(*arguments: Any) -> Any:
        with scope:
            return await callback(*arguments)
        raise FunctionCancelledError("the effect was cancelled")

    def stop() -> None:
        token.run_sync_soon(scope.cancel)

    return await trio.to_thread.run_sync(lambda: call(lambda *given: trio.from_thread.run(scoped, *given), stop))


async def _asyncio_callback(call: BlockingCall, callback: Callable[..., Awaitable[Any]]) -> Any:
    import asyncio
    import concurrent.futures

    loop, stopped = asyncio.get_running_loop(), threading.Event()
    inner: list[concurrent.futures.Future[Any]] = []

    async def awaited(*arguments: Any) -> Any:
        return await callback(*arguments)

    def stop() -> None:
        stopped.set()
        for future in inner:
            future.cancel()

    def blocking(*arguments: Any) -> Any:
        inner.append(asyncio.run_coroutine_threadsafe(awaited(*arguments), loop))
        if stopped.is_set():  # asked to stop between the claim and the effect
            stop()
        try:
            return inner[0].result()
        except concurrent.futures.CancelledError as error:
            raise FunctionCancelledError("the effect was cancelled") from error

    return await _uninterrupted(asyncio.ensure_future(asyncio.to_thread(call, blocking, stop)), stop)


async def _uninterrupted(work: Any, stop: Callable[[], None]) -> Any:
    """Await ``work`` to its end even when cancelled; then re-raise the cancellation."""
    import asyncio

    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # the cancellation is what the caller asked for; the rest is consequence
        raise


def _running_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


def _detected(function: Callable[..., Any]) -> Backend:
    trio = sys.modules.get("trio")
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return "trio" if trio is not None and any(value is trio for value in names.values()) else "asyncio"
