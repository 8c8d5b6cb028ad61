"""One command's connection: which cluster, as whom, in which namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio

from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig, Impersonation, load_config
from core.kube.retry import ONCE
from manager import embedded
from manager.cli.console import Console
from manager.cli.exit_code import ExitCode
from manager.cli.options import CommonOptions, LogStyle
from manager.cli.problem import CommandError

Result = TypeVar("Result")


class InterruptedBySignalError(Exception):
    """Ctrl-C or SIGTERM arrived while the command was working; ``code`` says which."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True, slots=True)
class Session:
    """An open client and what the flags say about it."""

    client: KubeClient
    config: ClusterConfig
    options: CommonOptions
    console: Console

    @property
    def namespace(self) -> str:
        """The namespace of single objects."""
        return self.options.namespace or self.config.namespace

    @property
    def list_namespace(self) -> str | None:
        """The namespace of lists; None means all of them."""
        return None if self.options.all_namespaces else self.namespace


@asynccontextmanager
async def open_session(options: CommonOptions) -> AsyncIterator[Session]:
    """Connect as the flags say; the embedded cluster under ``--local``, or when it runs and nothing else is configured.

    Raises:
        ConfigError: no usable configuration.
        CommandError: ``--local`` without a running embedded cluster.
    """
    impersonation = Impersonation(user=options.as_user, groups=tuple(options.as_group or ()))
    kubeconfig = options.kubeconfig
    if options.local:
        cluster = embedded.running(embedded.data_folder(options.data))
        if cluster is None:
            raise CommandError("no embedded cluster is running", remedy="start it with: bobrapet up")
        kubeconfig = cluster.kubeconfig
    config = await load_config(kubeconfig, options.context or None, impersonation=impersonation)
    async with open_client(config, retry=ONCE, timeout_seconds=options.request_timeout) as client:
        yield Session(client, config, options, Console(options))


def run_async(options: CommonOptions, work: Callable[[], Awaitable[Result]]) -> Result:
    """Run ``work`` on Trio until it is done, Ctrl-C or SIGTERM.

    Raises:
        InterruptedBySignalError: a signal ended it; everything it had open was closed.
    """
    _configure_logging(options)
    interrupted: list[ExitCode] = []
    results: list[Result] = []

    async def supervised() -> None:
        import signal

        async with trio.open_nursery() as nursery:

            async def watch_signals() -> None:
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for number in signals:
                        interrupted.append(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
                        nursery.cancel_scope.cancel()
                        return

            nursery.start_soon(watch_signals)
            results.append(await work())
            nursery.cancel_scope.cancel()

    trio.run(supervised, strict_exception_groups=True)
    if interrupted and not results:
        raise InterruptedBySignalError(interrupted[0])
    return results[0]


def _configure_logging(options: CommonOptions) -> None:
    from core.telemetry.logs import LogFormat, configure_logging

    level = "error" if options.quiet else ("warning", "info", "debug")[min(options.verbose, 2)]
    configure_logging(LogFormat.JSON if options.log_style is LogStyle.JSON else LogFormat.CONSOLE, level=level)
