"""Versity S3 Gateway over a folder: TLS, one account, one bucket. It can be killed and started again.

An object is a file of the folder, so a test can look at what is stored, whatever the server says.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import trio

from core.payloads.store import S3Location
from tests.e2e.object_store.authority import Authority, make_authority
from tools.control_plane.binaries import ensure_tool
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerError, ServerProcess, open_process

BUCKET: Final = "payloads"
ACCESS_KEY: Final = "operator"
SECRET_KEY: Final = "a secret that no text may show"
REGION: Final = "us-east-1"
_READY_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running server."""

    process: ServerProcess
    authority: Authority
    port: int
    folder: Path
    """The objects of the bucket, as files."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def location(self, url: str = "") -> S3Location:
        return S3Location(BUCKET, REGION, url or self.url, credentials=self.credentials)

    def object_keys(self) -> list[str]:
        """The keys of all objects, as files show them."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    async def restart(self) -> None:
        """Kill it, and start it again on the same folder and port."""
        await self.process.kill()
        self.process.start()
        await self.until_ready()

    async def until_ready(self) -> None:
        """
        Raises:
            ServerError: it has ended, or does not answer.
        """
        async with httpx.AsyncClient(verify=self.authority.client_context()) as client:
            with trio.move_on_after(_READY_SECONDS):
                while self.process.running:
                    if await self._answers(client):
                        return
                    await trio.sleep(0.05)
        raise ServerError(f"the S3 server is not ready\n{self.process.tail()}")

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(self.url)).status_code == httpx.codes.FORBIDDEN
        except httpx.TransportError:
            return False


@asynccontextmanager
async def open_gateway(folder: Path) -> AsyncIterator[Gateway]:
    """A ready server during the block. Its data is below ``folder``.

    Raises:
        MissingBinariesError, BuildError: there is no program and no way to build it.
    """
    program = ensure_tool("versitygw")
    authority = make_authority(folder)
    objects, metadata = folder / "objects", folder / "metadata"
    (objects / BUCKET).mkdir(parents=True)
    metadata.mkdir()
    port = unshared_port()
    command = [
        str(program),
        f"--port=127.0.0.1:{port}",
        f"--region={REGION}",
        f"--cert={authority.certificate_file}",
        f"--key={authority.key_file}",
        "--keep-alive",
        "--quiet",
        "posix",
        f"--sidecar={metadata}",
        str(objects),
    ]
    account = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
    async with open_process("versitygw", command, folder, {**os.environ, **account}) as process:
        gateway = Gateway(process, authority, port, objects / BUCKET)
        await gateway.until_ready()
        yield gateway
