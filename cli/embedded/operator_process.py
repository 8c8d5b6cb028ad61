"""The operator as a child process of the embedded cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bobrapet.launch import module_command
from localcluster.keptprocess import KeptProcess

OPERATOR_NAMESPACE: Final = "bobrapet-system"

# It chooses the port of its metrics itself and reports it: a port that was chosen for it could be in use by then.
_COMMAND: Final = module_command(
    "cli",
    "manager",
    "--attached",
    f"--config-namespace={OPERATOR_NAMESPACE}",
    "--health-probe-bind-address=0",
    "--metrics-bind-address=127.0.0.1:0",
    "--metrics-secure=false",
    "--webhook-bind-address=0",
    "--leader-elect=false",
)


def operator_process(on_ready: Callable[[str], None], volume_claims: Path, hub_endpoint: str) -> KeptProcess:
    """Reads the path of its kubeconfig first; calls ``on_ready`` with the URL of its metrics, after each start.

    Args:
        volume_claims: the folder in which the node beside it keeps the volumes of claims.
        hub_endpoint: where the hub listens.
    """
    own = (f"--volume-claims={volume_claims}", f"--hub-endpoint={hub_endpoint}")
    return KeptProcess("operator", (*_COMMAND, *own), on_ready)
