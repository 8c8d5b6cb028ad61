"""Runs a command's work on Trio, until its end, Ctrl-C or SIGTERM. Loads no module that talks to a cluster."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from cli.exit_code import ExitCode
from cli.options import CommonOptions, LogStyle
from core.telemetry.logs import LogFormat, configure_logging

Result = TypeVar("Result")


class InterruptedBySignalError(Exception):
    """Ctrl-C or SIGTERM arrived while the command was working; ``code`` says which."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code.name)
        self.code = code


def run_async(options: CommonOptions, work: Callable[[], Awaitable[Result]]) -> Result:
    """Run ``work`` on Trio until it ends, or Ctrl-C or SIGTERM arrives.

    Raises:
        InterruptedBySignalError: a signal ended it; everything that was open is closed.
    """
    _configure_logging(options)
    interrupted: list[ExitCode] = []
    results: list[Result] = []

    async def supervised() -> None:
        async with trio.open_nursery() as nursery:

            async def watch_signals(*, task_status: trio.TaskStatus[None]) -> None:
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    task_status.started()
                    async for number in signals:
                        interrupted.append(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
                        nursery.cancel_scope.cancel()
                        return

            await nursery.start(watch_signals)
            results.append(await work())
            nursery.cancel_scope.cancel()

    try:
        trio.run(supervised, strict_exception_groups=True)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        # Python's own handler raises this, in the moments before and after our handler is active.
        if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is None:
            raise
        interrupted.append(ExitCode.INTERRUPTED)
    if interrupted and not results:
        raise InterruptedBySignalError(interrupted[0])
    return results[0]


def _configure_logging(options: CommonOptions) -> None:
    level = "error" if options.quiet else ("warning", "info", "debug")[min(options.verbose, 2)]
    configure_logging(LogFormat.JSON if options.log_style is LogStyle.JSON else LogFormat.CONSOLE, level=level)
