"""AdmissionReviews: the request to a webhook, and the parts of its answer that the server uses.

Pure. Source: admission.k8s.io/v1.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import orjson

from kubewire import JSONPatchError, apply_json_patch
from localcluster.server import errors
from localcluster.server.types import Object, ResourceType
from localcluster.server.writeport import AdmissionRequest

_KIND: Final = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}
_LARGEST_ERROR_CODE: Final = 599


class InvalidAnswerError(Exception):
    """The webhook's answer is not a valid AdmissionReview."""


@dataclass(frozen=True)
class Verdict:
    """A checked answer."""

    allowed: bool
    warnings: tuple[str, ...]
    patch: tuple[Any, ...]
    """JSON patch operations; empty when nothing changes."""
    result: Object


def review_of(request: AdmissionRequest, asked: ResourceType, obj: Object | None, old: Object | None) -> Object:
    """The review to send; ``asked`` is the version of the objects in it."""
    resource = request.resource
    fields: Object = {
        "uid": str(uuid4()),
        "kind": _kind(asked),
        "resource": _resource(asked),
        "requestKind": _kind(resource),
        "requestResource": _resource(resource),
        "name": request.name,
        "operation": request.operation,
        "userInfo": request.user.to_user_info(),
        "object": obj,
        "oldObject": old,
        "dryRun": request.dry_run,
        "options": request.options,
    }
    if request.namespace:
        fields["namespace"] = request.namespace
    if request.subresource:
        fields["subResource"] = fields["requestSubResource"] = request.subresource
    return {**_KIND, "request": fields}


def verdict_of(answer: Object, uid: str, *, mutating: bool) -> Verdict:
    """The verdict in an answer.

    Raises:
        InvalidAnswerError: it does not answer this request, or contains something that is not allowed.
    """
    given = f"{answer.get('apiVersion')}, Kind={answer.get('kind')}"
    if (answer.get("apiVersion"), answer.get("kind")) != (_KIND["apiVersion"], _KIND["kind"]):
        raise InvalidAnswerError(f"expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {given}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise InvalidAnswerError("webhook response was absent")
    if response.get("uid") != uid:
        raise InvalidAnswerError(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    return Verdict(
        allowed=response.get("allowed") is True,
        warnings=tuple(str(text) for text in response.get("warnings") or ()),
        patch=_operations(response, mutating=mutating),
        result=response.get("status") or {},
    )


def patched(obj: Object, verdict: Verdict) -> Object:
    """``obj`` with the webhook's patch applied.

    Raises:
        InvalidAnswerError: the patch does not fit the object, or the result has another kind.
    """
    try:
        changed = apply_json_patch(obj, verdict.patch, replace_adds=True)
    except JSONPatchError as error:
        raise InvalidAnswerError(f"the patch cannot be applied: {error}") from error
    if not isinstance(changed, dict) or changed.get("kind") != obj.get("kind"):
        raise InvalidAnswerError("the patch changes the kind")
    return changed


def denial(hook: str, result: Object) -> errors.StatusError:
    """The refusal for the client after a webhook has refused."""
    denied = f'admission webhook "{hook}" denied the request'
    explanation = result.get("message") or result.get("reason")
    code = result.get("code")
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        **result,
        "status": "Failure",
        "message": f"{denied}: {explanation}" if explanation else f"{denied} without explanation",
        "code": code if isinstance(code, int) and 400 <= code <= _LARGEST_ERROR_CODE else 400,
    }
    return errors.StatusError(status)


def _operations(response: Object, *, mutating: bool) -> tuple[Any, ...]:
    raw, patch_type = response.get("patch"), response.get("patchType")
    if not mutating:
        if raw or patch_type:
            raise InvalidAnswerError("validating webhook may not return response.patch or response.patchType")
        return ()
    if bool(raw) != bool(patch_type):
        raise InvalidAnswerError("webhook returned only one of response.patch and response.patchType")
    if not raw:
        return ()
    if patch_type != "JSONPatch":
        raise InvalidAnswerError(f'webhook returned invalid response.patchType of "{patch_type}"')
    try:
        operations = orjson.loads(base64.b64decode(raw, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidAnswerError(f"response.patch is not base64-encoded JSON: {error}") from error
    if not isinstance(operations, list):
        raise InvalidAnswerError("response.patch is not a list of operations")
    return tuple(operations)


def _kind(resource: ResourceType) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource(resource: ResourceType) -> Object:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}
