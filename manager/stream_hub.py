"""The process of a hub whose runs come from a file, from start to stop: signals, topology, metrics, connections.

It imports little: a hub at rest is small, and none of the operator's parts are in it.
"""

from __future__ import annotations

import gc
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from core.telemetry.logs import get_logger
from core.workloads.binding_token import issue_token
from core.workloads.hub_key import HubKeyError, parse_keys
from hub.listener import HubListenerRules, serving_context
from hub.service import Hub
from hub.topology_file import TopologyFile, TopologyFileError
from manager.bind import Address
from manager.hub_endpoint import is_loopback
from manager.hub_serving import HubStartError, listen_error, metrics_of, shown
from manager.memory import give_back_large_blocks

_YOUNG_OBJECTS: Final = 20_000
"""Each packet is a handful of objects that the collector would visit, and none is in a cycle."""
_MAX_KEY_FILE: Final = 64 * 1024

_log = get_logger("hub")


@dataclass(frozen=True, slots=True)
class HubOptions:
    """What the hub is started with."""

    topology: Path
    keys: Path
    """A file with a key in each line; the first signs, all are accepted."""
    address: Address
    certificate: Path | None = None
    key: Path | None = None
    metrics: Address | None = None
    rules: HubListenerRules = field(default_factory=HubListenerRules)


def run_forever(run: Callable[[], Awaitable[None]], user_errors: tuple[type[BaseException], ...] = ()) -> int:
    """Serve until ``run`` returns. Returns the exit code: 0 for a clean stop, 1 for a failure (logged).

    Args:
        user_errors: those that need no stack trace, beside ``HubStartError``.
    """
    give_back_large_blocks()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
    try:
        trio.run(run, strict_exception_groups=True)
    except Exception as broken:  # noqa: BLE001 - the process edge: the log has the error that ended the hub
        for error in _leaves(broken):
            if isinstance(error, (HubStartError, TopologyFileError, *user_errors)):
                _log.error("the hub stops", cause=str(error))
            else:
                _log.error("the hub failed", error=error)
        return 1
    return 0


async def run_file_hub(options: HubOptions) -> None:
    """Like ``run_hub``, for ``run_forever``."""
    await run_hub(options)


async def run_hub(options: HubOptions, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until a signal or a cancellation; started with the port.

    Raises:
        HubStartError: a file or an address cannot be used.
        TopologyFileError: the topology cannot be used.
    """
    topology = TopologyFile(options.topology)
    context = tls_context(options)
    metrics = metrics_of(options.metrics)
    hub = Hub(read_keys(options.keys), options.rules, on_end=metrics.ended if metrics else None)
    with shown(metrics, hub):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_follow_signals, topology, nursery.cancel_scope)
            if options.metrics is not None:
                from manager.probes import MetricsPage
                from manager.serving import serve_on

                await nursery.start(partial(serve_on, MetricsPage(None), options.metrics))
            tls = (lambda: context) if context is not None else None
            serve = partial(hub.serve, topology, options.address.host, options.address.port, context=tls)
            try:
                port = await nursery.start(serve)
            except OSError as error:
                raise listen_error(options.address, error) from None
            _log.info("serving", address=options.address.host, port=port, tls=context is not None)
            task_status.started(port)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in a file, one in each line.

    Raises:
        HubStartError: the file cannot be read, has no key, or one is too short.
    """
    try:
        with path.open("rb") as file:
            return parse_keys(file.read(_MAX_KEY_FILE))
    except OSError as error:
        raise HubStartError(f"{path}: {error.strerror}") from None
    except HubKeyError as error:
        raise HubStartError(f"{path}: {error}") from None


def tokens_of(topology: Path, keys: Path) -> list[tuple[str, str]]:
    """For each step of a topology ``<namespace>/<run>/<step>`` and ``<namespace>/<token>``, sorted.

    Raises:
        HubStartError: the keys cannot be used.
        TopologyFileError: the topology cannot be used.
    """
    found, key = TopologyFile(topology).topology, read_keys(keys)[0]
    return sorted(
        (str(bound.place), f"{name.namespace}/{issue_token(key, *name, bound.uid, bound.generation)}")
        for name, bound in found.bindings.items()
    )


def tls_context(options: HubOptions) -> ssl.SSLContext | None:
    """The TLS context; None for plaintext.

    Raises:
        HubStartError: the files cannot be used, or plaintext would leave the machine.
    """
    if options.certificate is None or options.key is None:
        if not is_loopback(options.address.host):
            text = (
                "without TLS the address must be a loopback address, such as 127.0.0.1; give a certificate and its key"
            )
            raise HubStartError(f"{options.address}: {text}")
        return None
    try:
        return serving_context(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        raise HubStartError(f"{options.certificate}, {options.key}: {error}; give a certificate and its key") from None


async def _follow_signals(topology: TopologyFile, scope: trio.CancelScope) -> None:
    """SIGTERM and SIGINT stop the hub. SIGHUP reads the topology again."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                try:
                    topology.reload()
                except TopologyFileError as error:
                    _log.error("the topology was not read again", cause=str(error))
            else:
                _log.info("stopping", reason=signal.Signals(number).name)
                scope.cancel()


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
