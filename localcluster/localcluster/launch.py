"""Runs a whole cluster: API server and controllers in this process, the node in a child process, in one nursery.

The separate process lets the node use another core. The node and its containers have a lower priority, so that API
server and controllers go first when there is more work than CPU. If the node dies, it is started again.

All data of the cluster is in one data directory, which only its owner can read: database, authority, kubeconfig,
volumes and logs. When ``serve`` returns, all processes that it started have ended. When this process is killed, the
node ends with it, and the kernel ends the containers.
"""

from __future__ import annotations

import os
import resource
import ssl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from localcluster import certificates, lock, serving
from localcluster.clock import Now, utc_now
from localcluster.controllers.running import run_controllers
from localcluster.keptprocess import KeptProcess
from localcluster.keypair import KeyPair
from localcluster.kubeconfig import Connection, render_kubeconfig
from localcluster.log import LogForm
from localcluster.node.assignment import Assignment
from localcluster.node.images import default_path
from localcluster.node.settings import NodeSettings
from localcluster.privatefile import make_private_folder, write_private
from localcluster.server.cluster import ApiServer, open_api_server
from localcluster.server.webhookcall import LocalWebhooks

NODE_NAME = "local"
NODE_COMMAND = (sys.executable, "-P", "-m", "localcluster.node")
DEFAULT_PORT = 16443
_HOSTS = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """How to reach a running cluster."""

    kubeconfig_path: Path
    url: str
    ca_pem: str
    token: str
    """The administrator's token."""
    data_dir: Path
    pid: int


async def serve(
    data_dir: Path | None,
    port: int = DEFAULT_PORT,
    *,
    image_map: Path | None = None,
    max_containers: int = 256,
    isolate: bool = True,
    log_form: LogForm = LogForm.TEXT,
    local_webhooks: LocalWebhooks | None = None,
    node_command: Sequence[str] = NODE_COMMAND,
    now: Now = utc_now,
    task_status: trio.TaskStatus[ClusterInfo] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a cluster until cancelled; started once it answers and takes Pods.

    Args:
        data_dir: created when missing. None: a temporary one, removed at the end, with objects in memory only.
        port: the port on 127.0.0.1; 0 takes a free one.
        image_map: the file that maps images to programs (``localcluster.node.images``); None: the user's own file.
        max_containers: how many run at once; further Pods wait.
        isolate: give containers their own Linux namespaces where the system allows it.
        log_form: the form of the log that the node process writes to standard error.
        local_webhooks: webhooks that this process answers itself.
        node_command: what starts the process of the node.
    Raises:
        DataDirectoryInUseError, OpenFolderError, PortTakenError, ProcessNotReadyError, StorageError: it cannot start;
            the text gives the remedy.
    """
    with _directory(data_dir) as directory, lock.holding(directory):
        _allow_many_files()
        listener = serving.bind_loopback(port)
        identity = _Identity.of(directory, now)
        url = f"https://{serving.LOOPBACK}:{listener.getsockname()[1]}"
        node_tls = identity.towards_nodes(directory)
        database = directory / "cluster.db" if data_dir is not None else None
        node = KeptProcess("node", node_command, lambda _: None)
        async with trio.open_nursery() as processes:
            # The node starts first: it loads its modules on another core while the API server starts.
            await processes.start(node.run)
            async with (
                open_api_server(database, now=now, node_tls=node_tls, local_webhooks=local_webhooks) as server,
                trio.open_nursery() as nursery,
            ):
                server.address[:] = [url.removeprefix("https://")]
                tls = serving.TlsIdentity(identity.serving)
                await nursery.start(serving.serve_asgi, server.app, listener, tls, directory)
                ca_pem = identity.authority.certificate_pem
                settings = NodeSettings(
                    name=NODE_NAME,
                    data_dir=directory / "node",
                    image_map=(image_map or default_path(os.environ)).absolute(),
                    api_url=url,
                    max_containers=max_containers,
                    isolate=isolate,
                )
                assignment = Assignment(settings, server.admin_token, ca_pem, identity.node_serving, log_form)
                node.begin(assignment.to_line())
                await nursery.start(_controllers, server, now, ca_pem)
                connection = Connection(url, token=server.admin_token, ca_pem=ca_pem)
                kubeconfig = directory / "kubeconfig"
                write_private(kubeconfig, render_kubeconfig(connection))
                await node.wait_until_ready()
                task_status.started(ClusterInfo(kubeconfig, url, ca_pem, server.admin_token, directory, os.getpid()))


async def _controllers(
    server: ApiServer, now: Now, ca_pem: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await run_controllers(server.registry, now, root_ca_pem=ca_pem, node_name=NODE_NAME, task_status=task_status)


@dataclass(frozen=True, slots=True)
class _Identity:
    """The certificates for one start: the authority is kept, the others are new."""

    authority: KeyPair
    serving: KeyPair
    node_serving: KeyPair
    logs_client: KeyPair
    """The API server presents it to the node's log endpoint."""

    @classmethod
    def of(cls, directory: Path, now: Now) -> _Identity:
        authority = certificates.load_or_create_authority(directory, "localcluster", now())
        return cls(
            authority,
            certificates.issue_server(authority, "localcluster", _HOSTS, now()),
            certificates.issue_server(authority, NODE_NAME, (serving.LOOPBACK, "localhost"), now()),
            certificates.issue_client(authority, "localcluster-apiserver", "localcluster", now()),
        )

    def towards_nodes(self, scratch: Path) -> ssl.SSLContext:
        client = self.logs_client
        connection = Connection(
            url="",
            ca_pem=self.authority.certificate_pem,
            client_certificate_pem=client.certificate_pem,
            client_key_pem=client.key_pem,
        )
        return connection.tls_context(scratch)


@contextmanager
def _directory(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is None:
        with tempfile.TemporaryDirectory(prefix="localcluster-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary).resolve()
    else:
        make_private_folder(data_dir, (lock.LOCK_FILE,))
        yield data_dir.resolve()


def _allow_many_files() -> None:
    """Raise the soft limit of open files, usually 1024: each container needs two pipes and each client a socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, 65536), hard))
