"""Sends one call and receives its answer: connections, TLS, credentials, deadlines, and the log entry of each call.

A call is sent once, or a second time when its credentials were refused and could be renewed; other retries are made by
core.kube.retry. HTTP/1.1 with kept-alive connections. At most ``MAX_CALLS`` calls run at a time, at most
``MAX_BACKGROUND_CALLS`` of them in the background; streams (watches, logs) do not count. Namespaces take turns with
their calls. Calls that the program itself depends on never wait for other calls.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import ssl
import tempfile
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import orjson
import trio

from core.fairness.turns import Turns
from core.kube.config import ClusterConfig
from core.kube.connections import LaneTransport, RawTransport
from core.kube.credentials import ClientCertificate, Credential
from core.kube.errors import (
    ConfigError,
    ConnectionLostError,
    DeadlineError,
    TLSError,
    TransportError,
    UnreachableError,
)
from core.kube.http1 import FENCE, WHOLE, Http1Lane, Peer
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from core.telemetry.span import Span, SpanOutcome, open_span

MAX_CALLS: Final = 64
MAX_CALLS_ALONE: Final = 32
"""The part of ``MAX_CALLS`` for a namespace when no other namespace has calls."""
MAX_CALLS_OF_ONE: Final = 8
"""The part of ``MAX_CALLS`` for a namespace beside others. Enough to keep this process busy, as a call takes it two
milliseconds and an API server about ten; few enough that calls of others are hardly delayed there.
"""
MAX_BACKGROUND_CALLS: Final = 5
"""Enough for background work to keep up, few enough not to delay a call that a caller waits for."""
MAX_BACKGROUND_CALLS_OF_ONE: Final = 4
CALL_DEADLINE_SECONDS: Final = 30.0
CONNECT_DEADLINE_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 60.0
USER_AGENT: Final = "bobrapet"
JSON: Final = "application/json"

Part = TypeVar("Part", bytes, str)

_LOG: Final = get_logger("kube-client")
_WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One prepared request; it is complete, and not sent yet."""

    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection, connect: the names of RBAC."""
    method: str
    path: str
    resource: str = ""
    """Plural with subresource, for logs."""
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    deadline_seconds: float = CALL_DEADLINE_SECONDS
    background: bool = False
    """It waits for its turn among background calls without limit; its deadline starts with its turn."""
    vital: bool = False
    """The program itself depends on it (a lease, its configuration, its certificates): it never waits for a turn."""
    fence: Callable[[], None] | None = None
    """Called before the turn of the call is used, and again just before it is sent, when there is a connection; an
    error that it raises ends the call.
    """

    @property
    def reads(self) -> bool:
        return self.method in ("GET", "HEAD")

    @property
    def namespace(self) -> str:
        """The namespace of the call; empty for the whole cluster."""
        return self.path.partition("/namespaces/")[2].partition("/")[0]


class ApiTransport:
    """Sends calls to one API server; open it with ``open_transport``."""

    def __init__(self, config: ClusterConfig, http: httpx.AsyncBaseTransport, context: ssl.SSLContext | None) -> None:
        self.config = config
        self._http = http
        self._ssl_context = context
        self._turns = Turns(MAX_CALLS, MAX_CALLS_OF_ONE, at_once_alone=MAX_CALLS_ALONE)
        self._background_turns = Turns(MAX_BACKGROUND_CALLS, MAX_BACKGROUND_CALLS_OF_ONE)
        base = httpx.URL(config.server)
        self._host = base.netloc.decode()
        self._prefix = base.raw_path.decode().rstrip("/")
        self._origin = f"{base.scheme}://{self._host}"
        self._fixed_headers = _fixed_headers(config)
        self._loaded_certificate: ClientCertificate | None = None

    async def send(self, call: ApiCall) -> httpx.Response:
        """The server's answer, whatever its status is, with its body.

        Raises:
            TransportError: no answer; see its subclasses.
            ConfigError: the credentials cannot be read.
        """
        if call.vital or not call.background:
            return await self._send_in_time(call)
        async with self._background_turns.turn(call.namespace):
            return await self._send_in_time(call)

    async def _send_in_time(self, call: ApiCall) -> httpx.Response:
        """Waits for its turn first. When no other call waits, it does not yield to other tasks, which in a busy process
        would cost more than the call.
        """
        sent = False
        with (
            open_span(
                _LOG, "call", observe=self._record, verb=call.verb, resource=call.resource, path=call.path
            ) as span,
        ):
            span.fields["method"] = call.method
            with trio.move_on_after(call.deadline_seconds) as scope:
                if not call.vital:
                    await self._turns.take(call.namespace)
                try:
                    if call.fence is not None:
                        call.fence()
                    sent = True
                    response = await self._send_with_credentials(call, stream=False)
                    span.fields["code"] = response.status_code
                    return response
                finally:
                    if not call.vital:
                        self._turns.give_back(call.namespace)
            if scope.cancelled_caught:
                what = f"{call.method} {call.path}: no answer within {call.deadline_seconds:g} s"
                raise DeadlineError(what, outcome_unknown=sent and not call.reads)
            raise AssertionError("a call must return, raise or miss its deadline")

    @asynccontextmanager
    async def open_stream(self, call: ApiCall) -> AsyncIterator[httpx.Response]:
        """The answer with its body unread; the connection is closed at the end of the block.

        ``call.deadline_seconds`` bounds only the wait for the head of the answer; read the body through ``open_body``.
        Raises the same errors as ``send``.
        """
        async with AsyncExitStack() as stack:
            with (
                open_span(_LOG, "stream", observe=self._record, verb=call.verb, resource=call.resource) as span,
                trio.move_on_after(call.deadline_seconds) as scope,
            ):
                span.fields["method"] = call.method
                response = await self._send_with_credentials(call, stream=True)
                stack.push_async_callback(response.aclose)
                span.fields["code"] = response.status_code
            if scope.cancelled_caught:
                raise DeadlineError(f"{call.method} {call.path}: no answer within {call.deadline_seconds:g} s")
            yield response

    async def _send_with_credentials(self, call: ApiCall, *, stream: bool) -> httpx.Response:
        credential = await self.config.credentials.current()
        response = await self._send_once(call, credential, stream=stream)
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return response
        renewed = await self.config.credentials.renew(credential)
        if renewed == credential:
            return response
        await response.aclose()
        return await self._send_once(call, renewed, stream=stream)

    async def _send_once(self, call: ApiCall, credential: Credential, *, stream: bool) -> httpx.Response:
        if credential.certificate is not None and credential.certificate != self._loaded_certificate:
            self._load_certificate(credential.certificate)
        with transport_errors(f"{call.method} {call.path}", outcome_unknown=not call.reads):
            request = self._request(call, credential, _STREAM if stream else _WHOLE)
            response = await self._http.handle_async_request(request)
            response.request = request
            if not stream:
                await _read_whole(response)
            return response

    def _request(self, call: ApiCall, credential: Credential, extensions: Mapping[str, Any]) -> httpx.Request:
        headers = [*self._fixed_headers, ("accept", call.accept), *call.headers]
        if credential.authorization is not None:
            headers.append(("authorization", credential.authorization))
        if call.body is not None:
            headers.append(("content-type", call.content_type))
        target = self._prefix + urllib.parse.quote(call.path)
        if call.params:
            target += "?" + urllib.parse.urlencode(call.params)
        if self.config.tls_server_name:
            extensions = {**extensions, "sni_hostname": self.config.tls_server_name}
        if call.fence is not None:
            extensions = {**extensions, FENCE: call.fence}
        url = _url(self._origin + target)
        return httpx.Request(call.method, url, headers=headers, content=call.body, extensions=dict(extensions))

    def _load_certificate(self, certificate: ClientCertificate) -> None:
        """Use ``certificate`` on connections that are made from now on; older ones end when the server closes them."""
        if self._ssl_context is not None:
            # First elsewhere: a pair that does not match would leave a broken context.
            _load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate)
            _load_pair(self._ssl_context, certificate)
        self._loaded_certificate = certificate

    def _record(self, span: Span) -> None:
        code = str(span.fields.get("code", "<error>"))
        if span.outcome is SpanOutcome.CANCELLED and code == "<error>":
            return
        metrics.count(catalogue.CLIENT_REQUESTS, code=code, method=str(span.fields.get("method", "")), host=self._host)
        if span.name == "call":
            verb = str(span.fields["verb"])
            metrics.observe(catalogue.CLIENT_REQUEST_DURATION, span.seconds, verb=verb, host=self._host)
            if verb in _WRITES:
                metrics.count(catalogue.API_WRITES, verb=verb, resource=str(span.fields["resource"]))


@lru_cache(maxsize=1024)
def _url(text: str) -> httpx.URL:
    """Most requests repeat the address of another one: that of a collection, or of an object that is written again."""
    return httpx.URL(text)


@asynccontextmanager
async def open_transport(
    config: ClusterConfig, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[ApiTransport]:
    """A transport that is open for the block; ``transport`` replaces the network, e.g. by an application in this
    process.

    Raises:
        ConfigError: the CA or the client certificate cannot be used.
    """
    context = ssl_context(config) if transport is None and config.server.startswith("https://") else None
    if transport is None:
        proxy = config.proxy_url or _proxy_of_environment(config.server)
        transport = LaneTransport(lambda: _open_lane(config, context, proxy))
    async with transport:
        yield ApiTransport(config, transport, context)


def ssl_context(config: ClusterConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the certificate authorities of ``config``.

    Raises:
        ConfigError: the CA or the client certificate is not valid.
    """
    try:
        context = ssl.create_default_context(cadata=config.ca_pem.decode("ascii") if config.ca_pem else None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"certificate-authority in {config.source} is not a PEM certificate") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 made strict checking the default; it refuses the self-made CAs of many clusters.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_certificate is not None:
        _load_pair(context, config.client_certificate)
    return context


def open_body(response: httpx.Response) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """The body of a streamed answer, in chunks as it arrives, with errors translated; the block may be left at any
    time.
    """
    return _open_parts(response, response.aiter_bytes())


def open_lines(response: httpx.Response) -> AbstractAsyncContextManager[AsyncIterator[str]]:
    """Like ``open_body``, line by line, without line ends.

    httpx divides text at all separators that Unicode has; a text in JSON may contain some of them.
    """
    return _open_parts(response, _lines_of(response.aiter_text()))


async def _lines_of(text: AsyncIterator[str]) -> AsyncIterator[str]:
    begun: list[str] = []
    async for part in text:
        first, *others = part.split("\n")
        begun.append(first)
        for other in others:
            yield "".join(begun).removesuffix("\r")
            begun = [other]
    if last := "".join(begun):
        yield last


@asynccontextmanager
async def _open_parts(response: httpx.Response, parts: AsyncIterator[Part]) -> AsyncIterator[AsyncIterator[Part]]:
    """An iterator that is closed in the right order when the block ends.

    httpx nests asynchronous generators, and closing the outer one leaves the inner ones to the garbage collector. Only
    an exception at the innermost wait closes them all, so an unfinished body is closed by cancelling one more read.
    """
    try:
        with transport_errors(response.request.url.path):
            yield parts
    finally:
        with trio.CancelScope() as scope:
            scope.cancel()
            async for _ in parts:
                pass


class transport_errors:  # noqa: N801 - reads as the statement it is
    """Turn errors of httpx inside the block into errors of this package; only this class knows both."""

    def __init__(self, what: str, *, outcome_unknown: bool = False) -> None:
        self._what = what
        self._outcome_unknown = outcome_unknown

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)):
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> TransportError | ConfigError:
        text = f"{self._what}: {str(error) or type(error).__name__}"
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return ConfigError(f"{text}; check the server address in the kubeconfig")
        if (tls := _tls_cause(error)) is not None:
            return TLSError(f"{self._what}: {tls}; check certificate-authority and client-certificate")
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
            return UnreachableError(f"{text}; is the API server running, and is its address right?")
        if isinstance(error, httpx.TimeoutException):
            return DeadlineError(text, outcome_unknown=self._outcome_unknown)
        return ConnectionLostError(text, outcome_unknown=self._outcome_unknown)


def explain_refusal(config: ClusterConfig, authorization: str | None, date: str | None) -> str:
    """Why credentials may have been refused, and the remedy, for the message of a 401.

    ``date`` is the header of the answer: the server's clock, which decides whether a token has expired.
    """
    where = f"context {config.context!r} ({config.source})" if config.context else config.source or "this configuration"
    expires_at, now = _expiry_of(authorization), _http_date(date)
    if expires_at is not None and now is not None and expires_at <= now:
        return f"the token of {where} expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}; log in again"
    return f"the server does not accept the credentials of {where}; log in again"


_NO_TIMEOUTS: Final[Mapping[str, float | None]] = {
    "connect": CONNECT_DEADLINE_SECONDS,
    "read": None,  # our own scopes bound the whole call; a watch may be silent for long
    "write": None,
    "pool": None,
}
_STREAM: Final[Mapping[str, Any]] = {"timeout": _NO_TIMEOUTS}
_WHOLE: Final[Mapping[str, Any]] = {"timeout": _NO_TIMEOUTS, WHOLE: True}


def _fixed_headers(config: ClusterConfig) -> list[tuple[str, str]]:
    headers = [("host", httpx.URL(config.server).netloc.decode()), ("user-agent", USER_AGENT)]
    headers += [
        ("accept-encoding", "identity"),
        ("connection", "keep-alive"),
    ]  # the network is near, but the CPU is busy
    impersonation = config.impersonation
    if impersonation.user:
        headers.append(("impersonate-user", impersonation.user))
        headers += [("impersonate-group", group) for group in impersonation.groups]
        if impersonation.uid:
            headers.append(("impersonate-uid", impersonation.uid))
    return headers


async def _read_whole(response: httpx.Response) -> None:
    try:
        await response.aread()  # returns at once the bytes that came with the head
    except BaseException:
        await response.aclose()
        raise


def _open_lane(config: ClusterConfig, context: ssl.SSLContext | None, proxy: str | None) -> RawTransport:
    if proxy is None:
        server = httpx.URL(config.server)
        port = server.port or (443 if server.scheme == "https" else 80)
        name = config.tls_server_name or server.host
        return Http1Lane(Peer(server.host, port, context, name, CONNECT_DEADLINE_SECONDS, KEEP_ALIVE_SECONDS))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_SECONDS)
    return httpx.AsyncHTTPTransport(
        verify=context if context is not None else False,  # no context: plain HTTP
        limits=limits,
        proxy=proxy,
    )


def _proxy_of_environment(server: str) -> str | None:
    """The proxy for ``server`` according to ``HTTPS_PROXY`` and ``NO_PROXY``, in upper or lower case."""
    url = httpx.URL(server)
    return None if urllib.request.proxy_bypass(url.host) else urllib.request.getproxies().get(url.scheme)


def _load_pair(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """The standard library reads certificates only from files: this writes one, readable for this user only, for a
    moment.
    """
    with tempfile.TemporaryDirectory(prefix="bobrapet-") as directory:
        path = Path(directory) / "client.pem"
        path.touch(mode=0o600)
        path.write_bytes(certificate.certificate_pem.rstrip() + b"\n" + certificate.key_pem)
        try:
            context.load_cert_chain(path)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError("the client certificate and its key do not fit together, or are not PEM") from error


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return error
        error = error.__cause__ or error.__context__
    return None


def _expiry_of(authorization: str | None) -> datetime | None:
    """The ``exp`` claim of a JWT, unverified; None for any other token."""
    parts = (authorization or "").removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError):
        return None


def _http_date(text: str | None) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(text).astimezone(UTC) if text else None
    except ValueError:
        return None
