"""Every answer becomes the most specific error, and the tree in the docstring matches the tree in the code."""

from __future__ import annotations

import re

import pytest

from core.kube import errors
from kubewire import StatusReason, says_not_now, status_failure


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (StatusReason.BAD_REQUEST, errors.BadRequestError),
        (StatusReason.UNAUTHORIZED, errors.UnauthorizedError),
        (StatusReason.FORBIDDEN, errors.ForbiddenError),
        (StatusReason.NOT_FOUND, errors.NotFoundError),
        (StatusReason.METHOD_NOT_ALLOWED, errors.MethodNotAllowedError),
        (StatusReason.ALREADY_EXISTS, errors.AlreadyExistsError),
        (StatusReason.CONFLICT, errors.ConflictError),
        (StatusReason.GONE, errors.ResourceExpiredError),
        (StatusReason.EXPIRED, errors.ResourceExpiredError),
        (StatusReason.REQUEST_ENTITY_TOO_LARGE, errors.RequestTooLargeError),
        (StatusReason.UNSUPPORTED_MEDIA_TYPE, errors.UnsupportedMediaTypeError),
        (StatusReason.INVALID, errors.InvalidError),
        (StatusReason.TOO_MANY_REQUESTS, errors.TooManyRequestsError),
        (StatusReason.INTERNAL_ERROR, errors.InternalServerError),
        (StatusReason.SERVER_TIMEOUT, errors.ServerTimeoutError),
        (StatusReason.TIMEOUT, errors.ServerTimeoutError),
        (StatusReason.SERVICE_UNAVAILABLE, errors.ServiceUnavailableError),
        (StatusReason.NOT_ACCEPTABLE, errors.ApiError),
        ("Unheard", errors.InternalServerError),
    ],
)
def test_a_status_becomes_the_error_of_its_reason(reason: str, kind: type[errors.ApiError]) -> None:
    error = errors.error_from_status(status_failure(reason, "why", details={"name": "x"}))

    assert type(error) is kind
    assert (error.reason, error.message, str(error)) == (reason, "why", "why")


@pytest.mark.parametrize(
    ("code", "body", "kind", "message"),
    [
        (502, b"<html>Bad gateway</html>", errors.ServiceUnavailableError, "<html>Bad gateway</html>"),
        (503, b"", errors.ServiceUnavailableError, "HTTP 503"),
        (504, b"upstream timed out", errors.ServerTimeoutError, "upstream timed out"),
        (404, b"404 page not found", errors.NotServedError, "404 page not found"),
        (409, b"{}", errors.ConflictError, "{}"),
        (408, b"request timed out", errors.ServerTimeoutError, "request timed out"),
        (507, b"disk full", errors.InternalServerError, "disk full"),
        (599, b"?", errors.InternalServerError, "?"),
        (501, b"no watch", errors.ApiError, "no watch"),
        (418, b"teapot", errors.ApiError, "teapot"),
        (500, b"\xff\xfe", errors.InternalServerError, "\ufffd\ufffd"),
        (500, b'{"kind":"Status","status":"Failure","message":"m","code":0}', errors.InternalServerError, "m"),
    ],
)
def test_prose_of_a_proxy_becomes_the_error_of_its_code(
    code: int, body: bytes, kind: type[errors.ApiError], message: str
) -> None:
    error = errors.error_from_answer(code, body)

    assert type(error) is kind
    assert (error.code, error.message) == (code, message)


def test_a_kind_that_is_not_served_is_not_an_object_that_does_not_exist() -> None:
    assert not issubclass(errors.NotServedError, errors.NotFoundError)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (None, 3.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 3.0), ("0", 3.0)]
)
def test_the_wait_asked_for_comes_from_the_header_or_the_details(header: str | None, seconds: float) -> None:
    status = b'{"kind":"Status","reason":"TooManyRequests","details":{"retryAfterSeconds":3}}'

    assert errors.error_from_answer(429, status, header).retry_after == seconds


def test_causes_name_the_fields() -> None:
    details = {
        "name": "x",
        "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.a"}, 7],
    }
    error = errors.error_from_status(status_failure("Invalid", "bad", details=details))

    assert error.causes == (errors.StatusCause("FieldValueRequired", "Required value", "spec.a"),)


def test_the_tree_in_the_docstring_is_complete_and_says_which_are_retried() -> None:
    drawn = dict(re.findall(r"─ (\w+Error)\s+(retry|user|bug|—)?", errors.__doc__ or ""))
    defined = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.KubeError) and kind is not errors.KubeError
    }

    assert set(drawn) == set(defined)
    assert {name for name, mark in drawn.items() if mark == "retry"} == {
        name for name, kind in defined.items() if kind.retryable
    }


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429, *range(500, 512), 599])
@pytest.mark.parametrize("body", [b"", b'{"kind":"Status","status":"Failure"}'], ids=["proxy", "status"])
def test_what_is_retried_says_something_about_the_server(code: int, body: bytes) -> None:
    assert errors.is_retryable(errors.error_from_answer(code, body)) == says_not_now(code)
