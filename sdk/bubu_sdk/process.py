"""The process around a batch run: signal handlers, stdout, and an exit that cannot hang."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Final, NoReturn

from bubu_sdk import contract, instant, kubeconfig, logs, stores
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.kube import Cluster
from bubu_sdk.kubeclient import KubeClient
from bubu_sdk.signature import StepFunction

DEFAULT_USER_AGENT: Final = "bubu-sdk-python"
_FAREWELL_SECONDS: Final = 10.0
"""The time that the user's exit handlers and threads have after everything was reported."""


def run(engram: StepFunction) -> NoReturn:
    """Run ``engram`` as this process and exit with its code."""
    identity = contract.Identity.of(os.environ)
    debug = os.environ.get("BUBU_DEBUG", "").strip().lower() in {*contract.TRUE_WORDS, "debug"}
    with logs.Attached(logs.JsonLines(identity), debug=debug, root=True) as captured:
        batch = BatchRun(engram, World(os.environ, connect, stores.open_store), captured)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: batch.terminate(received))
        ending = batch.execute()
    sys.stdout.flush()
    sys.stderr.flush()
    if ending.hung:
        os._exit(ending.exit_code)
    farewell = threading.Timer(_FAREWELL_SECONDS, os._exit, [ending.exit_code])
    farewell.daemon = (
        True  # a leftover thread of the user must not keep a finished step running until its Job's deadline
    )
    farewell.start()
    sys.exit(ending.exit_code)


def connect(environ: Mapping[str, str]) -> Cluster:
    """The API server of this container.

    Raises:
        ContextError: no API server is configured.
    """
    try:
        timeout_seconds = instant.parse_duration(environ.get("BUBU_K8S_TIMEOUT", "30s")).total_seconds()
    except ValueError:
        timeout_seconds = 30.0
    agent = environ.get("BUBU_K8S_USER_AGENT") or DEFAULT_USER_AGENT
    return KubeClient(kubeconfig.load(environ), user_agent=agent, timeout_seconds=max(0.001, timeout_seconds))
