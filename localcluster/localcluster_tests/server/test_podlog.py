"""A Pod's log on its way from the node. A refusal keeps the node's words, and a missing node is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
import trio

from localcluster.server.errors import StatusError
from localcluster.server.podlog import PodLogClient, PodLogs
from localcluster.server.registry import Registry
from localcluster.server.request import Request
from localcluster.server.types import ResourceType

POD = {"metadata": {"name": "one"}, "spec": {"nodeName": "local", "containers": [{"name": "main"}]}}
NODE = {
    "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    }
}
NODES = object()


class Objects:
    """The Pod and its node."""

    def find(self, *_: str) -> object:
        return NODES

    async def get(self, resource: object, *_: object) -> dict[str, Any]:
        return NODE if resource is NODES else POD


class Asked:
    """A client that waits. It leaves at once when ``gone``."""

    def __init__(self, *, gone: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []
        scope = {
            "method": "GET",
            "path": "/api/v1/namespaces/team/pods/one/log",
            "query_string": b"previous=true&tailLines=3",
            "headers": (),
        }

        async def receive() -> dict[str, Any]:
            if not gone:
                await trio.sleep_forever()
            return {"type": "http.disconnect"}

        self.request = Request.of(scope, receive)

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def log(self, node: Any) -> str:
        async with httpx.AsyncClient(transport=httpx.MockTransport(node)) as client:
            logs = PodLogs(cast(Registry, Objects()), PodLogClient(lambda: client, secure=True))
            await logs.answer(self.request, cast(ResourceType, None), self.send)
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def test_the_log_is_asked_for_as_the_client_does_and_passed_on() -> None:
    asked: list[str] = []

    async def node(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=lines())

    async def lines() -> AsyncIterator[bytes]:
        yield b"first\n"
        yield b"second\n"

    assert await Asked().log(node) == "first\nsecond\n"
    assert asked == ["https://127.0.0.1:10250/containerLogs/team/one/main?previous=true&tailLines=3"]


@pytest.mark.parametrize(("answered", "code"), [(400, 400), (404, 404), (401, 400), (503, 500)])
async def test_what_the_node_refuses_is_refused_in_its_words(answered: int, code: int) -> None:
    async def node(_: httpx.Request) -> httpx.Response:
        return httpx.Response(answered, text='previous terminated container "main" in pod "one" not found\n')

    with pytest.raises(StatusError, match='previous terminated container "main" in pod "one" not found') as caught:
        await Asked().log(node)

    assert caught.value.status["code"] == code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectTimeout(""), "the node cannot be reached: ConnectTimeout"),
        (httpx.ConnectError("refused"), "the node cannot be reached: refused"),
    ],
)
async def test_a_node_that_is_away_is_named(error: Exception, said: str) -> None:
    async def node(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(StatusError) as caught:
        await Asked().log(node)

    assert caught.value.status["code"] == 500
    assert str(caught.value).endswith(said)
    assert "https://127.0.0.1:10250/containerLogs/team/one/main" in str(caught.value)


async def test_the_node_is_let_go_when_the_client_leaves() -> None:
    left = False

    async def node(_: httpx.Request) -> httpx.Response:
        nonlocal left
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            left = True
            raise
        raise AssertionError("unreachable")

    assert await Asked(gone=True).log(node) == ""
    assert left
