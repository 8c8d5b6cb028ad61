"""AdmissionReviews: the requests of the API server, and the form of the answers. Pure.

Source: admission.k8s.io/v1; admission contract 1.3 and 1.4.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.api.objects import ReadOnlyObject
from core.kube import scan
from webhooks import messages
from webhooks.caller import POD_NAME, POD_UID
from webhooks.finding import Finding, Severity
from webhooks.patch import Operation
from webhooks.registration import Hook
from webhooks.validate.change import fields_of

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

_MAX_UID_CHARACTERS: Final = 253
_LOOKED_AT: Final = ("CREATE", "UPDATE")
_OPERATIONS: Final = (*_LOOKED_AT, "DELETE", "CONNECT")


class NoReviewError(ValueError):
    """The body cannot be answered as a review; the message is one sentence: *user*."""


class MisfitError(ValueError):
    """This hook does not check such a review; the message is one sentence: *user*."""


@dataclass(frozen=True, slots=True)
class Review:
    """The request of an AdmissionReview.

    Attributes:
        uid: must be repeated in the answer.
        operation: as named by the API server.
        new: the object that will be stored.
        old: the stored object; ``None`` when it is created.
        namespace: that of the object; empty for cluster-scoped objects.
        username, groups: the caller, as authenticated by the API server.
        pod, pod_uid: the Pod that the caller's token is bound to; empty if it is not bound to a Pod.
    """

    uid: str
    operation: str
    new: ReadOnlyObject
    old: ReadOnlyObject | None
    namespace: str
    username: str
    groups: frozenset[str]
    pod: str = ""
    pod_uid: str = ""

    @property
    def is_looked_at(self) -> bool:
        """Whether the operation is checked; deleting objects and connecting to them is not."""
        return self.operation in _LOOKED_AT


def uid_of(body: ReadOnlyObject) -> str:
    """The uid of the answer to the body.

    Raises:
        NoReviewError: the body has no valid uid.
    """
    request = body.get("request")
    if not isinstance(request, Mapping):
        raise NoReviewError(f"the body must be an {KIND}: it has no request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not 0 < len(uid) <= _MAX_UID_CHARACTERS:
        raise NoReviewError(
            f"the body must be an {KIND}: request.uid must be a string of 1 to {_MAX_UID_CHARACTERS} characters"
        )
    return uid


def uid_in(raw: bytes) -> str | None:
    """The uid in a body that cannot be read, or in the beginning of a body; None if it is not there.

    API servers write it first.
    """
    span = scan.lookup(raw, b"request", b"uid")
    try:
        uid = orjson.loads(raw[span.start : span.end]) if span is not None else None
    except orjson.JSONDecodeError:
        return None
    return uid if isinstance(uid, str) and 0 < len(uid) <= _MAX_UID_CHARACTERS else None


def review_of(body: ReadOnlyObject, hook: Hook) -> Review:
    """The request in ``body``, which has an uid.

    Raises:
        MisfitError: it has another version, or an operation or kind that the hook does not check.
    """
    if (body.get("apiVersion"), body.get("kind")) != (API_VERSION, KIND):
        raise MisfitError(f"only {KIND} of {API_VERSION} is answered; list v1 in admissionReviewVersions")
    request: ReadOnlyObject = body["request"]
    operation = request.get("operation")
    if operation not in _OPERATIONS:
        raise MisfitError(f"request.operation must be one of {', '.join(_OPERATIONS)}")
    _check_target(request, hook)
    user = fields_of(request.get("userInfo"))
    new, old = request.get("object"), request.get("oldObject")
    if operation in _LOOKED_AT:
        _check_object(new, hook, "object")
        if operation == "UPDATE" or hook.subresource:
            _check_object(old, hook, "oldObject")
    return Review(
        uid=request["uid"],
        operation=operation,
        new=_placed(new, request),
        old=old if operation == "UPDATE" or hook.subresource else None,
        namespace=_text(request.get("namespace")),
        username=_text(user.get("username")),
        groups=frozenset(group for group in _list(user.get("groups")) if isinstance(group, str)),
        pod=_extra(user, POD_NAME),
        pod_uid=_extra(user, POD_UID),
    )


def allowed(uid: str, operations: Sequence[Operation] = (), warnings: Sequence[Finding] = ()) -> dict[str, Any]:
    """The answer: the object may be stored, with these changes."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if operations:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}
    return _answer(response, warnings)


def denied(uid: str, hook: Hook, new: ReadOnlyObject, findings: Sequence[Finding]) -> dict[str, Any]:
    """The answer: the object may not be stored, in the form of the built-in kinds; ``findings`` have an error."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    metadata = fields_of(new.get("metadata"))
    name = _text(metadata.get("name")) or _text(metadata.get("generateName"))
    status = {
        "status": "Failure",
        "message": messages.message(hook.resource, name, errors),
        "reason": "Invalid",
        "details": {
            "name": name,
            "group": hook.resource.group,
            "kind": hook.resource.kind,
            "causes": messages.causes(errors),
        },
        "code": 422,
    }
    return _answer({"uid": uid, "allowed": False, "status": status}, findings)


def misfit(uid: str, sentence: str) -> dict[str, Any]:
    """The answer to a review that this hook does not check."""
    status = {"status": "Failure", "message": sentence, "reason": "BadRequest", "code": 400}
    return _answer({"uid": uid, "allowed": False, "status": status}, ())


def unreadable(uid: str, sentence: str) -> dict[str, Any]:
    """A denial, because the content of the object is unknown: no failure policy can allow it."""
    status = {"status": "Failure", "message": sentence, "reason": "Invalid", "code": 422}
    return _answer({"uid": uid, "allowed": False, "status": status}, ())


def _answer(response: dict[str, Any], findings: Sequence[Finding]) -> dict[str, Any]:
    warnings = messages.warnings([finding for finding in findings if finding.severity is Severity.WARNING])
    if warnings:
        response["warnings"] = warnings
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _check_target(request: ReadOnlyObject, hook: Hook) -> None:
    target = fields_of(request.get("resource"))
    named = (target.get("group"), target.get("version"), target.get("resource"), request.get("subResource") or "")
    resource = hook.resource
    if named != (resource.group, resource.version, resource.plural, hook.subresource):
        what = f"{resource.group}/{resource.version} {hook.target}"
        raise MisfitError(f"request.resource must be {what} on this path; correct the webhook's rules or its path")


def _check_object(value: Any, hook: Hook, field: str) -> None:
    if not isinstance(value, Mapping):
        raise MisfitError(f"request.{field} must be an object of kind {hook.resource.kind}")
    if (value.get("apiVersion"), value.get("kind")) != (hook.resource.api_version, hook.resource.kind):
        raise MisfitError(f"request.{field} must be a {hook.resource.kind} of {hook.resource.api_version}")


def _placed(new: Any, request: ReadOnlyObject) -> ReadOnlyObject:
    """The object with the namespace in which it will be stored."""
    if not isinstance(new, Mapping):
        return {}
    metadata, namespace = new.get("metadata"), request.get("namespace")
    if not isinstance(metadata, Mapping) or metadata.get("namespace") or not isinstance(namespace, str):
        return new
    return {**new, "metadata": {**metadata, "namespace": namespace}} if namespace else new


def _extra(user: ReadOnlyObject, key: str) -> str:
    """The value of ``userInfo.extra`` under ``key``; empty unless there is exactly one."""
    values = _list(fields_of(user.get("extra")).get(key))
    return _text(values[0]) if len(values) == 1 else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
