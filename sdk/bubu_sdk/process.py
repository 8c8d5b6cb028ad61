"""The process around a run: signal handlers, stdout, and an exit that cannot hang."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from bubu_contract import durations
from bubu_sdk import contract, logs, redaction
from bubu_sdk.signature import HostedFunction, StepFunction
from bubu_sdk.stage import Ending

if TYPE_CHECKING:
    from bubu_sdk.kubeclient import KubeClient

DEFAULT_USER_AGENT: Final = "bubu-sdk-python"
_FAREWELL_SECONDS: Final = 10.0
"""The time that the user's exit handlers and threads have after everything was reported."""


def run(engram: StepFunction) -> NoReturn:
    """Run ``engram`` as this process and exit with its code."""
    from bubu_sdk import stores
    from bubu_sdk.batch import BatchRun, World  # no other kind of container needs it

    with logs.Attached(
        logs.JsonLines(contract.Identity.of(os.environ)), debug=wants_debug(os.environ), root=True
    ) as captured:
        batch = BatchRun(engram, World(os.environ, connect, stores.open_store), captured)
        ending = _executed(batch)
    leave(ending)


def run_impulse(impulse: HostedFunction) -> NoReturn:
    """Run ``impulse`` as this process and exit with its code."""
    from bubu_sdk import stores
    from bubu_sdk.impulse_run import ImpulseRun, ImpulseWorld, log_fields

    with logs.Attached(logs.JsonLines(log_fields(os.environ)), debug=wants_debug(os.environ), root=True):
        ending = _executed(ImpulseRun(impulse, ImpulseWorld(os.environ, connect, stores.open_store)))
    leave(ending)


def run_stream(work: HostedFunction) -> NoReturn:
    """Run ``work`` as this process and exit with its code."""
    from bubu_sdk import stores
    from bubu_sdk.streaming.run import StreamRun, StreamWorld
    from bubu_sdk.streaming.sockets import SocketNetwork

    with logs.Attached(logs.JsonLines(contract.Identity.of(os.environ)), debug=wants_debug(os.environ), root=True):
        ending = _executed(StreamRun(work, StreamWorld(os.environ, connect, stores.open_store, SocketNetwork)))
    leave(ending)


class _Run(Protocol):
    def terminate(self, signal_number: int) -> None: ...
    def execute(self) -> Ending: ...


def _executed(run: _Run) -> Ending:
    redaction.mask_prints()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: run.terminate(received))
    return run.execute()


def leave(ending: Ending) -> NoReturn:
    """End this process with the code of ``ending``, in limited time."""
    redaction.end_prints()
    if ending.hung:
        os._exit(ending.exit_code)
    farewell = threading.Timer(_FAREWELL_SECONDS, os._exit, [ending.exit_code])
    # A leftover thread of the user must not keep a finished process running.
    farewell.daemon = True
    farewell.start()
    sys.exit(ending.exit_code)


def wants_debug(environ: Mapping[str, str]) -> bool:
    """Whether records of the level DEBUG are to be written."""
    return environ.get("BUBU_DEBUG", "").strip().lower() in {*contract.TRUE_WORDS, "debug"}


def connect(environ: Mapping[str, str]) -> KubeClient:
    """The API server of this container.

    Raises:
        ContextError: no API server is configured.
    """
    from bubu_sdk import kubeconfig
    from bubu_sdk.kubeclient import KubeClient  # a stream may do without

    try:
        timeout_seconds = durations.parse_duration(environ.get("BUBU_K8S_TIMEOUT", "30s")).total_seconds()
    except ValueError:
        timeout_seconds = 30.0
    agent = environ.get("BUBU_K8S_USER_AGENT") or DEFAULT_USER_AGENT
    return KubeClient(kubeconfig.load(environ), user_agent=agent, timeout_seconds=max(0.001, timeout_seconds))
