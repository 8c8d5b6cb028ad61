"""Azurite, Microsoft's emulator of Azure Blob Storage, over TLS; and a double of the service that issues its tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote

import trio

from core.engine.clock import system_now
from tests.e2e.object_store.authority import Authority
from tests.e2e.object_store.https import WholeAnswer, WholeRequest, serve_https
from tools.control_plane.binaries import ensure_node_program
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerError, ServerProcess, started_process

AZURE_ACCOUNT: Final = "payloadstore"
ACCOUNT_KEY: Final = base64.b64encode(b"a key that no text may show: 64b" * 2).decode()
CLIENT_SECRET: Final = "a client's secret that no text may show"
TENANT: Final = "11111111-2222-3333-4444-555555555555"
_VERSION: Final = "2021-12-02"
_READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running server with one account."""

    authority: Authority
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def create_container(self, name: str) -> None:
        """
        Raises:
            urllib.error.HTTPError: the server refuses it.
        """
        date = formatdate(usegmt=True)
        resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}"
        text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{_VERSION}\n{resource}\nrestype:container"
        headers = {
            "x-ms-date": date,
            "x-ms-version": _VERSION,
            "authorization": f"SharedKey {AZURE_ACCOUNT}:{_signed(text)}",
        }
        address = f"{self.url}/{AZURE_ACCOUNT}/{name}?restype=container"
        request = urllib.request.Request(address, method="PUT", headers=headers)
        with urllib.request.urlopen(request, timeout=10, context=self.authority.client_context()):
            pass


def shared_access_signature(container: str, seconds: float = 3600) -> str:
    """A token for everything in one container, and for nothing else."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(system_now().timestamp() + seconds))
    values = {"sp": "rwdlac", "se": ends, "spr": "https", "sv": _VERSION, "sr": "c"}
    resource = f"/blob/{AZURE_ACCOUNT}/{container}"
    signed = [values["sp"], "", ends, resource, "", "", "https", _VERSION, "c", *[""] * 7]
    values["sig"] = _signed("\n".join(signed))
    return "&".join(f"{key}={quote(value, safe='')}" for key, value in values.items())


def _signed(text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()).decode()


@contextmanager
def run_azurite(authority: Authority, folder: Path) -> Iterator[Azurite]:
    """A ready server during the block, with its data below ``folder``.

    Raises:
        MissingBinariesError, BuildError: there is no Node, or npm cannot install it.
        ServerError: it does not get ready.
    """
    node, package = ensure_node_program("azurite")
    port = unshared_port()
    command = [
        *(str(node), str(package / "dist" / "src" / "blob" / "main.js"), "--blobHost=127.0.0.1", f"--blobPort={port}"),
        *(f"--location={folder}", f"--cert={authority.certificate_file}", f"--key={authority.key_file}"),
        *("--oauth=basic", "--skipApiVersionCheck", "--disableTelemetry", "--silent"),
    ]
    environment = {
        **os.environ,
        "AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{ACCOUNT_KEY}",
        "NODE_EXTRA_CA_CERTS": str(authority.ca_file),  # it asks itself for the source of a copy
    }
    process = started_process("azurite", command, folder, environment)
    try:
        _until_ready(process, authority.client_context(), port)
        yield Azurite(authority, port)
    finally:
        trio.run(process.kill)


def _until_ready(process: ServerProcess, context: ssl.SSLContext, port: int) -> None:
    until = time.monotonic() + _READY_SECONDS
    while process.running and time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as plain:
                context.wrap_socket(plain, server_hostname="127.0.0.1").close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ServerError(f"Azurite is not ready\n{process.tail()}")


@asynccontextmanager
async def open_token_service(authority: Authority) -> AsyncIterator[str]:
    """The address of a service that issues tokens for ``CLIENT_SECRET``, as Microsoft Entra does for a client.

    Azurite checks the claims of a token and not its signature.
    """

    async def answer(request: WholeRequest) -> WholeAnswer:
        given = dict(parse_qsl(request.body.decode()))
        is_known = given.get("client_secret") == CLIENT_SECRET and given.get("grant_type") == "client_credentials"
        if request.path != f"/{TENANT}/oauth2/v2.0/token" or not is_known:
            return WholeAnswer(401, json.dumps({"error": "invalid_client", "given": given}).encode())
        now = int(system_now().timestamp())
        claims = {"aud": "https://storage.azure.com", "iss": f"https://sts.windows.net/{TENANT}/", "ver": "1.0"}
        claims |= {"iat": now, "nbf": now, "exp": now + 600, "oid": TENANT, "tid": TENANT}  # type: ignore[dict-item]
        parts = [
            base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in ({"alg": "RS256"}, claims)
        ]
        token = b".".join([*parts, b"c2lnbmF0dXJl"]).decode()
        body = {"token_type": "Bearer", "expires_in": 600, "access_token": token}
        return WholeAnswer(200, json.dumps(body).encode(), {"content-type": "application/json"})

    async with serve_https(authority, answer) as port:
        yield f"https://127.0.0.1:{port}"
