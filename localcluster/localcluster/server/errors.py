"""Errors of the server: one exception that carries a Kubernetes Status, and one constructor per kind of error.

    StatusError                     every refusal; ``.status`` is the body that the client gets
     ├─ not_found, already_exists, conflict, invalid, forbidden, unauthorized, bad_request
     ├─ expired, too_large_resource_version, too_large_entity, unsupported_media_type, not_acceptable
     └─ method_not_supported, internal_error, insufficient_storage, service_unavailable, timeout

The texts are those of a real kube-apiserver, because tools and people search for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubewire import StatusReason, status_failure
from localcluster.server.cause import Cause

Object = dict[str, Any]

MODIFIED_MESSAGE = "the object has been modified; please apply your changes to the latest version and try again"


class StatusError(Exception):
    """A request was refused; the client gets ``status`` with its ``code``."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        return int(self.status["code"])

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))


def group_resource(group: str, plural: str) -> str:
    """``stories.bubustack.io``, or only the plural for the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> StatusError:
    message = f'{group_resource(group, plural)} "{name}" not found'
    return _of_resource(StatusReason.NOT_FOUND, group, plural, name, message)


def unknown_path() -> StatusError:
    """Nothing is served at this URL."""
    return StatusError(
        {**status_failure(StatusReason.NOT_FOUND, "the server could not find the requested resource"), "details": {}}
    )


def already_exists(group: str, plural: str, name: str, *, dying: bool = False) -> StatusError:
    message = f'{group_resource(group, plural)} "{name}" already exists'
    if dying:
        message = f"object is being deleted: {message}"
    return _of_resource(StatusReason.ALREADY_EXISTS, group, plural, name, message)


def conflict(group: str, plural: str, name: str, why: str = MODIFIED_MESSAGE) -> StatusError:
    message = f'Operation cannot be fulfilled on {group_resource(group, plural)} "{name}": {why}'
    return _of_resource(StatusReason.CONFLICT, group, plural, name, message)


def apply_conflict(message: str, causes: Iterable[Cause]) -> StatusError:
    """Server-side apply would change fields that other managers own."""
    details = {"causes": [_cause_json(cause) for cause in causes]}
    return StatusError(status_failure(StatusReason.CONFLICT, message, details=details))


def forbidden(group: str, plural: str, name: str, why: str, *, causes: Iterable[Cause] = ()) -> StatusError:
    subject = f'{group_resource(group, plural)} "{name}"' if name else group_resource(group, plural)
    message = f"{subject} is forbidden: {why}" if subject else f"forbidden: {why}"
    return _of_resource(StatusReason.FORBIDDEN, group, plural, name, message, causes)


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> StatusError:
    """All field errors of one object at once; names ``kind`` and not the plural, as the real server does."""
    listed = list(causes)
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in listed]
    summary = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    subject = f"{kind}.{group}" if group else kind
    message = f'{subject} "{name}" is invalid: {summary}' if listed else f'{subject} "{name}" is invalid'
    return _of_resource(StatusReason.INVALID, group, kind, name, message, listed)


def unauthorized() -> StatusError:
    return StatusError(status_failure(StatusReason.UNAUTHORIZED, "Unauthorized"))


def bad_request(message: str) -> StatusError:
    return StatusError(status_failure(StatusReason.BAD_REQUEST, message))


def expired(message: str) -> StatusError:
    return StatusError(status_failure(StatusReason.EXPIRED, message))


def too_old_resource_version(wanted: int, oldest: int) -> StatusError:
    return expired(f"too old resource version: {wanted} ({oldest})")


def too_large_resource_version(wanted: int, current: int) -> StatusError:
    """The client knows a later revision than this server.

    It talked to another server before, or the data directory was lost.
    """
    details = {
        "retryAfterSeconds": 1,
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
    }
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return StatusError(status_failure(StatusReason.TIMEOUT, message, details=details))


def too_large_entity(limit_bytes: int) -> StatusError:
    message = f"Request entity too large: limit is {limit_bytes}"
    return StatusError(status_failure(StatusReason.REQUEST_ENTITY_TOO_LARGE, message))


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(status_failure(StatusReason.UNSUPPORTED_MEDIA_TYPE, message))


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(status_failure(StatusReason.NOT_ACCEPTABLE, message))


def method_not_supported(group: str, plural: str, verb: str) -> StatusError:
    message = f"{verb} is not supported on resources of kind {group_resource(group, plural)!r}".replace("'", '"')
    details = {"group": group, "kind": plural}
    return StatusError(status_failure(StatusReason.METHOD_NOT_ALLOWED, message, details=_filled(details)))


def method_not_allowed() -> StatusError:
    return StatusError(
        status_failure(
            StatusReason.METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource"
        )
    )


def unsupported(message: str) -> StatusError:
    """A local cluster does not support this part of the Kubernetes API; the text names an alternative."""
    return StatusError(status_failure("NotImplemented", message, code=501))


def internal_error(message: str) -> StatusError:
    details = {"causes": [{"message": message}]}
    return StatusError(
        status_failure(StatusReason.INTERNAL_ERROR, f"Internal error occurred: {message}", details=details)
    )


def unclassified(message: str) -> StatusError:
    """500 without a reason: the real server answers so when its storage refuses."""
    return StatusError(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": 500}
    )


def insufficient_storage(message: str) -> StatusError:
    """The disk is full. Nothing was changed; the same request succeeds once there is space."""
    return StatusError(status_failure("InsufficientStorage", message, code=507))


def service_unavailable(message: str) -> StatusError:
    return StatusError(status_failure(StatusReason.SERVICE_UNAVAILABLE, message))


def timeout(message: str) -> StatusError:
    return StatusError(status_failure(StatusReason.TIMEOUT, message))


def _of_resource(
    reason: StatusReason, group: str, kind: str, name: str, message: str, causes: Iterable[Cause] = ()
) -> StatusError:
    details: Object = _filled({"name": name, "group": group, "kind": kind})
    if listed := [_cause_json(cause) for cause in causes]:
        details["causes"] = listed
    return StatusError(status_failure(reason, message, details=details))


def _cause_json(cause: Cause) -> Object:
    return _filled({"reason": cause.reason, "message": cause.message, "field": cause.field})


def _filled(fields: Mapping[str, str]) -> Object:
    return {key: value for key, value in fields.items() if value}
