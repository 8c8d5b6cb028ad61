"""A minimal Kubernetes client: blocking, thread-safe, standard library only.

Each request is one HTTP exchange with a deadline. The client retries nothing, except once on a new connection if an
idle one was stale. It is separate from ``kube.py``, so that importing the SDK does not import an HTTP client. Source:
SDK contract 21.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from typing import Any

from bubu_sdk import canonical
from bubu_sdk.errors import Object
from bubu_sdk.kube import StatusError, UnreachableError, UntrustedError, status_error
from bubu_sdk.kubeconfig import ClusterConfig, split_server


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
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port)
        if self._config.server_name:
            return _NamedConnection(self._host, self._port, context=self._context, server_name=self._config.server_name)
        return http.client.HTTPSConnection(self._host, self._port, context=self._context)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class _NamedConnection(http.client.HTTPSConnection):
    """An HTTPS connection that checks the certificate for another name than the host's (``tls-server-name``)."""

    def __init__(self, host: str, port: int, *, context: Any, server_name: str) -> None:
        super().__init__(host, port, context=context)
        self._named_context = context
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._named_context.wrap_socket(self.sock, server_hostname=self._server_name)


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
