"""The size of a page in bytes is limited, whatever objects it contains."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import orjson
import pytest
import trio.testing

from core.kube.paging import FIRST_PAGE_SIZE, MOST_PAGE_BYTES, PAGE_SIZE
from tests.unit.core.kube.scripted_server import WIDGET, ScriptedServer, widget


def serving(items: Sequence[bytes]) -> ScriptedServer:
    def answer(request: httpx.Request) -> httpx.Response:
        begin = int(request.url.params.get("continue") or 0)
        end = begin + int(request.url.params.get("limit") or len(items))
        head = orjson.dumps({"resourceVersion": "9", "continue": str(end) if end < len(items) else ""})
        return httpx.Response(200, content=b'{"metadata":%s,"items":[%s]}' % (head, b",".join(items[begin:end])))

    return ScriptedServer(answer=answer)


def sized(count: int, size: int, first: int = 0) -> list[bytes]:
    return [orjson.dumps(widget(f"w{number:05}", 3, data="x" * size)) for number in range(first, first + count)]


def limits(server: ScriptedServer) -> list[int]:
    return [int(request.url.params["limit"]) for request in server.requests]


@pytest.mark.parametrize(
    ("items", "most_requests"),
    [
        pytest.param(sized(5, 10), 1, id="few"),
        pytest.param(sized(2_000, 100), 6, id="many small ones"),
        pytest.param(sized(40, 1_400_000), 45, id="large ones"),
        pytest.param(sized(600, 100) + sized(40, 1_400_000, 600), 60, id="large ones behind small ones"),
    ],
)
async def test_every_object_comes_in_pages_of_a_bounded_size(
    autojump_clock: trio.testing.MockClock, items: list[bytes], most_requests: int
) -> None:
    server = serving(items)
    async with server.client() as client:
        found = await client.list(WIDGET, keep=lambda obj: {"name": obj["metadata"]["name"], "kind": obj["kind"]})

    assert [obj["name"] for obj in found.items] == [f"w{number:05}" for number in range(len(items))]
    assert {obj["kind"] for obj in found.items} == {"Widget"}
    assert found.resource_version == "9"
    asked = limits(server)
    assert (asked[0], max(asked) <= PAGE_SIZE) == (FIRST_PAGE_SIZE, True)
    assert len(asked) <= most_requests
    assert FIRST_PAGE_SIZE * 1_400_000 < 3 * MOST_PAGE_BYTES
