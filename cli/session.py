"""One command's connection: the cluster, the user and the namespace."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cli.console import Console
from cli.embedded.folder import EmbeddedCluster
from cli.options import CommonOptions
from cli.problem import CommandError
from cli.target import embedded_cluster, is_configured
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig, Impersonation, load_config
from core.kube.errors import ConfigError, TransportError
from core.kube.retry import ONCE, CallRetries, with_retries

T = TypeVar("T")

PATIENCE: Final = CallRetries(attempts=1_000_000, max_seconds=5.0, deadline_seconds=math.inf)
"""For a command that waits: its caller, ``--timeout`` or Ctrl-C ends it."""
_DATA_IS_ANOTHER_FLAG: Final = frozenset({"approve", "reject"})
"""Verbs whose ``--data`` is not the folder of the embedded cluster."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open client, and the values of the flags."""

    client: KubeClient
    config: ClusterConfig
    options: CommonOptions
    console: Console

    embedded: EmbeddedCluster | None = None
    """The embedded cluster of this session, if it is one."""

    @property
    def namespace(self) -> str:
        """The namespace of single objects."""
        return self.options.namespace or self.config.namespace

    @property
    def list_namespace(self) -> str | None:
        """The namespace of lists; None means all of them."""
        return None if self.options.all_namespaces else self.namespace

    def in_namespace(self, namespace: str) -> Session:
        """The same session with another namespace, as ``--namespace`` would give it; itself if it has that one."""
        if namespace == self.namespace:
            return self
        return replace(self, options=replace(self.options, namespace=namespace))

    def command(self, verb: str, *arguments: str) -> str:
        """The command to type for ``verb`` in the same place, after this command has ended."""
        return self._line(self.options.namespace, verb, arguments)

    def command_in(self, namespace: str, verb: str, *arguments: str) -> str:
        """The same as ``command``, for an object of ``namespace``."""
        return self._line(self.options.namespace if namespace == self.namespace else namespace, verb, arguments)

    def _line(self, namespace: str, verb: str, arguments: Sequence[str]) -> str:
        options, place = self.options, ""
        if options.data and verb in _DATA_IS_ANOTHER_FLAG:
            place, options = f"BOBRAPET_DATA={shlex.quote(str(options.data))} ", replace(options, data=None)
        flags = [
            *(("--namespace", namespace) if namespace else ()),
            *(("--context", options.context) if options.context else ()),
            *(("--data", str(options.data)) if options.data else ()),
        ]
        if self.embedded is None and options.kubeconfig:
            flags += ["--kubeconfig", str(options.kubeconfig)]
        if self.embedded is not None and (_leads_elsewhere(self.embedded) or self.options.data):
            flags.append("--local")
        line = place + shlex.join(["bobrapet", verb, *arguments, *flags])
        if self.embedded is not None and self.embedded.on_demand:
            up = ["bobrapet", "up", *(("--data", str(self.options.data)) if self.options.data else ())]
            return f"{shlex.join(up)} && {line}"
        return line


def _leads_elsewhere(cluster: EmbeddedCluster) -> bool:
    """Whether a command without flags would not use this cluster."""
    return is_configured(os.environ) and os.environ.get("KUBECONFIG") != str(cluster.kubeconfig)


@asynccontextmanager
async def open_session(options: CommonOptions, *, on: EmbeddedCluster | None = None) -> AsyncIterator[Session]:
    """Connect according to the flags, to the embedded cluster ``on``, or to the one of ``embedded_cluster``.

    Raises:
        ConfigError: there is no usable configuration.
        CommandError: the embedded cluster is requested but does not run.
    """
    impersonation = Impersonation(user=options.as_user, groups=tuple(options.as_group or ()))
    cluster = on or embedded_cluster(options)
    kubeconfig = options.kubeconfig if cluster is None else cluster.kubeconfig
    config = await load_config(kubeconfig, options.context or None, impersonation=impersonation)
    async with open_client(config, retry=ONCE, timeout_seconds=options.request_timeout) as client:
        yield Session(client, config, options, Console(options), cluster)


async def why_unreachable(options: CommonOptions) -> str:
    """Why no cluster answers; empty if one does. For a command that can do without."""
    try:
        async with open_session(options) as session:
            await session.client.server_version()
    except (CommandError, ConfigError, TransportError) as error:
        return str(error)
    return ""


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The result of idempotent requests about a run that goes on even if no one can be told.

    A server that is away, busy or full is asked again, however often.

    Raises:
        KubeError: another attempt does not help.
    """
    return await with_retries(call, policy=PATIENCE, idempotent=True)
