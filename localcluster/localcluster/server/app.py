"""The API server as an ASGI 3 application: authenticate, authorize, dispatch, and always answer with a Status.

Plain ASGI, no framework; lifespan messages are acknowledged and otherwise ignored.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from kubewire import StatusReason, status_failure
from localcluster.server import authn, errors, response
from localcluster.server.authn import Authenticator
from localcluster.server.authz import Attributes, Authorizer
from localcluster.server.documents import Documents
from localcluster.server.identity import Identity
from localcluster.server.registry import Registry
from localcluster.server.request import ClientGoneError, Receive, Request, Scope, Send
from localcluster.server.resources import Resources, is_stored_subresource
from localcluster.server.storage import StorageCorruptError, StorageError, StorageFullError
from localcluster.server.subresources import Subresources
from localcluster.server.types import ResourceType
from localcluster.server.watchstream import WatchStreams

_log = logging.getLogger(__name__)

_LEFT_OUT: Final = {
    "attach": "containers are local processes; read their logs, or run the command on this machine",
    "ephemeralcontainers": "containers are local processes; inspect them with the tools of this machine",
    "eviction": "delete the pod instead",
    "exec": "containers are local processes; inspect them with the tools of this machine",
    "portforward": "containers are local processes; connect to their ports on this machine",
    "proxy": "containers are local processes; connect to their ports on this machine",
    "resize": "a pod's resources are not enforced here",
}
"""Subresources of a real cluster that this server refuses, each with an alternative."""

_PUBLIC_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")


class App:
    """One callable per cluster; serve it with any ASGI server, or in-process through ``localcluster.transport``."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        resources: Resources,
        subresources: Subresources,
        watches: WatchStreams,
        documents: Documents,
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._resources = resources
        self._subresources = subresources
        self._watches = watches
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _acknowledge_lifespan(receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1011})
            case other:
                raise RuntimeError(f"the API server does not speak {other!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope, receive)
        guarded = _StartedSend(send)
        try:
            await self._answer(request, guarded)
        except ClientGoneError:
            await trio.lowlevel.checkpoint()
        except errors.StatusError as error:
            await self._refuse(request, guarded, error)
        except StorageError as error:
            _log.error("storage refused %s %s: %s", request.method, request.path, error)
            await self._refuse(request, guarded, _storage_status(error))
        except Exception as error:  # noqa: BLE001 - the edge of a request: logged, answered with 500, server goes on
            _log.exception("%s %s failed", request.method, request.path)
            await self._refuse(request, guarded, errors.internal_error(f"{type(error).__name__}: {error}"))

    async def _answer(self, request: Request, send: _StartedSend) -> None:
        user = self._user(request)
        wanted = Attributes.of(request)
        if request.path not in _PUBLIC_PATHS and not request.path.startswith(("/livez/", "/readyz/", "/healthz/")):
            self._authorizer.check(user, wanted)
        if not request.route.is_resource:
            answer = self._documents.answer(request)
            await response.send_response(send, answer, request.warnings, head=request.method == "HEAD")
            return
        resource = self._resource(request)
        if resource.deprecation:
            request.warn(resource.deprecation)
        if request.verb == "watch":
            await self._watches.answer(request, resource, send)
        elif self._is_ordinary(request, resource):
            answer = await self._resources.answer(request, resource, user)
            await response.send_response(send, answer, request.warnings, head=request.method == "HEAD")
        else:
            await self._subresources.answer(request, resource, user, send)

    def _user(self, request: Request) -> Identity:
        user = self._authenticator.authenticate(request)
        wanted = authn.wanted_identity(request)
        if wanted is None:
            return user
        self._authorizer.check(user, _impersonation(wanted.name))
        for group in wanted.groups:
            if not group.startswith(("system:serviceaccounts", "system:authenticated")):
                self._authorizer.check(user, Attributes("impersonate", resource="groups", name=group))
        for key, values in wanted.extra.items():
            for value in values:
                resource = f"userextras/{key}"
                asked = Attributes("impersonate", group="authentication.k8s.io", resource=resource, name=value)
                self._authorizer.check(user, asked)
        return wanted

    def _resource(self, request: Request) -> ResourceType:
        route = request.route
        resource = self._registry.find(route.group, route.version, route.plural)
        if resource is None or (route.namespace is not None and not resource.namespaced) or route.rest:
            raise errors.unknown_path()
        if route.subresource and route.subresource not in resource.subresources:
            if not resource.custom and route.subresource in _LEFT_OUT:
                name = f"{resource.plural}/{route.subresource}"
                raise errors.unsupported(f"{name} is not served by a local cluster: {_LEFT_OUT[route.subresource]}")
            raise errors.unknown_path()
        if resource.namespaced and route.namespace is None and route.name:
            raise errors.unknown_path()
        if not route.subresource and request.verb not in resource.verbs:
            raise errors.method_not_allowed()
        if resource.namespaced and route.namespace is None and request.verb in ("create", "deletecollection"):
            raise errors.method_not_allowed()
        if not route.name and request.verb in ("update", "patch"):
            raise errors.method_not_allowed()
        return resource

    @staticmethod
    def _is_ordinary(request: Request, resource: ResourceType) -> bool:
        return is_stored_subresource(request.route.subresource) and "get" in resource.verbs

    @staticmethod
    async def _refuse(request: Request, send: _StartedSend, error: errors.StatusError) -> None:
        if send.started:
            raise error
        await response.send_response(
            send, response.status_response(error), request.warnings, head=request.method == "HEAD"
        )


class _StartedSend:
    """A ``send`` that remembers whether the answer has begun; after that no other answer can be sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: dict[str, object]) -> None:
        self.started = True
        await self._send(message)


def _impersonation(name: str) -> Attributes:
    if name.startswith("system:serviceaccount:") and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        return Attributes("impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    return Attributes("impersonate", resource="users", name=name)


def _storage_status(error: StorageError) -> errors.StatusError:
    if isinstance(error, StorageFullError):
        return errors.insufficient_storage(str(error))
    if isinstance(error, StorageCorruptError):
        return errors.internal_error(str(error))
    return errors.StatusError(status_failure(StatusReason.INTERNAL_ERROR, str(error)))


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
