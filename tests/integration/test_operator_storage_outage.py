"""F10, F89, F92: an object store that does not answer delays only the runs that need it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest
import trio

from core.api.conditions import find_condition
from core.api.resource import SECRET, STORY_RUN
from core.payloads.threads import PER_STORE
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from reconcilers.adapters import stored_payloads
from tests.integration.operator_cluster import OPERATOR_NAMESPACE, OperatorCluster, status_of, step

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "right"}
BODY = json.dumps({"contentType": "json", "data": {"flag": True}}).encode()
INPUTS = {"x": {"$bubuStorageRef": "inputs/team/x.json"}}


@dataclass
class Bucket:
    """Answers every request with the same object, as soon as it may answer."""

    port: int = 0
    answers: trio.Event = field(default_factory=trio.Event)
    refuses: bool = False
    asked: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                some = await stream.receive_some()
                if not some:
                    return
                data += some
            self.asked += 1
            await self.answers.wait()
            status, body = (b"403 Forbidden", b"") if self.refuses else (b"200 OK", BODY)
            head = b"HTTP/1.1 %s\r\nConnection: close\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n" % status
            with trio.move_on_after(1), suppress(trio.BrokenResourceError):  # the client may have given up
                await stream.send_all(head + b'ETag: "1"\r\nContent-Length: %d\r\n\r\n' % len(body) + body)

    @property
    def settings(self) -> OperatorSettings:
        endpoint = f"http://127.0.0.1:{self.port}"
        storage = StorageSettings(StorageProvider.S3, "data", "eu-1", endpoint, s3_auth_secret_name="store-access")
        return OperatorSettings(storage=replace(storage, s3_credential_namespaces=("team",)))


@asynccontextmanager
async def open_bucket() -> AsyncIterator[Bucket]:
    bucket = Bucket()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        bucket.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, bucket.serve, listeners)
        yield bucket
        nursery.cancel_scope.cancel()


async def prepare(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("looks", step("a", "noop", **{"if": "inputs.x.flag"}))
    await world.story("plain", step("a", "noop"), step("b", "noop", needs=["a"]))
    secret = {"metadata": {"name": "store-access", "namespace": OPERATOR_NAMESPACE}, "stringData": KEYS}
    await world.client.create(SECRET, secret)


async def run(world: OperatorCluster, name: str) -> None:
    metadata = {"name": name, "namespace": "team"}
    kind = {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind}
    spec = {"storyRef": {"name": "looks"}, "inputs": INPUTS}
    await world.client.create(STORY_RUN, {**kind, "metadata": metadata, "spec": spec})


def said(run: dict[str, object]) -> tuple[str, str]:
    ready = find_condition(status_of(run).get("conditions") or (), "Ready") or {}
    return str(ready.get("reason")), str(ready.get("message"))


async def test_runs_that_need_a_store_that_hangs_say_so_and_no_other_waits(
    world: OperatorCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are twice as many runs as threads for the store."""
    monkeypatch.setattr(stored_payloads, "PATIENCE_SECONDS", 3.0)
    names = [f"looks-{number}" for number in range(2 * PER_STORE)]
    await prepare(world)
    async with open_bucket() as bucket, world.operator(bucket.settings):
        for name in names:
            await run(world, name)
        await world.run("first", "plain")
        await world.finished("first")
        for name in names:
            waiting = await world.until(STORY_RUN, name, lambda run: said(run)[0] == "StorageUnavailable", seconds=30)
            assert status_of(waiting)["phase"] == "Running"
        await world.run("second", "plain")
        await world.finished("second")
        bucket.answers.set()
        ended = [await world.finished(name, seconds=60) for name in names]

    assert {status_of(run)["phase"] for run in ended} == {"Succeeded"}
    assert "step a: " in said(waiting)[1]


async def test_credentials_that_are_refused_are_read_again(world: OperatorCluster) -> None:
    await prepare(world)
    async with open_bucket() as bucket, world.operator(bucket.settings):
        bucket.answers.set()
        bucket.refuses = True
        await run(world, "looks")
        waiting = await world.until(STORY_RUN, "looks", lambda run: said(run)[0] == "StorageUnavailable", seconds=30)
        bucket.refuses = False
        ended = await world.finished("looks", seconds=60)

    assert "it answered 403" in said(waiting)[1]
    assert "right" not in said(waiting)[1]
    assert status_of(ended)["phase"] == "Succeeded"
