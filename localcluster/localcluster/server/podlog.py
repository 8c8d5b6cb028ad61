"""Pod logs: clients request them from the API server, which streams them from the node of the Pod.

The node's address and kubelet port come from its Node object; the server is a proxy that stores nothing.
Source: kube-apiserver's ``pods/log``; the texts are those of kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx
import trio

from localcluster.server import errors, response
from localcluster.server.registry import Registry
from localcluster.server.request import Request, Send
from localcluster.server.types import Object, ResourceType

CONNECT_SECONDS: Final = 30.0
"""kube-apiserver tries as long; on a busy machine the node has a lower priority than other processes."""
_FORWARDED: Final = (
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
)
_POSITIVE: Final = ("sinceSeconds", "tailLines", "limitBytes")


class PodLogClient:
    """Requests to nodes: over TLS when ``secure``. ``open_client`` is called at the first request."""

    def __init__(self, open_client: Callable[[], httpx.AsyncClient], *, secure: bool) -> None:
        self.secure = secure
        self._open_client = open_client
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = self._open_client()
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class PodLogs:
    """Answers ``pods/log``."""

    def __init__(self, registry: Registry, nodes: PodLogClient) -> None:
        self._registry = registry
        self._nodes = nodes
        self._scheme = "https" if nodes.secure else "http"

    async def answer(self, request: Request, resource: ResourceType, send: Send) -> None:
        """Stream the log until it ends, or until the client leaves.

        Raises:
            StatusError: 404, the Pod or node does not exist; 400, it has no node or container, or an option is
                malformed; 500, the node cannot be reached.
        """
        route = request.route
        pod = await self._registry.get(resource, route.namespace, route.name)
        container = container_of(pod, request.query.get("container", ""))
        url = await self._node_url(pod)
        query = {name: request.query[name] for name in _FORWARDED if name in request.query}
        for name in _POSITIVE:
            if name in query and not query[name].isdigit():
                raise errors.bad_request(f"{name}: Invalid value: {query[name]!r}: must be greater than or equal to 0")
        target = f"{url}/containerLogs/{route.namespace}/{route.name}/{container}"
        refusal: errors.StatusError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, request, nursery.cancel_scope)
            try:
                await self._relay(request, target, query, send)
            except errors.StatusError as error:  # a nursery would wrap it in a group
                refusal = error
            nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal

    async def _relay(self, request: Request, url: str, query: dict[str, str], send: Send) -> None:
        timeout = httpx.Timeout(CONNECT_SECONDS, read=None)
        try:
            async with self._nodes.client.stream("GET", url, params=query, timeout=timeout) as answer:
                if answer.status_code != 200:
                    text = (await answer.aread()).decode("utf-8", "replace").strip()
                    raise _node_refusal(answer.status_code, text)
                headers = [(b"content-type", b"text/plain"), *response.warning_headers(request.warnings)]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                async for chunk in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__  # a time-out has no text of its own
            raise errors.internal_error(f"Get {url!r}: the node cannot be reached: {why}") from error
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _node_url(self, pod: Object) -> str:
        name = (pod.get("spec") or {}).get("nodeName", "")
        if not name:
            raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        nodes = self._registry.find("", "v1", "nodes")
        if nodes is None:
            raise errors.unknown_path()
        status = (await self._registry.get(nodes, None, name)).get("status") or {}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        addresses = {entry.get("type"): entry.get("address") for entry in status.get("addresses") or ()}
        address = addresses.get("InternalIP") or addresses.get("Hostname")
        if not port or not address:
            raise errors.internal_error(f"node {name} reports no kubelet address and port")
        return f"{self._scheme}://{address}:{port}"


def container_of(pod: Object, wanted: str) -> str:
    """The container whose log the client wants; it need not name the only container of a Pod.

    Raises:
        StatusError: 400, the container does not exist, or the Pod has several and none is named.
    """
    spec = pod.get("spec") or {}
    name = pod["metadata"]["name"]
    ordinary = [container["name"] for container in spec.get("containers") or ()]
    initial = [container["name"] for container in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in (*ordinary, *initial):
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if len(ordinary) == 1 and not initial:
        return str(ordinary[0])
    if default in ordinary:
        return str(default)
    choices = f"choose one of: [{' '.join(ordinary)}]"
    if initial:
        choices += f" or one of the init containers: [{' '.join(initial)}]"
    raise errors.bad_request(f"a container name must be specified for pod {name}, {choices}")


def _node_refusal(code: int, text: str) -> errors.StatusError:
    if code == 404:
        return errors.StatusError({**errors.bad_request(text).status, "reason": "NotFound", "code": 404})
    if 400 <= code < 500:
        return errors.bad_request(text)
    return errors.internal_error(text or f"the node answered {code}")


async def _cancel_when_gone(request: Request, scope: trio.CancelScope) -> None:
    await request.wait_until_gone()
    scope.cancel()
