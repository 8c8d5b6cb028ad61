"""An administrator's view of the server under test, from one namespace: it sends requests and returns their answers."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import trio

from core.api.objects import Object
from tests.conformance.conformance_kinds import GROUP

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

WAIT_SECONDS = 60
"""How long controllers may take. The real garbage collector looks for new kinds every half minute."""

_CORE = "/api/v1"
_APIS = {
    "controllerrevisions": "/apis/apps/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "deployments": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "mutatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1",
    "replicasets": "/apis/apps/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1",
    "validatingadmissionpolicies": "/apis/admissionregistration.k8s.io/v1",
    "validatingadmissionpolicybindings": "/apis/admissionregistration.k8s.io/v1",
    "validatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1",
    "widgets": f"/apis/{GROUP}/v1",
}
_CLUSTER_SCOPED = frozenset(
    {
        "customresourcedefinitions",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
        "clusterroles",
        "namespaces",
        "nodes",
    }
)


@dataclass(frozen=True)
class ServerUnderTest:
    """Its URL, its administrator's token, and the features that it does not have, as documented."""

    url: str
    ca_pem: str
    token: str
    gaps: frozenset[str]
    forget: Callable[[], None] = field(repr=False)
    """Makes it drop the history of writes."""
    tls: ssl.SSLContext = field(repr=False)
    writes_from_cache: bool = False
    """Whether it first admits a write against a cached object, and again if that object was out of date."""

    def refuses(self, feature: str) -> bool:
        """Whether its documentation says that it does not support this feature. The test then asserts the refusal."""
        return feature in self.gaps

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A client with a bearer token, by default the administrator's. An empty token is anonymous.

        It asks for uncompressed answers: the real server compresses watches in pieces after which httpx stops reading.
        """
        bearer = self.token if token is None else token
        headers = {"user-agent": "conformance/1", "accept-encoding": "identity"}
        headers |= {"authorization": f"Bearer {bearer}"} if bearer else {}
        return httpx.AsyncClient(base_url=self.url, verify=self.tls, headers=headers, timeout=30)

    def blocking_client(self) -> httpx.Client:
        """A blocking client of the administrator, for tests that are not coroutines."""
        headers = {"authorization": f"Bearer {self.token}", "accept-encoding": "identity"}
        return httpx.Client(base_url=self.url, verify=self.tls, headers=headers, timeout=15)


@dataclass(frozen=True)
class Answer:
    """The answer of the server. ``body`` is an object, a list or a Status."""

    code: int
    body: Object
    headers: httpx.Headers

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def metadata(self) -> Object:
        found: Object = self.body["metadata"]
        return found

    @property
    def spec(self) -> Object:
        found: Object = self.body["spec"]
        return found

    @property
    def names(self) -> list[str]:
        """Names of the items of a list, in its order."""
        return [item["metadata"]["name"] for item in self.body["items"]]

    @property
    def version(self) -> str:
        return str(self.metadata["resourceVersion"])

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def causes(self) -> set[tuple[str, str]]:
        """(reason, field) of each error in a Status."""
        causes = (self.body.get("details") or {}).get("causes") or ()
        return {(cause.get("reason", ""), cause.get("field", "")) for cause in causes}

    @property
    def warnings(self) -> list[str]:
        """The texts of the Warning headers."""
        return [text.split('"', 1)[1].rsplit('"', 1)[0] for text in self.headers.get_list("warning")]

    def refusal(self) -> tuple[int, str]:
        return self.code, self.reason


Events = trio.MemoryReceiveChannel[Object]


@dataclass(frozen=True)
class Api:
    """One user of one namespace. ``http`` takes any path. The verbs take a plural and usually a name."""

    http: httpx.AsyncClient
    namespace: str

    def path(self, plural: str, name: str = "", subresource: str = "", *, everywhere: bool = False) -> str:
        """The URL path. ``plural`` may include its API, such as ``/apis/example.com/v1/widgets``."""
        api, _, plural = plural.rpartition("/")
        api = api or _APIS.get(plural, _CORE)
        scoped = plural not in _CLUSTER_SCOPED and not everywhere
        parts = [api, *(["namespaces", self.namespace] if scoped else []), plural, name, subresource]
        return "/".join(part for part in parts if part)

    async def send(
        self, method: str, path: str, body: Any = None, media: str = "application/json", **query: Any
    ) -> Answer:
        """Send any request. A body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        headers = {"content-type": media} if content is not None else {}
        accept = query.pop("accept", None)
        if accept:
            headers["accept"] = accept
        answer = await self.http.request(method, path, content=content, headers=headers, params=query)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return Answer(answer.status_code, orjson.loads(answer.content) if is_json else {}, answer.headers)

    async def post(self, plural: str, obj: Any, name: str = "", subresource: str = "", **query: Any) -> Answer:
        return await self.send("POST", self.path(plural, name, subresource), obj, **query)

    async def create(self, plural: str, obj: Object, **query: Any) -> Object:
        """Create an object that the server must accept; returns it as stored."""
        answer = await self.post(plural, obj, **query)
        assert answer.code == 201, answer.body
        return answer.body

    async def get(self, plural: str, name: str, subresource: str = "", **query: Any) -> Answer:
        return await self.send("GET", self.path(plural, name, subresource), **query)

    async def read(self, plural: str, name: str) -> Object:
        """Read an object that must exist."""
        answer = await self.get(plural, name)
        assert answer.code == 200, answer.body
        return answer.body

    async def list(self, plural: str, **query: Any) -> Answer:
        return await self.send("GET", self.path(plural), **query)

    async def put(self, plural: str, obj: Object, subresource: str = "", **query: Any) -> Answer:
        """Replace the object of the same name."""
        return await self.send("PUT", self.path(plural, obj["metadata"]["name"], subresource), obj, **query)

    async def patch(
        self, plural: str, name: str, body: Any, media: str = MERGE_PATCH, subresource: str = "", **query: Any
    ) -> Answer:
        return await self.send("PATCH", self.path(plural, name, subresource), body, media, **query)

    async def apply(self, plural: str, obj: Object, manager: str, subresource: str = "", **query: Any) -> Answer:
        path = self.path(plural, obj["metadata"]["name"], subresource)
        return await self.send("PATCH", path, obj, APPLY_PATCH, fieldManager=manager, **query)

    async def delete(self, plural: str, name: str, options: Object | None = None, **query: Any) -> Answer:
        return await self.send("DELETE", self.path(plural, name), options, **query)

    @asynccontextmanager
    async def watching(self, plural: str, name: str = "", **query: Any) -> AsyncIterator[Events]:
        """The events of a watch, as they are sent. The watch is closed at the end."""
        accept = query.pop("accept", "application/json")
        params = {"watch": "true", **query}
        path = self.path(plural, name)
        async with self.http.stream("GET", path, params=params, headers={"accept": accept}, timeout=None) as answer:
            assert answer.status_code == 200, await answer.aread()
            send, events = trio.open_memory_channel[Object](math.inf)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read_events, answer, send)
                yield events
                nursery.cancel_scope.cancel()

    async def until_pods_are_taken(self) -> None:
        """Return once the namespace has the ServiceAccount of its Pods."""
        await self.wait_until("serviceaccounts", "default", lambda _: True)

    async def until_served(self, plural: str) -> None:
        """Return once the server serves a newly defined custom kind."""
        await self.until(lambda: self.list(plural), lambda answer: answer.code == 200)

    async def until_refused(self, plural: str, obj: Object) -> None:
        """Return once a changed definition refuses what it allowed before."""
        await self.until(lambda: self.post(plural, obj, dryRun="All"), lambda answer: answer.code == 422)

    @staticmethod
    async def until(ask: Callable[[], Awaitable[Answer]], holds: Callable[[Answer], bool]) -> None:
        """Poll for what no event announces, such as a server that starts to use a changed definition."""
        with trio.fail_after(WAIT_SECONDS):
            while not holds(await ask()):  # noqa: ASYNC110 - nothing else to wait for
                await trio.sleep(0.05)

    async def wait_until_gone(self, plural: str, name: str) -> None:
        """Return once no object with that name exists."""
        selector = f"metadata.name={name}"
        found = await self.list(plural, fieldSelector=selector)
        if not found.names:
            return
        async with self.watching(plural, fieldSelector=selector, resourceVersion=found.version) as events:
            with trio.fail_after(WAIT_SECONDS):
                while (await events.receive())["type"] != "DELETED":
                    pass

    async def wait_until(self, plural: str, name: str, holds: Callable[[Object], bool]) -> Object:
        """Wait until the object exists and ``holds`` accepts it; returns it."""
        async with self.watching(plural, fieldSelector=f"metadata.name={name}") as events:
            with trio.fail_after(WAIT_SECONDS):
                while (event := await events.receive())["type"] == "DELETED" or not holds(event["object"]):
                    pass
        found: Object = event["object"]
        return found


async def take(events: Events, count: int) -> list[tuple[str, str]]:
    """Types and names of the next events."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in await take_whole(events, count)]


async def take_whole(events: Events, count: int) -> list[Object]:
    with trio.fail_after(WAIT_SECONDS):
        return [await events.receive() for _ in range(count)]


async def _read_events(answer: httpx.Response, send: trio.MemorySendChannel[Object]) -> None:
    """Waits only inside the iterators of the body, so that a cancellation finishes them and does not abandon them."""
    with send:
        async for line in answer.aiter_lines():
            send.send_nowait(orjson.loads(line))
