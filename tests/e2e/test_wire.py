"""The wire of streams against strangers: an HTTP/2 conformance suite, and the interoperability client of grpc-go.

Both are built from pinned Go modules. h2spec has 145 cases that apply, and all pass.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme

from tests.e2e.wire.interop import HANDLERS
from tests.e2e.wire.rig import open_server
from tools.control_plane.binaries import MissingBinariesError, ensure_tool

DEADLINE_SECONDS: Final = 60.0
CASES: Final = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
)


@pytest.fixture(scope="module")
def interop_client() -> Path:
    return _tool("grpc-interop")


@pytest.fixture(scope="module")
def h2spec() -> Path:
    return _tool("h2spec")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """The server's side of TLS, and the file that a client trusts."""
    issuer = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert("wire.test").configure_cert(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    file = tmp_path_factory.mktemp("wire") / "ca.pem"
    issuer.cert_pem.write_to_path(str(file))
    return context, file


def _tool(name: str) -> Path:
    try:
        return ensure_tool(name)
    except MissingBinariesError as error:
        pytest.skip(str(error))


async def _run(command: list[str]) -> tuple[int, str]:
    with trio.fail_after(DEADLINE_SECONDS):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


async def test_h2spec_has_nothing_to_say(h2spec: Path) -> None:
    async with open_server(HANDLERS) as port:
        code, output = await _run([str(h2spec), "-h", "127.0.0.1", "-p", str(port), "-o", "5"])

    counted = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", output)
    assert counted is not None, output
    assert (code, counted.groups()) == (0, ("145", "145", "0", "0")), output


@pytest.mark.parametrize("encrypted", [False, True], ids=["plaintext", "tls"])
async def test_the_client_of_grpc_go_is_content(
    interop_client: Path, authority: tuple[ssl.SSLContext, Path], encrypted: bool
) -> None:
    context, trusted = authority
    failed = {}
    async with open_server(HANDLERS, context=context if encrypted else None) as port:
        command = [str(interop_client), "--server_host=127.0.0.1", f"--server_port={port}"]
        if encrypted:
            command += [
                "--use_tls=true",
                "--use_test_ca=true",
                f"--ca_file={trusted}",
                "--server_host_override=wire.test",
            ]
        for case in CASES:
            code, output = await _run([*command, f"--test_case={case}"])
            if code:
                failed[case] = output[-2000:]

    assert failed == {}
