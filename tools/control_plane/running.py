"""A running control plane: opened with a block, controlled through ``ControlPlane``, gone at the end of the block."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import trio

from tools.control_plane import commands
from tools.control_plane.access import ADMIN, Access, create_access
from tools.control_plane.binaries import Binaries
from tools.control_plane.ports import held_port
from tools.control_plane.processes import ServerError, ServerProcess, open_process

START_DEADLINE_SECONDS: Final = 120.0
_ASK_AGAIN_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 5.0
_NO_KEEPING: Final = httpx.Limits(max_keepalive_connections=0)
"""Servers are killed and restarted here, so no connection is kept from one request to the next."""


@dataclass(frozen=True, slots=True)
class RunningApiServer:
    """One API server. It keeps its port over restarts."""

    process: ServerProcess
    url: str
    _ready: httpx.AsyncClient

    async def wait_ready(self, *, seconds: float = START_DEADLINE_SECONDS) -> None:
        """Return once it serves.

        Raises:
            ServerError: it ended, or is not ready in time.
        """
        await _wait_for(self.process, self._ready, "/readyz", seconds)

    async def kill(self) -> None:
        """SIGKILL: connections break, and requests in progress have an unknown outcome."""
        await self.process.kill()

    async def stop(self) -> None:
        """SIGTERM: watches are closed, and requests in progress are answered."""
        await self.process.stop()

    async def restart(self) -> None:
        """Start it again, after ``kill`` or ``stop``; returns once it serves."""
        self.process.start()
        await self.wait_ready()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Objects are in etcd. ``url``, ``kubeconfig`` and the controllers use ``api_servers[0]``."""

    binaries: Binaries
    directory: Path
    """Contains all its files, including logs."""
    access: Access
    url: str
    kubeconfig: Path
    """The kubeconfig of the administrator."""
    audit_log: Path | None
    """One JSON event per line: the user, verb and object of each request, once answered."""
    etcd: ServerProcess
    etcd_url: str
    api_servers: list[RunningApiServer]
    controllers: ServerProcess
    _flags: tuple[str, ...] = ()
    _etcd_client: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)

    @property
    def ca_pem(self) -> str:
        return self.access.ca_pem

    @property
    def admin_token(self) -> str:
        return self.access.tokens[ADMIN]

    @property
    def api_server(self) -> RunningApiServer:
        return self.api_servers[0]

    @property
    def pids(self) -> dict[str, int]:
        """Ids of all processes that run."""
        processes = [self.etcd, *(server.process for server in self.api_servers), self.controllers]
        return {process.name: process.pid for process in processes if process.running}

    @asynccontextmanager
    async def open_client(self, token: str = "", *, url: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """Plain HTTP as the user of ``token``, or as the administrator if it is empty."""
        headers = {"authorization": f"Bearer {token or self.admin_token}"}
        async with httpx.AsyncClient(
            base_url=url or self.url,
            headers=headers,
            verify=self.access.tls_context(),
            timeout=30,
            limits=_NO_KEEPING,
            trust_env=False,
        ) as client:
            yield client

    async def compact(self) -> int:
        """Let etcd forget every revision before the present one, which is returned.

        Servers that start afterwards answer ``410 Gone`` for older revisions. Servers that run remember some of them.
        """
        answer = await self._etcd_client.post("/v3/kv/range", json={"key": base64.b64encode(b"/").decode()})
        answer.raise_for_status()
        revision = int(answer.json()["header"]["revision"])
        answer = await self._etcd_client.post("/v3/kv/compaction", json={"revision": str(revision), "physical": True})
        answer.raise_for_status()
        return revision

    async def token_of(self, service_account: str, namespace: str, *, seconds: int = 3600, pod: str = "") -> str:
        """A token of the account from TokenRequest, valid for at least 600 seconds, which is the server's own limit.

        ``pod``: the Pod to which the token is bound, like a token that is mounted there.
        """
        bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod}} if pod else {}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds, **bound},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        async with self.open_client() as client:
            answer = await client.post(path, json=request)
        answer.raise_for_status()
        return str(answer.json()["status"]["token"])

    async def kubeconfig_of(self, service_account: str, namespace: str, *, url: str = "") -> Path:
        """A kubeconfig with such a token, for a program that runs as this account."""
        token = await self.token_of(service_account, namespace)
        return self.access.write_kubeconfig(f"{namespace}.{service_account}", url or self.url, token, namespace)

    @asynccontextmanager
    async def open_api_server(self, name: str, *, etcd_url: str = "") -> AsyncIterator[RunningApiServer]:
        """One more API server on the same objects, during the block.

        ``etcd_url`` leads to etcd through something in between, such as a proxy that can hold back what it carries.
        """
        etcd_url = etcd_url or self.etcd_url
        async with open_api_server(
            name, self.binaries, self.access, etcd_url, self.directory, flags=self._flags
        ) as server:
            yield server


@asynccontextmanager
async def open_api_server(
    name: str, binaries: Binaries, access: Access, etcd_url: str, directory: Path, *, flags: Sequence[str] = ()
) -> AsyncIterator[RunningApiServer]:
    """An API server during the block, on objects that others serve, too. Its log is in ``directory``.

    Raises:
        ServerError: it ended or did not get ready.
    """
    async with AsyncExitStack() as stack:
        yield await _start_api_server(stack, name, binaries, access, etcd_url, directory, None, tuple(flags))


@asynccontextmanager
async def open_control_plane(
    binaries: Binaries,
    directory: Path,
    *,
    audit: bool = False,
    api_servers: int = 1,
    flags: Sequence[str] = (),
) -> AsyncIterator[ControlPlane]:
    """A control plane during the block, ready when the block begins.

    Call it from the main thread: on Linux its processes end with the thread that started them.

    Args:
        directory: for this control plane alone; created if missing, left behind with its logs.
        audit: keep an audit log.
        api_servers: how many, all on one etcd.
        flags: more flags of kube-apiserver, after ours.
    Raises:
        ServerError: a program ended or did not get ready; the message has the end of its log.
    """
    await trio.Path(directory).mkdir(parents=True, exist_ok=True, mode=0o700)
    access = create_access(directory / "access")
    audit_log = directory / "audit.log" if audit else None
    async with AsyncExitStack() as stack:
        etcd, etcd_client = await _start_etcd(stack, binaries, directory)
        etcd_url = str(etcd_client.base_url).rstrip("/")
        servers = [
            await _start_api_server(
                stack,
                "kube-apiserver" if number == 0 else f"kube-apiserver-{number + 1}",
                binaries,
                access,
                etcd_url,
                directory,
                audit_log.with_stem(f"audit-{number + 1}") if audit_log and number else audit_log,
                tuple(flags),
            )
            for number in range(api_servers)
        ]
        url = servers[0].url
        command = commands.kube_controller_manager(binaries, access, url)
        controllers = await stack.enter_async_context(
            open_process("kube-controller-manager", command, directory, _environment())
        )
        kubeconfig = access.write_kubeconfig(ADMIN, url, access.tokens[ADMIN])
        plane = ControlPlane(
            binaries,
            directory,
            access,
            url,
            kubeconfig,
            audit_log,
            etcd,
            etcd_url,
            servers,
            controllers,
            tuple(flags),
            etcd_client,
        )
        await _wait_for_controllers(plane)
        yield plane


async def _start_etcd(
    stack: AsyncExitStack, binaries: Binaries, directory: Path
) -> tuple[ServerProcess, httpx.AsyncClient]:
    client_port, peer_port = stack.enter_context(held_port()), stack.enter_context(held_port())
    command = commands.etcd(binaries, directory / "etcd", client_port, peer_port)
    process = await stack.enter_async_context(open_process("etcd", command, directory, _environment()))
    url = f"http://127.0.0.1:{client_port}"
    client = await stack.enter_async_context(
        httpx.AsyncClient(base_url=url, limits=_NO_KEEPING, trust_env=False, timeout=30)
    )
    await _wait_for(process, client, "/health", START_DEADLINE_SECONDS)
    return process, client


async def _start_api_server(
    stack: AsyncExitStack,
    name: str,
    binaries: Binaries,
    access: Access,
    etcd_url: str,
    directory: Path,
    audit_log: Path | None,
    flags: tuple[str, ...],
) -> RunningApiServer:
    port = stack.enter_context(held_port())
    url = f"https://127.0.0.1:{port}"
    command = commands.kube_apiserver(binaries, access, port, etcd_url, audit_log=audit_log, flags=flags)
    process = await stack.enter_async_context(open_process(name, command, directory, _environment()))
    client = await stack.enter_async_context(
        httpx.AsyncClient(
            base_url=url, verify=access.tls_context(), limits=_NO_KEEPING, trust_env=False, timeout=_ANSWER_SECONDS
        )
    )
    server = RunningApiServer(process, url, client)
    await server.wait_ready()
    return server


async def _wait_for(process: ServerProcess, client: httpx.AsyncClient, path: str, seconds: float) -> None:
    """Wait until ``path`` answers 200."""
    last = "no answer"
    with trio.move_on_after(seconds):
        while process.running:
            try:
                answer = await client.get(path)
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if answer.status_code == httpx.codes.OK:
                    return
                last = answer.text
            await trio.sleep(_ASK_AGAIN_SECONDS)
        raise ServerError(f"{process.name} ended before it was ready\n{process.tail()}")
    raise ServerError(f"{process.name} is not ready after {seconds:g} s ({last})\n{process.tail()}")


async def _wait_for_controllers(plane: ControlPlane) -> None:
    """Wait until the default namespace has what controllers give every namespace. Pods need it."""
    paths = (
        "/api/v1/namespaces/default/serviceaccounts/default",
        "/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
    )
    async with plane.open_client() as client:
        for path in paths:
            await _wait_for(plane.controllers, client, path, START_DEADLINE_SECONDS)


def _environment() -> Mapping[str, str]:
    """Our environment without proxies, because everything is on loopback.

    Go collects garbage a quarter as often as by default, which takes a seventh of an API server's CPU, until one of
    its programs uses 1 GiB.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {"GOGC": "400", "GOMEMLIMIT": "1GiB", **inherited}
