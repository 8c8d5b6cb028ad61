"""Documents that are not resources: version, health, discovery and OpenAPI; cached until the catalog changes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Final

import orjson

from localcluster.server import discovery, errors, openapi
from localcluster.server.catalog import Catalog
from localcluster.server.request import Request
from localcluster.server.response import JSON, Response

KUBERNETES_VERSION: Final = "v1.37.2"
"""The Kubernetes version whose behaviour and built-in kinds this server has."""

_HEALTH: Final = ("/healthz", "/livez", "/readyz")


class Documents:
    """Answers GET requests for paths that are not resources."""

    def __init__(self, catalog: Catalog, *, is_ready: Callable[[], bool], address: Callable[[], str]) -> None:
        """``address`` returns the ``host:port`` for clients, or an empty string."""
        self._catalog = catalog
        self._is_ready = is_ready
        self._address = address
        self._cached: dict[tuple[str, str], Response] = {}
        self._cached_generation = -1

    def answer(self, request: Request) -> Response:
        """The document at ``request.path``.

        Raises:
            StatusError: 404, it does not exist; 405, it can only be read.
        """
        path = request.path.rstrip("/") or "/"
        if path.split("/")[1] in ("healthz", "livez", "readyz"):
            return self._health(request)
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        if self._cached_generation != self._catalog.generation:
            self._cached.clear()
            self._cached_generation = self._catalog.generation
        accept = request.headers.get("accept", "")
        key = (path, accept)
        if key not in self._cached:
            self._cached[key] = self._document(path, accept)
        found = self._cached[key]
        etag = found.headers.get("etag", "")
        if etag and request.headers.get("if-none-match") == etag:
            return Response(304, b"", found.content_type, found.headers)
        return found

    def _document(self, path: str, accept: str) -> Response:
        types = self._catalog.types()
        parts = path.strip("/").split("/")
        match parts:
            case [""]:
                return _json({"paths": self._paths()})
            case ["version"]:
                return _json(version_info())
            case ["api"]:
                if discovery.wants_aggregated(accept):
                    return _aggregated(discovery.aggregated(types, core=True))
                return _json(discovery.core_versions(self._address()))
            case ["apis"]:
                if discovery.wants_aggregated(accept):
                    return _aggregated(discovery.aggregated(types, core=False))
                return _json(discovery.api_groups(types))
            case ["api", version]:
                return _found(discovery.group_resources(types, "", version))
            case ["apis", group]:
                return _found(discovery.api_group(types, group))
            case ["apis", group, version]:
                return _found(discovery.group_resources(types, group, version))
            case ["openapi", *rest]:
                return self._openapi(rest, accept)
            case _:
                raise errors.unknown_path()

    def _openapi(self, rest: list[str], accept: str) -> Response:
        types = self._catalog.types()
        match rest:
            case ["v2"]:
                if accept and "json" not in accept and "*/*" not in accept:
                    raise errors.not_acceptable((JSON,))
                return _json(openapi.document_v2(types))
            case ["v3"]:
                return _json(openapi.index_v3(types))
            case ["v3", "api", version]:
                return _found(openapi.document_v3(types, "", version))
            case ["v3", "apis", group, version]:
                return _found(openapi.document_v3(types, group, version))
            case _:
                raise errors.unknown_path()

    def _health(self, request: Request) -> Response:
        ready = self._is_ready() or not request.path.startswith("/readyz")
        name = request.path.strip("/").split("/")[0]
        if "verbose" not in request.query:
            body = b"ok" if ready else f"{name} check failed".encode()
        else:
            mark = "[+]" if ready else "[-]"
            outcome = "passed" if ready else "failed"
            body = f"{mark}storage ok\n{name} check {outcome}\n".encode()
        return Response(200 if ready else 500, body, "text/plain; charset=utf-8")

    def _paths(self) -> list[str]:
        found = {"/api", "/apis", "/version", "/openapi/v2", "/openapi/v3", *_HEALTH}
        for resource in self._catalog.types():
            found |= {f"/apis/{resource.group}", f"/apis/{resource.api_version}"} if resource.group else {"/api/v1"}
        return sorted(found)


def version_info() -> dict[str, str]:
    """``/version``, from which clients learn which features they may use."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{KUBERNETES_VERSION}+bobrapet-local",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"python {platform.python_version()}",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def _json(document: object) -> Response:
    return Response(200, orjson.dumps(document))


def _aggregated(document: object) -> Response:
    return Response(200, orjson.dumps(document), discovery.AGGREGATED_CONTENT_TYPE)


def _found(document: object | None) -> Response:
    if document is None:
        raise errors.unknown_path()
    return _json(document)
