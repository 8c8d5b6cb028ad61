"""Reading what Pods refer to: each time again, except the authority that all Pods of a namespace share."""

from collections import Counter

import httpx
import trio
import trio.testing

from localcluster.node.client import ApiClient
from localcluster.node.sources import SourceName, SourceReader
from localcluster.transport import TransportHttp

AUTHORITY = SourceName("configmaps", "kube-root-ca.crt")
OWN = SourceName("configmaps", "settings")


class Server:
    """Holds ConfigMaps by path and counts requests."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, str]] = {}
        self.asked: Counter[str] = Counter()
        self.reader = SourceReader(ApiClient(TransportHttp(httpx.MockTransport(self._answer), "http://server"), ""))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/namespaces/")
        self.asked[path] += 1
        if path not in self.data:
            return httpx.Response(404, json={"reason": "NotFound", "message": "not found"})
        return httpx.Response(200, json={"data": self.data[path]})


async def test_what_is_a_pods_own_is_read_for_every_pod() -> None:
    server = Server()
    for value in ("old", "new"):
        server.data["n/configmaps/settings"] = {"key": value}
        found = await server.reader.read("n", [OWN])

    assert found.entry(OWN, "key", optional=False) == b"new"


async def test_the_authority_is_read_once_a_minute_and_namespace(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    server.data = {f"{namespace}/configmaps/kube-root-ca.crt": {"ca.crt": namespace} for namespace in ("a", "b")}
    for _ in range(3):
        for namespace in ("a", "b"):
            found = await server.reader.read(namespace, [AUTHORITY])
            assert found.entry(AUTHORITY, "ca.crt", optional=False) == namespace.encode()
    assert set(server.asked.values()) == {1}

    await trio.sleep(61)
    server.data["a/configmaps/kube-root-ca.crt"] = {"ca.crt": "new"}
    assert (await server.reader.read("a", [AUTHORITY])).entry(AUTHORITY, "ca.crt", optional=False) == b"new"


async def test_an_authority_that_is_not_there_yet_is_asked_for_again() -> None:
    server = Server()
    assert AUTHORITY not in (await server.reader.read("n", [AUTHORITY])).contents
    server.data["n/configmaps/kube-root-ca.crt"] = {"ca.crt": "now"}

    assert AUTHORITY in (await server.reader.read("n", [AUTHORITY])).contents
