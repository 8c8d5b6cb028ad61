"""The container as a process, with a hub on real sockets: three styles, TLS, SIGTERM, exit codes, the extra."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from bubu_sdk import Binary
from bubu_sdk.streaming.settings import Endpoint
from bubu_sdk.streaming.sockets import SocketNetwork
from bubu_sdk.testing import StreamHub
from tests.unit.sdk.sdk_container import ROOT
from tests.unit.sdk.streaming.stream_line import encoded
from tests.unit.sdk.streaming.stream_sockets import SocketHub, open_hub

PROGRAMS = {
    "plain": """
        from bubu_sdk import Messages, stream

        @stream
        def main(messages: Messages):
            for message in messages:
                yield {"text": message.data["text"].upper()}
            yield {"last": True}

        main.run()
    """,
    "asyncio": """
        import asyncio
        from bubu_sdk import AsyncMessages, stream

        @stream
        async def main(messages: AsyncMessages):
            async for message in messages:
                await asyncio.sleep(0)
                yield {"text": message.data["text"].upper()}
            yield {"last": True}

        main.run()
    """,
    "trio": """
        import trio
        from bubu_sdk import AsyncMessages, stream

        @stream
        async def main(messages: AsyncMessages):
            async for message in messages:
                await trio.sleep(0)
                yield {"text": message.data["text"].upper()}
            yield {"last": True}

        main.run()
    """,
}
SOURCE = """
    from bubu_sdk import stream

    @stream
    def main():
        for number in range(3000):
            yield {"n": number}

    main.run()
"""

PRINTING = """
    import sys
    from bubu_sdk import StreamContext, stream

    @stream
    def main(ctx: StreamContext):
        secret = ctx.secrets["token"]
        print("it is", secret, flush=True)
        sys.stdout.write("and " + secret)
        yield {"said": True}

    main.run()
"""


def environ_for(endpoint: str, **more: str) -> dict[str, str]:
    binding = {"endpoint": endpoint, "protocolVersion": "1.0.0"}
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(ROOT / "sdk"),
        "KUBECONFIG": "/nowhere",
        "BUBU_EXECUTION_MODE": "realtime",
        "BUBU_STEP_NAME": "step",
        "BUBU_STORYRUN_ID": "run",
        "BUBU_STEPRUN_NAME": "run-step",
        "BUBU_STEPRUN_NAMESPACE": "default",
        "BUBU_GRPC_RECONNECT_BASE_BACKOFF": "10ms",
        "BUBU_TRANSPORT_BINDING": json.dumps({"name": "binding", "namespace": "default", "binding": binding}),
        **more,
    }


@asynccontextmanager
async def engram(source: str, folder: Path, endpoint: str, **environ: str) -> AsyncIterator[trio.Process]:
    """The process; what it prints is in the file ``printed``."""
    program = folder / "main.py"
    program.write_text(textwrap.dedent(source))
    with (folder / "printed").open("wb") as printed:
        process = await trio.lowlevel.open_process(
            [sys.executable, str(program)], env=environ_for(endpoint, **environ), stdout=printed
        )
    try:
        with trio.fail_after(60):
            yield process
    finally:
        if process.poll() is None:
            process.kill()
            await process.wait()


async def talk(served: SocketHub, process: trio.Process) -> None:
    """Messages before and after a broken connection, then SIGTERM."""
    hub = served.hub
    served.send(encoded({"text": "a"}), encoded({"text": "b"}))
    await served.until(lambda: set(hub.receipts) == {1, 2})
    await served.drop()
    served.send(encoded({"text": "c"}))
    await served.until(lambda: 3 in hub.receipts)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 143
    texts = [output.payload.get("text") for output in hub.outputs]
    assert texts == ["A", "B", "C", None], "the last word is not lost"
    assert hub.bindings == ["default/binding"] * 2


@pytest.mark.parametrize("style", PROGRAMS)
async def test_an_engram_answers_reconnects_and_drains(style: str, tmp_path: Path) -> None:
    async with (
        open_hub(StreamHub()) as served,
        engram(PROGRAMS[style], tmp_path, f"127.0.0.1:{served.port}") as process,
    ):
        await talk(served, process)


NAMED_HERE = """
        import socket
        real = socket.getaddrinfo
        socket.getaddrinfo = lambda host, *rest, **more: real("127.0.0.1", *rest, **more)
"""
"""Any name of a host is this machine."""


def authority_in(folder: Path) -> ssl.SSLContext:
    """The context of a hub called hub.test, whose authority is in ``ca/ca.crt``, beside a file that is none."""
    authority = trustme.CA()
    (folder / "ca").mkdir()
    authority.cert_pem.write_to_path(folder / "ca" / "ca.crt")
    (folder / "ca" / "notes.txt").write_text("no certificate")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("hub.test").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize(("variable", "place"), [("SSL_CERT_FILE", "ca/ca.crt"), ("SSL_CERT_DIR", "ca")])
async def test_an_engram_trusts_a_private_authority(variable: str, place: str, tmp_path: Path) -> None:
    context = authority_in(tmp_path)
    trusted = {variable: str(tmp_path / place)}
    async with (
        open_hub(StreamHub(), context=context) as served,
        engram(NAMED_HERE + PROGRAMS["plain"], tmp_path, f"hub.test:{served.port}", **trusted) as process,
    ):
        await talk(served, process)


async def test_large_packets_pass_both_ways_under_tls(tmp_path: Path) -> None:
    context = authority_in(tmp_path)
    source = """
        from bubu_sdk import Binary, Messages, stream

        @stream
        def main(messages: Messages[bytes]):
            for message in messages:
                yield Binary(message.data * 5, "image/png")

        main.run()
    """
    image = os.urandom(3 * 1024 * 1024)
    async with (
        open_hub(StreamHub(), context=context) as served,
        engram(
            NAMED_HERE + source, tmp_path, f"hub.test:{served.port}", SSL_CERT_FILE=str(tmp_path / "ca/ca.crt")
        ) as process,
    ):
        served.send(encoded(Binary(image, "image/png")), encoded(Binary(image[::-1], "image/png")))
        await served.until(lambda: set(served.hub.receipts) == {1, 2})
        assert [output.payload for output in served.hub.outputs] == [image * 5, image[::-1] * 5]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143


async def test_an_engram_does_not_talk_to_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("hub.test").configure_cert(context)
    real = socket.getaddrinfo
    async with open_hub(StreamHub(), context=context) as served:
        monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: real("127.0.0.1", *rest, **more))
        network = SocketNetwork({})
        try:
            with pytest.raises(ssl.SSLCertVerificationError):
                await trio.to_thread.run_sync(network.dial, Endpoint("hub.test", served.port), 5)
        finally:
            network.close()


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_source_sends_everything_and_exits_with_0(accepts: bool, tmp_path: Path) -> None:
    async with (
        open_hub(StreamHub(accepts=accepts)) as served,
        engram(SOURCE, tmp_path, f"localhost:{served.port}") as process,
    ):
        assert await process.wait() == 0
        await served.until(lambda: len(served.hub.outputs) >= 3000)
        assert [output.payload["n"] for output in served.hub.outputs] == list(range(3000))


async def test_a_secret_that_a_stream_prints_is_not_in_the_log(tmp_path: Path) -> None:
    secret = {"BUBU_SECRET_API": "env:API_", "API_token": "hunter-2-hunter"}
    async with (
        open_hub(StreamHub()) as served,
        engram(PRINTING, tmp_path, f"127.0.0.1:{served.port}", **secret) as process,
    ):
        assert await process.wait() == 0
        await served.until(lambda: len(served.hub.outputs) == 1)

    printed = (tmp_path / "printed").read_text()
    assert "it is [REDACTED]\n" in printed
    assert "and [REDACTED]" in printed
    assert "hunter" not in printed


async def test_an_engram_without_a_hub_gives_up(tmp_path: Path) -> None:
    async with engram(SOURCE, tmp_path, "127.0.0.1:1", BUBU_GRPC_RECONNECT_MAX_RETRIES="1") as process:
        assert await process.wait() == 1


async def test_sigterm_before_the_first_connection_ends_the_process(tmp_path: Path) -> None:
    hub = StreamHub(greets=False)
    async with open_hub(hub) as served, engram(SOURCE, tmp_path, f"127.0.0.1:{served.port}") as process:
        await served.until(lambda: hub.bindings != [])
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143


# The extra, and imports.


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environ_for("127.0.0.1:1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


WITHOUT_H2 = """
    import sys
    sys.modules["h2"] = None  # as if it were not installed
    from bubu_sdk import Messages, stream

    @stream
    def main(messages: Messages):
        yield {}
"""


def test_without_the_extra_the_process_names_it() -> None:
    done = run_python(WITHOUT_H2 + "    main.run()\n")

    assert done.returncode == 1
    assert "bubu-sdk[streaming]" in done.stdout


def test_without_the_extra_the_harness_names_it() -> None:
    done = run_python(WITHOUT_H2 + "    from bubu_sdk.testing import StreamHarness\n")

    assert "ImportError: StreamHarness needs the extra: install 'bubu-sdk[streaming]'" in done.stderr


def test_importing_the_sdk_imports_nothing_of_streams() -> None:
    done = run_python("import sys, bubu_sdk, bubu_sdk.process, bubu_sdk.testing; print(*sys.modules)")
    loaded = done.stdout.split()

    assert "bubu_sdk.engram" in loaded
    assert [name for name in loaded if name.startswith(("bubu_sdk.stream", "bubu_wire", "h2"))] == []
