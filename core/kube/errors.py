"""All errors between the operator and an API server, and how to react to them.

    KubeError
     ├─ ConfigError                  user   no usable kubeconfig or credentials; names file, field and remedy
     ├─ TransportError                      no answer arrived
     │   ├─ UnreachableError         retry  no connection; nothing was sent
     │   ├─ TLSError                 user   the handshake failed: wrong CA, expired or missing certificate
     │   ├─ ConnectionLostError      retry  the connection broke under way; outcome unknown
     │   └─ DeadlineError            retry  no answer in time; outcome unknown if it was sent
     └─ ApiError                            the server answered no
         ├─ BadRequestError          bug    400
         ├─ UnauthorizedError        user   401  after credentials were refreshed once
         ├─ ForbiddenError           user   403  names verb and resource that RBAC lacks
         ├─ NotFoundError            —      404  this object does not exist
         ├─ NotServedError           user   404  the server does not know the kind: its CRD is not installed
         ├─ MethodNotAllowedError    bug    405
         ├─ AlreadyExistsError       —      409
         ├─ ConflictError            —      409  read again, decide again; also a JSON patch whose test failed
         ├─ ResourceExpiredError     —      410  the resourceVersion or continue token is too old: list again
         ├─ RequestTooLargeError     user   413
         ├─ UnsupportedMediaTypeError bug   415
         ├─ InvalidError             user   422  ``causes`` name the fields
         ├─ TooManyRequestsError     retry  429  after ``retry_after``; nothing was done
         ├─ InternalServerError      retry  500, and each other code above but 501, such as 507: its disk is full
         ├─ ServiceUnavailableError  retry  502, 503
         └─ ServerTimeoutError       retry  408, 504 and ServerTimeout; outcome unknown

*retry*: the same call may succeed later, and may be repeated if it is idempotent (core.kube.retry). *user*: a person
  must change something. *bug*: the operator sent a wrong request. "—": an answer that the caller must handle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from kubewire import Object, StatusReason, says_not_now, status_failure

_LONGEST_TEXT: Final = 400


class KubeError(Exception):
    """Any error of this package."""

    retryable: ClassVar[bool] = False


class ConfigError(KubeError):
    """There is no usable configuration; the message names the places that were searched and the remedy."""


class TransportError(KubeError):
    """No answer arrived. ``outcome_unknown``: the server may have acted nevertheless, so read before you repeat the
    call.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class UnreachableError(TransportError):
    """No connection could be made; nothing was sent."""

    retryable = True


class TLSError(TransportError):
    """The server's certificate or the client's was refused."""


class ConnectionLostError(TransportError):
    """The connection broke before the answer was complete."""

    retryable = True


class DeadlineError(TransportError):
    """The answer did not come within the deadline of the call."""

    retryable = True


@dataclass(frozen=True, slots=True)
class StatusCause:
    """One entry of ``status.details.causes``."""

    reason: str
    message: str
    field: str


class ApiError(KubeError):
    """The server refused the call; the text is that of its ``Status``."""

    def __init__(self, status: Object, *, retry_after: float | None = None) -> None:
        self.status = status
        self.code = int(status.get("code") or 0)
        self.reason = str(status.get("reason") or "")
        self.message = str(status.get("message") or self.reason or f"HTTP {self.code}")
        details = status.get("details")
        self.details: Mapping[str, Any] = details if isinstance(details, dict) else {}
        seconds = self.details.get("retryAfterSeconds")
        self.retry_after = retry_after if retry_after is not None else _positive(seconds)
        """How many seconds the server asks the client to wait; None when it does not ask."""
        super().__init__(self.message)

    @property
    def causes(self) -> tuple[StatusCause, ...]:
        """The wrong fields, one by one; empty when the server does not name them."""
        causes = self.details.get("causes")
        return tuple(
            StatusCause(str(cause.get("reason", "")), str(cause.get("message", "")), str(cause.get("field", "")))
            for cause in (causes if isinstance(causes, list) else [])
            if isinstance(cause, dict)
        )


class BadRequestError(ApiError):
    pass


class UnauthorizedError(ApiError):
    pass


class ForbiddenError(ApiError):
    pass


class NotFoundError(ApiError):
    pass


class NotServedError(ApiError):
    """Not the same as ``NotFoundError``: a missing CRD must not be mistaken for a deleted object."""


class MethodNotAllowedError(ApiError):
    pass


class AlreadyExistsError(ApiError):
    pass


class ConflictError(ApiError):
    pass


class ResourceExpiredError(ApiError):
    pass


class RequestTooLargeError(ApiError):
    pass


class UnsupportedMediaTypeError(ApiError):
    pass


class InvalidError(ApiError):
    pass


class TooManyRequestsError(ApiError):
    retryable = True


class InternalServerError(ApiError):
    retryable = True


class ServiceUnavailableError(ApiError):
    retryable = True


class ServerTimeoutError(ApiError):
    retryable = True


_BY_REASON: Final[Mapping[str, type[ApiError]]] = {
    StatusReason.BAD_REQUEST: BadRequestError,
    StatusReason.UNAUTHORIZED: UnauthorizedError,
    StatusReason.FORBIDDEN: ForbiddenError,
    StatusReason.NOT_FOUND: NotFoundError,
    StatusReason.METHOD_NOT_ALLOWED: MethodNotAllowedError,
    StatusReason.ALREADY_EXISTS: AlreadyExistsError,
    StatusReason.CONFLICT: ConflictError,
    StatusReason.GONE: ResourceExpiredError,
    StatusReason.EXPIRED: ResourceExpiredError,
    StatusReason.REQUEST_ENTITY_TOO_LARGE: RequestTooLargeError,
    StatusReason.UNSUPPORTED_MEDIA_TYPE: UnsupportedMediaTypeError,
    StatusReason.INVALID: InvalidError,
    StatusReason.TOO_MANY_REQUESTS: TooManyRequestsError,
    StatusReason.INTERNAL_ERROR: InternalServerError,
    StatusReason.SERVICE_UNAVAILABLE: ServiceUnavailableError,
    StatusReason.SERVER_TIMEOUT: ServerTimeoutError,
    StatusReason.TIMEOUT: ServerTimeoutError,
}

_BY_CODE: Final[Mapping[int, tuple[type[ApiError], str]]] = {
    400: (BadRequestError, StatusReason.BAD_REQUEST),
    401: (UnauthorizedError, StatusReason.UNAUTHORIZED),
    403: (ForbiddenError, StatusReason.FORBIDDEN),
    404: (NotFoundError, StatusReason.NOT_FOUND),
    405: (MethodNotAllowedError, StatusReason.METHOD_NOT_ALLOWED),
    408: (ServerTimeoutError, StatusReason.TIMEOUT),
    409: (ConflictError, StatusReason.CONFLICT),
    410: (ResourceExpiredError, StatusReason.GONE),
    413: (RequestTooLargeError, StatusReason.REQUEST_ENTITY_TOO_LARGE),
    415: (UnsupportedMediaTypeError, StatusReason.UNSUPPORTED_MEDIA_TYPE),
    422: (InvalidError, StatusReason.INVALID),
    429: (TooManyRequestsError, StatusReason.TOO_MANY_REQUESTS),
    500: (InternalServerError, StatusReason.INTERNAL_ERROR),
    502: (ServiceUnavailableError, StatusReason.SERVICE_UNAVAILABLE),
    503: (ServiceUnavailableError, StatusReason.SERVICE_UNAVAILABLE),
    504: (ServerTimeoutError, StatusReason.TIMEOUT),
}


def error_from_answer(code: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The most specific error for an HTTP answer of 400 and above; the body may be a ``Status`` or the text of a proxy.

    ``retry_after`` is the text of the header; only a number of seconds is understood.
    """
    return error_from_status(_status_of(code, body), retry_after=_seconds(retry_after))


def error_from_status(status: Object, *, retry_after: float | None = None) -> ApiError:
    """The most specific error for a ``Status`` of kind Failure, for example from a watch event."""
    code = int(status.get("code") or 0)
    kind = _BY_REASON.get(str(status.get("reason") or "")) or _BY_CODE.get(code, (ApiError, ""))[0]
    if kind is ApiError and says_not_now(code):
        kind = InternalServerError
    error = kind(status, retry_after=retry_after)
    if isinstance(error, NotFoundError) and not error.details.get("name"):
        return NotServedError(status, retry_after=retry_after)
    return error


def is_retryable(error: BaseException) -> bool:
    """Whether the same idempotent call may succeed later."""
    return isinstance(error, KubeError) and error.retryable


def nothing_was_done(error: BaseException) -> bool:
    """Whether it is certain that the server did nothing, so that even a write may be repeated unchanged."""
    return isinstance(error, (UnreachableError, TooManyRequestsError))


def _status_of(code: int, body: bytes) -> Object:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return {**status, "code": status.get("code") or code}
    text = body[:_LONGEST_TEXT].decode(errors="replace").strip()
    return status_failure(_BY_CODE.get(code, (ApiError, ""))[1], text or f"HTTP {code}", code=code)


def _seconds(retry_after: str | None) -> float | None:
    return _positive(int(retry_after)) if retry_after and retry_after.strip().isdigit() else None


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None
