"""The operator as a child process of the embedded cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from localcluster.keptprocess import KeptProcess

OPERATOR_NAMESPACE: Final = "bobrapet-system"

# It chooses the port of its metrics itself and says which: one chosen for it could be taken meanwhile.
_COMMAND: Final = (
    sys.executable,
    "-P",  # the folder in which somebody calls us holds programs of their own, perhaps by our names
    "-m",
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


def operator_process(on_ready: Callable[[str], None], volume_claims: Path) -> KeptProcess:
    """Begins with the path of its kubeconfig; tells ``on_ready`` the URL of its metrics, each time it is started.

    ``volume_claims``: where the node beside it keeps what is on the volumes of claims.
    """
    return KeptProcess("operator", (*_COMMAND, f"--volume-claims={volume_claims}"), on_ready)
