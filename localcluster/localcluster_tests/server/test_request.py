"""From URL to route and verb, from Accept header to format, from query to options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from localcluster.server import options, request, response
from localcluster.server.errors import StatusError
from localcluster.server.identity import ADMIN
from localcluster.server.options import DeleteOptions, FieldValidation, Preconditions, Propagation
from localcluster.server.request import ClientGoneError, Request, Route
from localcluster.server.response import Form


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/v1/pods", Route("", "v1", None, "pods")),
        ("/api/v1/namespaces/a/pods", Route("", "v1", "a", "pods")),
        ("/api/v1/namespaces/a/pods/p", Route("", "v1", "a", "pods", "p")),
        ("/api/v1/namespaces/a/pods/p/log", Route("", "v1", "a", "pods", "p", "log")),
        ("/api/v1/namespaces/a", Route("", "v1", None, "namespaces", "a")),
        ("/api/v1/namespaces/a/status", Route("", "v1", None, "namespaces", "a", "status")),
        ("/api/v1/namespaces/a/finalize", Route("", "v1", None, "namespaces", "a", "finalize")),
        ("/api/v1/namespaces", Route("", "v1", None, "namespaces")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", Route("apps", "v1", "a", "deployments", "d", "scale")),
        ("/apis/apps/v1/namespaces/a/status/x", Route("apps", "v1", "a", "status", "x")),
        ("/api/v1/nodes/n/proxy/x/y", Route("", "v1", None, "nodes", "n", "proxy", ("x", "y"))),
        ("/api/v1", Route()),
        ("/apis/apps/v1", Route()),
        ("/apis", Route()),
        ("/healthz", Route()),
        ("/", Route()),
        ("//api//v1//pods//", Route("", "v1", None, "pods")),
    ],
)
def test_a_path_leads_to_a_route(path: str, route: Route) -> None:
    assert request.parse_route(path) == route


@pytest.mark.parametrize(
    ("method", "path", "query", "verb"),
    [
        ("GET", "/api/v1/pods", {}, "list"),
        ("GET", "/api/v1/pods", {"watch": "true"}, "watch"),
        ("GET", "/api/v1/pods", {"watch": "false"}, "list"),
        ("GET", "/api/v1/namespaces/a/pods/p", {}, "get"),
        ("GET", "/api/v1/namespaces/a/pods/p", {"watch": "1"}, "get"),
        ("HEAD", "/api/v1/namespaces/a/pods/p", {}, "get"),
        ("POST", "/api/v1/namespaces/a/pods", {}, "create"),
        ("PUT", "/api/v1/namespaces/a/pods/p", {}, "update"),
        ("PATCH", "/api/v1/namespaces/a/pods/p", {}, "patch"),
        ("DELETE", "/api/v1/namespaces/a/pods/p", {}, "delete"),
        ("DELETE", "/api/v1/namespaces/a/pods", {}, "deletecollection"),
        ("GET", "/version", {}, "get"),
    ],
)
def test_method_and_route_make_a_verb(method: str, path: str, query: Mapping[str, str], verb: str) -> None:
    assert request.verb_of(method, request.parse_route(path), query) == verb


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form()),
        ("*/*", Form()),
        ("application/json", Form()),
        ("application/vnd.kubernetes.protobuf,application/json", Form()),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form("Table", "meta.k8s.io", "v1")),
        ("application/json;as=Other;v=v1;g=x, application/json", Form()),
        (
            "application/json; as=PartialObjectMetadata; v=v1; g=meta.k8s.io",
            Form("PartialObjectMetadata", "meta.k8s.io", "v1"),
        ),
    ],
)
def test_the_first_form_that_is_spoken_is_chosen(accept: str, form: Form) -> None:
    assert response.negotiate(accept) == form


@pytest.mark.parametrize("accept", ["application/cbor", "text/html", "application/json;as=Other;v=v1;g=x"])
def test_forms_that_are_not_spoken_are_refused(accept: str) -> None:
    with pytest.raises(StatusError) as caught:
        response.negotiate(accept)
    assert caught.value.code == 406


def of(chunks: list[dict[str, Any]], **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        return chunks.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request.of({"method": "POST", "path": "/x", "headers": raw, "query_string": b"a=1&a=2"}, receive)


async def test_a_body_may_come_in_pieces() -> None:
    found = of([{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request", "body": b"b"}])
    assert await found.body() == b"ab"
    assert found.query["a"] == "1"


async def test_a_body_is_bounded_whether_it_says_its_length_or_not() -> None:
    with pytest.raises(StatusError) as caught:
        await of([], content_length="99999999").body()
    assert caught.value.code == 413
    endless = [{"type": "http.request", "body": b"x" * 1_000_000, "more_body": True} for _ in range(20)]
    with pytest.raises(StatusError):
        await of(endless).body()


async def test_a_client_that_leaves_is_noticed() -> None:
    with pytest.raises(ClientGoneError):
        await of([{"type": "http.disconnect"}]).body()


def test_warnings_are_quoted_and_bounded() -> None:
    ((name, value),) = response.warning_headers(['say "hi" \\ \n now'])
    assert (name, value) == (b"warning", b'299 - "say \\"hi\\" \\\\  now"')
    assert len(response.warning_headers(["x" * 1000] * 10)) == 4


def write(**query: str) -> options.WriteOptions:
    return options.write_options("CreateOptions", query, ADMIN, lambda _: None, "kubectl/v1.37 (linux)")


def test_write_options_have_defaults() -> None:
    found = write()
    assert found.field_manager == "kubectl"
    assert found.field_validation is FieldValidation.WARN
    assert not found.dry_run
    assert write(dryRun="All", fieldValidation="Strict", force="true", fieldManager="m").force


@pytest.mark.parametrize(
    "query", [{"dryRun": "Some"}, {"fieldValidation": "Loose"}, {"fieldManager": "x" * 129}, {"fieldManager": "a\x07"}]
)
def test_bad_write_options_are_invalid(query: dict[str, str]) -> None:
    with pytest.raises(StatusError, match=r"CreateOptions\.meta\.k8s\.io") as caught:
        write(**query)
    assert caught.value.code == 422


def delete(query: dict[str, str], body: dict[str, Any] | None = None) -> DeleteOptions:
    return options.delete_options(query, body, ADMIN, lambda _: None)


def test_delete_options_come_from_the_body_or_the_query() -> None:
    assert delete({"propagationPolicy": "Orphan"}).propagation is Propagation.ORPHAN
    assert delete({"gracePeriodSeconds": "0"}).grace_period_seconds == 0
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground", "dryRun": ["All"]}
    found = delete({"propagationPolicy": "Orphan"}, {**body, "preconditions": {"uid": "1", "resourceVersion": "2"}})
    assert found.propagation is Propagation.FOREGROUND
    assert found.preconditions == Preconditions("1", "2")
    assert found.dry_run
    assert delete({}, {"orphanDependents": True}).propagation is Propagation.ORPHAN
    assert delete({"orphanDependents": "false"}).propagation is Propagation.BACKGROUND


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ({"propagationPolicy": "Soon"}, None, 422),
        ({"gracePeriodSeconds": "x"}, None, 400),
        ({}, {"kind": "Pod"}, 400),
        ({}, {"preconditions": ["x"]}, 400),
        ({"dryRun": "x"}, None, 422),
    ],
)
def test_bad_delete_options_are_refused(query: dict[str, str], body: dict[str, Any] | None, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        delete(query, body)
    assert caught.value.code == code
