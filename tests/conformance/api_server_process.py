"""One API server with its controllers in a separate process, for the conformance suite.

``python -m tests.conformance.api_server_process localcluster|real`` prints one line of JSON that says how to reach the
server. Then it obeys one word per line of its standard input, and answers each with a line. When its input ends, the
process ends with everything that it started, so it cannot outlive the tests.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from localcluster import certificates, serving
from localcluster.clock import utc_now
from localcluster.controllers.running import run_controllers
from localcluster.server.cluster import open_api_server

FORGET = "forget"
"""Drop the history of writes: a client that wants to resume from the past must get 410."""


@dataclass(frozen=True)
class RunningServer:
    """How to reach a server, and how to make it forget its history."""

    url: str
    ca_pem: str
    token: str
    forget: Callable[[], Awaitable[None]]


@asynccontextmanager
async def open_localcluster(directory: Path) -> AsyncIterator[RunningServer]:
    """The API server and the controllers of localcluster over TLS, in memory; no node, as on the real control plane."""
    authority = certificates.load_or_create_authority(directory, "conformance", utc_now())
    pair = certificates.issue_server(authority, "conformance", (serving.LOOPBACK,), utc_now())
    listener = serving.bind_loopback(0)
    url = f"https://{serving.LOOPBACK}:{listener.getsockname()[1]}"
    async with open_api_server(None) as server, trio.open_nursery() as nursery:
        server.address[:] = [url.removeprefix("https://")]
        await nursery.start(serving.serve_asgi, server.app, listener, serving.TlsIdentity(pair), directory)

        async def controllers(*, task_status: trio.TaskStatus[None]) -> None:
            await run_controllers(
                server.registry,
                utc_now,
                root_ca_pem=authority.certificate_pem,
                node_name="none",
                task_status=task_status,
            )

        await nursery.start(controllers)

        async def forget() -> None:
            await trio.lowlevel.checkpoint()
            for resource in server.registry.types():
                server.store.collection(f"{resource.group}/{resource.plural}").compact()

        yield RunningServer(url, authority.certificate_pem, server.admin_token, forget)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_real(directory: Path) -> AsyncIterator[RunningServer]:
    """A kube-apiserver with etcd and the kube-controller-manager."""
    from tools.control_plane import binaries, running  # only this server needs the downloaded programs

    async with running.open_control_plane(binaries.ensure_binaries(), directory) as plane:

        async def forget() -> None:
            """Compact, and announce it as another API server would. Our server then drops its history within 15 s."""
            revision = await plane.compact()
            announcement = {"key": _encoded("compact_rev_key"), "value": _encoded(str(revision))}
            async with httpx.AsyncClient(base_url=plane.etcd_url) as client:
                (await client.post("/v3/kv/put", json=announcement)).raise_for_status()

        yield RunningServer(plane.url, plane.ca_pem, plane.admin_token, forget)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def serve(kind: str) -> None:
    """Run the server of that kind until standard input ends."""
    opened = {"localcluster": open_localcluster, "real": open_real}[kind]
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as directory:
        async with opened(Path(directory)) as server:
            print(json.dumps({"url": server.url, "ca_pem": server.ca_pem, "token": server.token}), flush=True)
            async for line in trio.wrap_file(sys.stdin):
                assert line.strip() == FORGET, f"{line.strip()!r}: the only order is {FORGET!r}"
                await server.forget()
                print("done", flush=True)


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
