"""Calls of webhooks over TLS: admission reviews and conversion reviews, sent by POST as JSON.

A ``url`` is called unchanged. A ``service`` is looked up in the stored Services and called at its external name or its
cluster address, on the target port, because there is no service network here; its certificate must still be valid for
``<name>.<namespace>.svc``. Clients are kept per CA bundle, so connections are reused.

One service may be local: a function of the process around the server answers in its place, without a connection.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson
import trio

from localcluster.server.store import Store
from localcluster.server.types import Object

DEFAULT_PORT: Final = 443
MAX_ANSWER_BYTES: Final = 16 << 20
_KEPT_CLIENTS: Final = 64

Answer = Callable[[Store, str, bytes], Awaitable[bytes]]
"""Answers a review for a path, as JSON, with the objects of the store. Raises ``WebhookCallError``."""


class WebhookCallError(Exception):
    """The webhook could not be reached or gave a wrong answer; the text says where and why."""


@dataclass(frozen=True)
class LocalWebhooks:
    """Webhooks that the process around the server answers itself.

    Attributes:
        service: namespace and name of the Service that the registrations name; it need not exist.
        configurations: webhook configurations, and admission policies with their bindings, that are in force without
            being stored, so that nobody can delete them, and none stays behind when a server without these webhooks
            opens the same database.
    """

    service: tuple[str, str]
    answer: Answer
    configurations: Sequence[Object] = ()


@dataclass(frozen=True)
class Address:
    """The address of a webhook. ``server_name``: its certificate must be valid for it; "" means the URL's host."""

    url: str
    server_name: str = ""


class _WholeBody(httpx.AsyncByteStream):
    """The body of a request, whole.

    The one of httpx is an async generator. A connection that breaks, or a call whose time is over, leaves such a
    generator half read, and then it can only be ended by the garbage collector, with a warning.
    """

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class WebhookCaller:
    """Calls webhooks; created by ``open_webhook_caller``."""

    def __init__(self, store: Store, local: LocalWebhooks | None = None) -> None:
        self._store = store
        self._local = local
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def call(self, config: Mapping[str, Any], review: Object, timeout_seconds: float) -> Object:
        """POST ``review`` to the webhook of a ``clientConfig``; returns its JSON answer.

        Raises:
            WebhookCallError: no answer in time, or the answer cannot be read.
        """
        service = config.get("service") or {}
        local = self._local
        if local is not None and (service.get("namespace"), service.get("name")) == local.service:
            return await self._call_local(local.answer, service, review, timeout_seconds)
        address = self._address(config)
        client = self._client(config.get("caBundle") or "")
        extensions = {"sni_hostname": address.server_name} if address.server_name else {}
        headers = {"content-type": "application/json", "accept": "application/json"}
        if address.server_name:
            headers["host"] = address.server_name
        try:
            body = orjson.dumps(review)
            request = client.build_request(
                "POST", address.url, content=body, headers=headers, extensions=extensions, timeout=None
            )
            request.stream = _WholeBody(body)
            with trio.fail_after(timeout_seconds):
                answer = await client.send(request)
        except trio.TooSlowError:
            raise WebhookCallError(f'Post "{address.url}": context deadline exceeded') from None
        except (httpx.TransportError, ssl.SSLError) as error:
            raise WebhookCallError(f'Post "{address.url}": {_why(error)}') from error
        if answer.status_code != 200:
            text = answer.text.strip()[:500]
            raise WebhookCallError(f'Post "{address.url}": the server answered {answer.status_code}: {text}')
        return _object(answer.content, address)

    async def _call_local(
        self, answer: Answer, service: Mapping[str, Any], review: Object, timeout_seconds: float
    ) -> Object:
        address = Address(f"https://{service['name']}.{service['namespace']}.svc{_path(service)}")
        try:
            with trio.fail_after(timeout_seconds):
                return _object(await answer(self._store, _path(service), orjson.dumps(review)), address)
        except trio.TooSlowError:
            raise WebhookCallError(f'Post "{address.url}": context deadline exceeded') from None

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    def _client(self, bundle: str) -> httpx.AsyncClient:
        client = self._clients.get(bundle)
        if client is None:
            if len(self._clients) >= _KEPT_CLIENTS:
                self._clients.pop(next(iter(self._clients)))  # its connections end with the last call on it
            client = self._clients[bundle] = httpx.AsyncClient(verify=_trust(bundle), trust_env=False)
        return client

    def _address(self, config: Mapping[str, Any]) -> Address:
        if url := config.get("url"):
            return Address(url)
        service = config.get("service")
        if not service:
            raise WebhookCallError("clientConfig names neither a url nor a service")
        namespace, name = service.get("namespace", ""), service.get("name", "")
        stored = self._store.collection("/services").get(f"{namespace}/{name}")
        if stored is None:
            raise WebhookCallError(f'service "{name}" not found in namespace "{namespace}"')
        spec = stored.object.get("spec") or {}
        wanted = service.get("port") or DEFAULT_PORT
        port = next((entry for entry in spec.get("ports") or () if entry.get("port") == wanted), None)
        if port is None:
            raise WebhookCallError(f'no service port {wanted} found for service "{name}"')
        target = port.get("targetPort")
        host = _host(spec)
        number = target if isinstance(target, int) and target else wanted
        return Address(f"https://{host}:{number}{_path(service)}", f"{name}.{namespace}.svc")


def _host(spec: Mapping[str, Any]) -> str:
    """The host of a Service; this machine, if it has no cluster address."""
    if spec.get("type") == "ExternalName" or spec.get("externalName"):
        return str(spec.get("externalName"))
    address = spec.get("clusterIP")
    return "127.0.0.1" if address in (None, "", "None") else str(address)


@asynccontextmanager
async def open_webhook_caller(store: Store, local: LocalWebhooks | None = None) -> AsyncIterator[WebhookCaller]:
    """A webhook caller; its connections are closed when the block ends."""
    caller = WebhookCaller(store, local)
    try:
        yield caller
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await caller.aclose()


def why_unusable_bundle(bundle: str) -> str | None:
    """Why a ``caBundle`` cannot be used; None when it can (empty: the system's authorities)."""
    if not bundle:
        return None  # to load the authorities of the system takes a tenth of a second
    try:
        _trust(bundle)
    except WebhookCallError as error:
        return str(error)
    return None


def _trust(bundle: str) -> ssl.SSLContext:
    """A context that trusts the PEM bundle (base64), or the system's authorities when it is empty."""
    if not bundle:
        return ssl.create_default_context()
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=base64.b64decode(bundle, validate=True).decode("ascii"))
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise WebhookCallError(f"unable to load root certificates: {error}") from error
    return context


def _path(service: Mapping[str, Any]) -> str:
    return "/" + (service.get("path") or "").lstrip("/")


def _why(error: BaseException) -> str:
    """The text of the error; for a TLS error, httpx leaves it empty, and the cause has the text."""
    found: BaseException | None = error
    while found is not None:
        if text := str(found):
            return text
        found = found.__cause__ or found.__context__
    return type(error).__name__


def _object(raw: bytes, address: Address) -> Object:
    if len(raw) > MAX_ANSWER_BYTES:
        raise WebhookCallError(f'Post "{address.url}": the answer is larger than {MAX_ANSWER_BYTES} bytes')
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise WebhookCallError(f'Post "{address.url}": the answer is not JSON: {error}') from error
    if not isinstance(answer, dict):
        raise WebhookCallError(f'Post "{address.url}": the answer is not an object')
    return answer
