"""Requests other than plain reads and writes of a stored object: reviews, tokens, scale, binding and Pod logs."""

from __future__ import annotations

import trio

from localcluster.clock import Now
from localcluster.server import binding, errors, requestbody, response, scale
from localcluster.server.identity import Identity
from localcluster.server.options import write_options
from localcluster.server.podlog import PodLogs
from localcluster.server.registry import Registry
from localcluster.server.request import Request, Send
from localcluster.server.response import Response
from localcluster.server.review import Reviews
from localcluster.server.tokenrequest import TokenRequests
from localcluster.server.types import Object, ResourceType


class Subresources:
    """Dispatches by subresource, or by kind for reviews."""

    def __init__(
        self, registry: Registry, reviews: Reviews, token_requests: TokenRequests, logs: PodLogs, now: Now
    ) -> None:
        self._registry = registry
        self._reviews = reviews
        self._token_requests = token_requests
        self._logs = logs
        self._now = now

    async def answer(self, request: Request, resource: ResourceType, user: Identity, send: Send) -> None:
        """Answer the request; Pod logs are streamed.

        Raises:
            StatusError: the request is refused.
        """
        if request.route.subresource == "log":
            if request.verb != "get":
                raise errors.method_not_allowed()
            await self._logs.answer(request, resource, send)
            return
        answer = await self._answered(request, resource, user)
        await response.send_response(send, answer, request.warnings, head=request.method == "HEAD")

    async def _answered(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        route = request.route
        match route.subresource, request.verb:
            case "", "create":
                review = self._reviews.answer(resource, await _body(request), user)
                await trio.lowlevel.checkpoint()
                return response.json_response(review, 201)
            case "token", "create":
                token = await self._token_requests.answer(resource, route.namespace, route.name, await _body(request))
                return response.json_response(token, 201)
            case "binding", "create":
                options = write_options(
                    "CreateOptions", request.query, user, request.warn, request.headers.get("user-agent", "")
                )
                await binding.bind(
                    self._registry, resource, route.namespace, route.name, await _body(request), options, self._now()
                )
                return response.json_response(
                    {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
                )
            case "scale", ("get" | "update" | "patch"):
                return await scale.answer(self._registry, request, resource, user)
            case _:
                raise errors.method_not_allowed()


async def _body(request: Request) -> Object:
    raw = await request.body()
    body = requestbody.load(request, raw) if raw else {}
    if not isinstance(body, dict):
        raise errors.bad_request("the body must be a JSON object")
    return body
