"""``stream tap`` and ``stream send`` with a hub that follows a cluster: each of the three is a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import trio

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from core.api.resource import TRANSPORT_BINDING
from core.engine.clock import system_now
from hub.console_grants import KEY_HEADER
from tests.integration.hub_cluster import NAMESPACE_NAME, PATIENCE_SECONDS, ROOT, HubCluster, open_hub_cluster
from tests.integration.operator_cluster import eventually
from tests.integration.test_hub_cluster import endless, until
from tests.unit.hub.modelled_client import EngramIO, collecting

CONSOLE = "--console-bind-address=127.0.0.1:0"
KEY = bytes(range(32))


@dataclass
class Command:
    """A ``bobrapet`` that runs, and what it has printed."""

    process: trio.Process
    out: bytes = b""
    err: bytes = b""
    code: int | None = None
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


async def begin(cluster: HubCluster, *arguments: str) -> Command:
    environ = {**os.environ, "KUBECONFIG": str(cluster.folder / "data" / "kubeconfig")}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "cli", "stream", *arguments],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    command = Command(process)

    async def follow(stream: Any, name: str) -> None:
        async for chunk in stream:
            setattr(command, name, getattr(command, name) + bytes(chunk))

    async def run() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow, process.stdout, "out")
                nursery.start_soon(follow, process.stderr, "err")
                command.code = await process.wait()
            command.ended.set()
        finally:
            if process.poll() is None:
                process.kill()

    cluster.nursery.start_soon(run)
    return command


async def done(cluster: HubCluster, *arguments: str) -> Command:
    command = await begin(cluster, *arguments)
    with trio.fail_after(PATIENCE_SECONDS):
        await command.ended.wait()
    return command


@asynccontextmanager
async def streaming(folder: Path, received: list[str], *, source: Any = endless) -> AsyncIterator[HubCluster]:
    async with open_hub_cluster(folder) as cluster:
        await cluster.begin()
        await cluster.start_hub(CONSOLE)
        cluster.engram("sink", collecting(received))
        cluster.engram("emit", source)
        await cluster.until_status("sink", lambda status: status["stream"].get("connected") is True)
        yield cluster


async def silent(io: EngramIO) -> None:
    await trio.sleep_forever()


async def requests_of(cluster: HubCluster, step: str) -> dict[str, str]:
    found = await cluster.client.get(TRANSPORT_BINDING, f"run-1-{step}-transport", NAMESPACE_NAME)
    requests: dict[str, str] = found["metadata"].get("annotations") or {}
    return {name: text for name, text in requests.items() if name.startswith(keys.ANNOTATION_STREAM_CONSOLE)}


async def test_a_tap_sees_the_packets_of_a_live_run_and_leaves_nothing_behind(tmp_path: Path) -> None:
    received: list[str] = []
    async with streaming(tmp_path, received) as cluster:
        tap = await done(cluster, "tap", "run-1/sink", "--output=json", "--count=5", "--direction=in")
        assert tap.code == 0, tap.err
        assert [(each["direction"], each["steps"]) for each in tap.lines if "missed" not in each] == [
            ("in", ["emit"])
        ] * 5
        first = tap.lines[0]
        assert first["frame"] == {"kind": "binary", "media": "text/plain", "bytes": first["frame"]["bytes"]}

        both = await done(cluster, "tap", "@latest/emit", "--for=1s", "--rate=2")
        assert both.code == 0, both.err
        assert b"emit \xe2\x86\x92 sink" in both.out
        assert b"more were not shown" in both.out

        assert await requests_of(cluster, "sink") == await requests_of(cluster, "emit") == {}
        await cluster.until_status("sink", lambda status: "console" not in status["stream"])
        await until(lambda: "Running on" in cluster.hub_log)
        assert received == [str(number) for number in range(len(received))]


async def test_a_packet_that_is_sent_arrives(tmp_path: Path) -> None:
    received: list[str] = []
    async with streaming(tmp_path, received, source=silent) as cluster:
        sent = await done(
            cluster, "send", "run-1/sink", '--payload={"text": "to"}', "--metadata=user=ada", "--message-id=mine"
        )
        assert (sent.code, sent.out) == (0, b"mine is in the buffer of sink\n"), sent.err
        out = await done(cluster, "send", "run-1/emit", '--payload={"text": "out"}', "--out", "--output=json")
        assert (out.code, out.lines[0]["outcome"], out.lines[0]["steps"]) == (0, "routed", ["sink"]), out.err
        await until(lambda: len(received) == 2)
        to, from_emit = map(json.loads, received)
        assert (to["messageId"], to["payload"], from_emit["payload"]) == ("mine", {"text": "to"}, {"text": "out"})
        await cluster.until_status("sink", lambda status: status["stream"].get("delivered") == 2)

        (tmp_path / "three.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n{"n": 3}')
        lines = await done(cluster, "send", "run-1/sink", f"--payload-file={tmp_path / 'three.jsonl'}", "--lines")
        assert (lines.code, len(lines.out.splitlines())) == (0, 3), lines.err
        await until(lambda: len(received) == 5)
        assert [json.loads(text)["payload"]["n"] for text in received[2:]] == [1, 2, 3]

        refused = await done(cluster, "send", "run-1/emit", "--payload={}")
        assert (refused.code, b"needs no step" in refused.err) == (7, True)
        assert await requests_of(cluster, "sink") == {}


async def test_only_the_key_of_the_binding_opens_it_and_only_until_then(tmp_path: Path) -> None:
    async with streaming(tmp_path, []) as cluster:
        client = cluster.client

        async def ask(step: str, seconds: float, *verbs: str, key: bytes = KEY) -> None:
            until = format_instant(system_now() + timedelta(seconds=seconds))
            wish = json.dumps({"until": until, "keySHA256": sha256(key).hexdigest(), "verbs": verbs or ["tap"]})
            patch = {"metadata": {"annotations": {f"{keys.ANNOTATION_STREAM_CONSOLE}.test": wish}}}
            await client.patch(TRANSPORT_BINDING, f"run-1-{step}-transport", patch, namespace=NAMESPACE_NAME)

        async def reason(step: str, key: bytes = KEY, verb: str = "tap") -> str:
            status = await cluster.until_status("sink", lambda status: "console" in status["stream"])
            url = f"http://{status['stream']['console']['address']}"
            path = f"/v1/namespaces/{NAMESPACE_NAME}/bindings/run-1-{step}-transport/{verb}"
            async with httpx.AsyncClient(trust_env=False) as http:
                method = "GET" if verb == "tap" else "POST"
                request = http.stream(method, url + path, headers={KEY_HEADER: key.hex()})
                async with request as response:
                    if response.is_success:
                        return "open"
                    answer: Object = json.loads(await response.aread())
                    return str(answer["reason"])

        await ask("sink", 120)
        assert await reason("sink") == "open"
        assert await reason("sink", b"x" * 32) == "ConsoleUnknownKey"
        assert await reason("emit") == "ConsoleUnknownKey", "the key is for another binding"
        assert await reason("sink", verb="packets") == "ConsoleWrongVerb"
        await ask("emit", 120, "tap", "send", key=b"y" * 32)  # so that it stays open
        for seconds in (-5, 3_600):
            await ask("sink", seconds)

            async def expired() -> bool:
                found = await client.get(TRANSPORT_BINDING, "run-1-emit-transport", NAMESPACE_NAME)
                address = (found["status"]["stream"].get("console") or {}).get("address")
                if not address:
                    return False
                path = f"/v1/namespaces/{NAMESPACE_NAME}/bindings/run-1-sink-transport/tap"
                async with httpx.AsyncClient(trust_env=False) as http:
                    request = http.stream("GET", f"http://{address}{path}", headers={KEY_HEADER: KEY.hex()})
                    async with request as response:
                        return bool(response.status_code == 403 and b"ConsoleExpired" in await response.aread())

            await eventually(expired, seconds=PATIENCE_SECONDS)
        malformed = {"metadata": {"annotations": {f"{keys.ANNOTATION_STREAM_CONSOLE}.x": "{", "a.b/c": "d"}}}
        await client.patch(TRANSPORT_BINDING, "run-1-sink-transport", malformed, namespace=NAMESPACE_NAME)
        tap = await done(cluster, "tap", "run-1/sink", "--count=1")
        assert tap.code == 0, tap.err


async def test_a_tap_goes_on_when_the_hub_is_killed_and_ends_with_the_step(tmp_path: Path) -> None:
    async with streaming(tmp_path, []) as cluster:
        tap = await begin(cluster, "tap", "run-1/emit", "--output=json")
        await until(lambda: len(tap.lines) > 3)
        await cluster.end("hub")
        await until(lambda: b"trying again" in tap.err)
        await cluster.start_hub(CONSOLE)
        await until(lambda: b"the hub is back" in tap.err)
        seen = len(tap.lines)
        await until(lambda: len(tap.lines) > seen + 3)
        await cluster.finish("emit")
        with trio.fail_after(PATIENCE_SECONDS):
            await tap.ended.wait()
        assert (tap.code, b"step emit has finished" in tap.err) == (0, True)
