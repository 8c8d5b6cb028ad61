"""A minimal Kubernetes client: blocking, thread-safe, standard library only.

Each request is one HTTP exchange with a deadline. The client retries nothing, except once on a new connection if an
idle one was stale. It is separate from ``kube.py``, so that importing the SDK does not import an HTTP client. Source:
SDK contract 21.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from bubu_contract import canonical
from bubu_sdk.errors import Object
from bubu_sdk.kube import StatusError, UnreachableError, UntrustedError, status_error
from bubu_sdk.kubeconfig import ClusterConfig, split_server

_READ_BYTES: Final = 64 * 1024


class KubeClient:
    """The ``Cluster`` for a ``ClusterConfig``; keeps idle connections for the next request."""

    def __init__(
        self, config: ClusterConfig, *, user_agent: str = "bubu-sdk-python", timeout_seconds: float = 30.0
    ) -> None:
        self._config = config
        self._scheme, self._host, self._port, self._base = split_server(config.server)
        self._context = config.ssl_context() if self._scheme == "https" else None
        self._user_agent = user_agent
        self._timeout_seconds = timeout_seconds
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        payload = None if body is None else canonical.encode(body)
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if payload is not None:
            headers["Content-Type"] = content_type
        try:
            if authorization := self._config.authorization():
                headers["Authorization"] = authorization
            return self._exchange(
                method, f"{self._base}{path}", payload, headers, min(timeout_seconds, self._timeout_seconds)
            )
        except ssl.SSLCertVerificationError as error:
            raise UntrustedError(f"{method} {path}: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__}: {error}") from error

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str], timeout: float
    ) -> Object:
        connection = self._take()
        while True:
            fresh = connection.sock is None
            connection.timeout = timeout
            try:
                if connection.sock is not None:
                    connection.sock.settimeout(timeout)
                connection.request(method, path, payload, headers)
                response = connection.getresponse()
                content = response.read()
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                connection.close()
                if fresh:
                    raise
            except BaseException:
                connection.close()
                raise
        if response.will_close:
            connection.close()
        self._give_back(connection)
        return _decoded(response, content)

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._new()

    def _new(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port)
        if self._config.server_name:
            return _NamedConnection(self._host, self._port, context=self._context, server_name=self._config.server_name)
        return http.client.HTTPSConnection(self._host, self._port, context=self._context)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(connection)

    def watch(self, path: str, *, silence_seconds: float, timeout_seconds: float = 30.0) -> Watch:
        """The events of a watch as they arrive, until the API server ends it.

        Args:
            path: with the query of the watch.
            silence_seconds: without a byte for so long, the connection counts as broken.
            timeout_seconds: the longest wait for the answer.
        Raises:
            KubeError: the watch was refused, or there was no answer; the iteration raises it, too.
        """
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        connection = self._new()
        connection.timeout = min(timeout_seconds, self._timeout_seconds)
        try:
            if authorization := self._config.authorization():
                headers["Authorization"] = authorization
            connection.request("GET", f"{self._base}{path}", None, headers)
            response = connection.getresponse()
            if response.status >= 300:
                _decoded(response, response.read())
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise UntrustedError(f"GET {path}: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UnreachableError(f"GET {path}: {type(error).__name__}: {error}") from error
        except BaseException:
            connection.close()
            raise
        return Watch(connection, response, silence_seconds)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Watch:
    """The answer to a watch, which arrives as lines."""

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, silence_seconds: float
    ) -> None:
        self._response = response
        self._socket = connection.sock
        self._connection = connection
        self.bear_silence(silence_seconds)

    def __iter__(self) -> Iterator[Object]:
        rest = b""
        while content := self._read():
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                if line.strip():
                    yield _event(line)

    def bear_silence(self, seconds: float) -> None:
        """From now on, the connection counts as broken after so many seconds without a byte. For who iterates."""
        if self._socket is not None:
            with suppress(OSError):  # another thread has just closed it
                self._socket.settimeout(seconds)

    def close(self) -> None:
        """End the watch; a thread that waits for an event is woken. Any thread may call it, more than once."""
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, whose state another thread uses
        self._connection.close()

    def _read(self) -> bytes:
        try:
            return self._response.read1(_READ_BYTES)
        except (
            OSError,
            ValueError,
            AttributeError,
            http.client.HTTPException,
        ) as error:  # the second and third: closed
            raise UnreachableError(f"the watch is broken: {type(error).__name__}: {error}") from error


class _NamedConnection(http.client.HTTPSConnection):
    """An HTTPS connection that checks the certificate for another name than the host's (``tls-server-name``)."""

    def __init__(self, host: str, port: int, *, context: Any, server_name: str) -> None:
        super().__init__(host, port, context=context)
        self._named_context = context
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._named_context.wrap_socket(self.sock, server_hostname=self._server_name)


def _event(line: bytes) -> Object:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise UnreachableError("the watch is broken: an event is not JSON") from error
    if not isinstance(event, dict):
        raise UnreachableError("the watch is broken: an event is not an object")
    return event


def _decoded(response: http.client.HTTPResponse, content: bytes) -> Object:
    try:
        document = json.loads(content) if content else {}
    except ValueError:
        document = {}
    if response.status < 300:
        if not isinstance(document, dict):
            raise StatusError(response.status, "the API server answered with something that is not an object")
        return document
    status = document if isinstance(document, dict) else {}
    retry_after = response.headers.get("Retry-After", "")
    raise status_error(
        response.status,
        str(status.get("message") or content[:200].decode(errors="replace") or response.reason),
        retry_after_seconds=float(retry_after) if retry_after.isdigit() else 0.0,
        details=status.get("details"),
    )
