"""The cluster of a command: the one that the flags name, the one that kubectl would use, or the embedded one.

Imports almost nothing, because completion uses it, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cli.embedded.folder import EmbeddedCluster, data_folder, running
from cli.problem import CommandError, UsageError


class Flags(Protocol):
    """The flags that determine the cluster."""

    @property
    def kubeconfig(self) -> Path | None: ...
    @property
    def context(self) -> str: ...
    @property
    def local(self) -> bool: ...
    @property
    def data(self) -> Path | None: ...


def embedded_cluster(flags: Flags) -> EmbeddedCluster | None:
    """The embedded cluster under ``--local`` and ``--data``, and if nothing else is configured; otherwise None.

    Raises:
        CommandError: it is requested but does not run.
    """
    if flags.kubeconfig or flags.context:
        if flags.local:
            raise UsageError("--local excludes --kubeconfig and --context", remedy="leave out one of them")
        return None
    if not flags.local and not flags.data and is_configured(os.environ):
        return None
    data = data_folder(flags.data)
    cluster = running(data)
    if cluster is not None:
        return cluster
    if flags.local or flags.data:
        raise CommandError(f"no embedded cluster serves {data}", remedy="start it with: bobrapet up")
    raise CommandError(
        f"no cluster: no kubeconfig is configured, and no embedded cluster serves {data}",
        remedy="start one with: bobrapet up, or choose a cluster with --kubeconfig or $KUBECONFIG",
    )


def embedded_at(server: str, kubeconfig: Path) -> EmbeddedCluster | None:
    """The embedded cluster that serves this URL, if there is one: kubectl's cluster may be one, too.

    ``kubeconfig``: the file with the URL; that of an embedded cluster is in its folder.
    """
    clusters = (running(folder) for folder in (kubeconfig.parent, data_folder(None)))
    return next((cluster for cluster in clusters if cluster is not None and cluster.url == server), None)


def is_configured(environ: Mapping[str, str]) -> bool:
    """Whether kubectl would find a cluster without flags."""
    return bool(
        environ.get("KUBECONFIG")
        or environ.get("KUBERNETES_SERVICE_HOST")
        or Path("~/.kube/config").expanduser().exists()
    )
