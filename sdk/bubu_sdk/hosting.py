"""Runs the user's function directly, under asyncio, or under Trio; always in another thread than the supervisor.

The supervisor keeps the main thread. So it enforces a deadline and reacts to SIGTERM even if the function blocks its
event loop or never returns. ``run`` is called in its own thread, ``cancel`` from any other thread. asyncio and Trio are
imported only if a function needs them.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal, Protocol

from bubu_sdk.cancellation import Cancellation

Backend = Literal["asyncio", "trio"]
BlockingCall = Callable[[Callable[..., Any], Callable[[], None]], Any]
"""A blocking call with two arguments: a blocking callback, and a function that stops this callback."""


class FunctionCancelledError(Exception):
    """The function ended because it was cancelled."""


class Host(Protocol):
    """Runs one function."""

    def run(self, function: Callable[[], Any]) -> Any:
        """The return value of ``function``; blocks this thread.

        Raises:
            FunctionCancelledError: the function ended because of ``cancel``.
        """

    def cancel(self) -> None:
        """Ask the function to stop. Any thread may call it, at any time, more than once."""


def host_for(function: Callable[..., Any], backend: Backend | None) -> Host:
    """The host that ``function`` needs. Without ``backend``, an ``async def`` gets Trio if its module imports trio.

    Raises:
        TypeError: ``backend`` is given, but the function is not an ``async def``.
    """
    if not is_async(function):
        if backend is not None:
            raise TypeError(f"backend={backend!r} needs an 'async def' function")
        return PlainHost()
    return TrioHost() if (backend or _detected(function)) == "trio" else AsyncioHost()


def host_for_setup(setup: Callable[[], Any], backend: Backend | None) -> Host:
    """The host for the ``setup`` of a function that has ``backend``."""
    return host_for(setup, backend if is_async(setup) else None)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether ``function`` is an ``async def``, with ``yield`` or without."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


class PlainHost:
    """Calls the function; only ``ctx.cancelled`` informs it about a cancellation."""

    def run(self, function: Callable[[], Any]) -> Any:
        return function()

    def cancel(self) -> None:
        """Do nothing: a plain function cannot be interrupted."""


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
                with suppress(RuntimeError):  # the loop has just closed: there is nothing to cancel
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
    """Await a blocking function without blocking the running event loop, asyncio or Trio.

    Cancellation: waits until the function returns; the function has its own timeout.
    """
    if running_trio():
        import trio

        return await trio.to_thread.run_sync(function)
    import asyncio

    return await _uninterrupted(asyncio.ensure_future(asyncio.to_thread(function)), lambda: None)


async def interruptible(call: Callable[[Cancellation], Any]) -> Any:
    """Await a blocking ``call``. A cancelled caller cancels the call's ``Cancellation``, and waits for the call's end.

    If the call returns a value in spite of it, Trio's caller gets the value, and is cancelled at its next checkpoint.
    asyncio cancels only once, so there the value is dropped.
    """
    cancellation = Cancellation()
    if running_trio():
        return await _trio_interruptible(lambda: call(cancellation), cancellation.cancel)
    import asyncio

    work = asyncio.ensure_future(asyncio.to_thread(call, cancellation))
    return await _uninterrupted(work, cancellation.cancel)


async def _trio_interruptible(function: Callable[[], Any], stop: Callable[[], None]) -> Any:
    import trio

    token, task, borrower = trio.lowlevel.current_trio_token(), trio.lowlevel.current_task(), object()

    def deliver(outcome: Any) -> None:
        token.run_sync_soon(trio.lowlevel.reschedule, task, outcome)

    def abort(_: Any) -> trio.lowlevel.Abort:
        stop()
        return trio.lowlevel.Abort.FAILED  # the thread has an end soon, and the caller waits for it

    limiter = trio.to_thread.current_default_thread_limiter()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        trio.lowlevel.start_thread_soon(function, deliver, "bubu-call")
        return await trio.lowlevel.wait_task_rescheduled(abort)
    except Exception:
        await trio.lowlevel.checkpoint_if_cancelled()  # the cancellation is the cause of the error
        raise
    finally:
        limiter.release_on_behalf_of(borrower)


async def in_thread_with_callback(call: BlockingCall, callback: Callable[..., Awaitable[Any]]) -> Any:
    """Await a blocking ``call`` that itself calls back into the event loop.

    A cancellation of the caller, and the stop function given to ``call``, end ``callback`` first.
    """
    if running_trio():
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
        if stopped.is_set():  # stopped between the claim and the effect
            stop()
        try:
            return inner[0].result()
        except concurrent.futures.CancelledError as error:
            raise FunctionCancelledError("the effect was cancelled") from error

    return await _uninterrupted(asyncio.ensure_future(asyncio.to_thread(call, blocking, stop)), stop)


async def _uninterrupted(work: Any, stop: Callable[[], None]) -> Any:
    """Await ``work`` to its end, even if cancelled; then raise the cancellation again."""
    import asyncio

    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # dropped: the caller gets the cancellation, which is the cause of this error
        raise


def running_trio() -> bool:
    """Whether the caller runs under Trio."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


def _detected(function: Callable[..., Any]) -> Backend:
    trio = sys.modules.get("trio")
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return "trio" if trio is not None and any(value is trio for value in names.values()) else "asyncio"
