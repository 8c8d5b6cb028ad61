"""The hub and streaming Engrams of the SDK, each a process: a source, a transform and a sink, some of them killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme

from tests.integration.operator_cluster import eventually

ROOT: Final = Path(__file__).parents[2]
MESSAGES: Final = 1_500
DEADLINE_SECONDS: Final = 90.0
TOPOLOGY: Final = """
runs:
  - namespace: team
    name: run-1
    story: numbers
    steps:
      - name: count
        binding: {name: count, uid: a}
      - name: double
        needs: [count]
        binding: {name: double, uid: b}
        streaming: {delivery: {semantics: at_least_once}}
      - name: keep
        needs: [double]
        binding: {name: keep, uid: c}
        streaming: {delivery: {semantics: at_least_once}}
"""
HUB_TEST: Final = """
import socket
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: real("127.0.0.1", *rest, **more)
"""
"""The host hub.test is this machine. A loopback address would not use TLS."""
PROGRAMS: Final = {
    "count": f"""
        import time
        from bubu_sdk import stream

        @stream
        def main():
            for number in range({MESSAGES}):
                yield {{"n": number}}
                if number % 50 == 0:
                    time.sleep(0.02)

        main.run()
    """,
    "double": """
        from bubu_sdk import Messages, stream

        @stream
        def main(messages: Messages):
            for message in messages:
                yield {"n": message.data["n"] * 2}

        main.run()
    """,
    "keep": """
        import os
        from bubu_sdk import Messages, stream

        @stream
        def main(messages: Messages):
            with open(os.environ["KEPT"], "a", buffering=1) as file:
                for message in messages:
                    file.write(f"{message.data['n']}\\n")

        main.run()
    """,
}


@dataclass
class StreamLine:
    """A hub and the containers of one run."""

    folder: Path
    tls: bool
    port: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    running: dict[str, trio.Process] = field(default_factory=dict)

    @property
    def kept(self) -> list[int]:
        file = self.folder / "kept"
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    async def begin(self, step: str) -> trio.Process:
        program = self.folder / f"{step}.py"
        program.write_text((HUB_TEST if self.tls else "") + textwrap.dedent(PROGRAMS[step]))
        namespace, _, token = self.tokens[step].partition("/")
        host = "hub.test" if self.tls else "127.0.0.1"
        binding = {"endpoint": f"{host}:{self.port}", "protocolVersion": "1.0.0"}
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT / "sdk"),
            "KUBECONFIG": "/nowhere",
            "BUBU_EXECUTION_MODE": "realtime",
            "BUBU_STEP_NAME": step,
            "BUBU_STORYRUN_ID": "run-1",
            "BUBU_STEPRUN_NAME": f"run-1-{step}",
            "BUBU_STEPRUN_NAMESPACE": namespace,
            "BUBU_GRPC_RECONNECT_BASE_BACKOFF": "10ms",
            "BUBU_TRANSPORT_BINDING": json.dumps({"name": token, "namespace": namespace, "binding": binding}),
            "SSL_CERT_FILE": str(self.folder / "ca.crt"),
            "KEPT": str(self.folder / "kept"),
        }
        command = [sys.executable, str(program)]
        process = await trio.lowlevel.open_process(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.running[step] = process
        return process

    async def kill(self, step: str) -> None:
        self.running[step].kill()
        await self.running[step].wait()


@asynccontextmanager
async def open_line(folder: Path, *, tls: bool) -> AsyncIterator[StreamLine]:
    """A hub on a free port; at the end everything that still runs is killed."""
    (folder / "topology.yaml").write_text(TOPOLOGY)
    (folder / "keys").write_text("k" * 64 + "\n")
    line = StreamLine(folder, tls)
    given = [f"--topology={folder / 'topology.yaml'}", f"--key-file={folder / 'keys'}"]
    command = [sys.executable, "-m", "cli", "hub", *given]
    said = await trio.run_process([*command, "--print-tokens"], capture_stdout=True, cwd=ROOT)
    for place, _, token in (row.partition("\t") for row in said.stdout.decode().splitlines()):
        line.tokens[place.rpartition("/")[2]] = token
    if tls:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.crt")
        issued = authority.issue_cert("hub.test")
        issued.private_key_pem.write_to_path(folder / "tls.key")
        issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        command += [f"--tls-cert={folder / 'tls.crt'}", f"--tls-key={folder / 'tls.key'}"]
    async with AsyncExitStack() as stack:
        begin = partial(trio.lowlevel.open_process, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
        hub = await begin([*command, "--bind-address=127.0.0.1:0"])
        line.running["hub"] = hub
        stack.push_async_callback(_end, line)
        line.port = await _port_of(hub)
        yield line


async def _port_of(hub: trio.Process) -> int:
    assert hub.stderr is not None
    text = b""
    with trio.fail_after(DEADLINE_SECONDS):
        while b"\n" not in text:
            text += bytes(await hub.stderr.receive_some())
    port: int = json.loads(text.partition(b"\n")[0])["port"]
    return port


async def _end(line: StreamLine) -> None:
    with trio.CancelScope(shield=True):
        for process in line.running.values():
            if process.poll() is None:
                process.kill()
            await process.wait()


async def until(holds: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return holds()

    await eventually(asked, seconds=DEADLINE_SECONDS)


WANTED: Final = {2 * number for number in range(MESSAGES)}


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
async def test_every_message_of_a_source_comes_to_its_sink_once_and_in_order(tmp_path: Path, tls: bool) -> None:
    async with open_line(tmp_path, tls=tls) as line:
        for step in ("keep", "double"):
            await line.begin(step)
        source = await line.begin("count")
        await until(lambda: len(line.kept) >= MESSAGES)
        with trio.fail_after(DEADLINE_SECONDS):
            assert await source.wait() == 0, "a source that returns has finished"

    assert line.kept == sorted(WANTED)


async def test_steps_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    async with open_line(tmp_path, tls=False) as line:
        for step in ("keep", "double", "count"):
            await line.begin(step)
        for share, step in ((0.2, "double"), (0.4, "keep"), (0.6, "double")):
            await until(lambda share=share: len(line.kept) > share * MESSAGES)  # type: ignore[misc]
            await line.kill(step)
            await line.begin(step)
        await until(lambda: set(line.kept) == WANTED)


async def test_a_wrong_token_ends_the_container_and_nothing_else(tmp_path: Path) -> None:
    async with open_line(tmp_path, tls=False) as line:
        line.tokens["double"] = line.tokens["double"][:-4] + "AAAA"
        stranger = await line.begin("double")
        with trio.fail_after(DEADLINE_SECONDS):
            assert await stranger.wait() == 1
        assert line.running["hub"].poll() is None
