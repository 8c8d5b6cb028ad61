"""The four patch types: turns the patch in a request body into a function from the old object to the new one.

Pure. Source: kube-apiserver's patch handler. The merge and ownership of server-side apply are in apply.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from kubewire import (
    JSONPatchError,
    PatchType,
    StatusReason,
    apply_json_patch,
    apply_merge_patch,
    status_failure,
)
from localcluster.server import cause, decoding, errors, strategic, strategy
from localcluster.server.objectmeta import UndecodableError
from localcluster.server.options import FieldValidation, WriteOptions
from localcluster.server.types import Object, ResourceType
from localcluster.server.writeport import Shape
from localcluster.server.writer import Build

MAX_OPERATIONS: Final = 10_000
_MERGES: Final = (PatchType.MERGE, PatchType.STRATEGIC)
REJECTED: Final = "the server rejected our request due to an error in our request"


@dataclass(frozen=True)
class Patch:
    """A patch as the client sent it; ``body`` is the decoded JSON or YAML."""

    type: PatchType
    body: Any


def supported_types(resource: ResourceType) -> tuple[PatchType, ...]:
    """The patch types that a kind supports; custom kinds have no strategic merge."""
    if resource.custom:
        return PatchType.JSON, PatchType.MERGE, PatchType.APPLY
    return PatchType.JSON, PatchType.MERGE, PatchType.STRATEGIC, PatchType.APPLY


def check(patch: Patch, resource: ResourceType) -> None:
    """Refuse a patch that no object can take.

    Raises:
        StatusError: 415 for a type that the kind does not support, 400 or 413 for a body of the wrong form.
    """
    if patch.type not in supported_types(resource):
        raise errors.unsupported_media_type(supported_types(resource))
    if patch.type is PatchType.JSON:
        if not isinstance(patch.body, list):
            raise errors.bad_request("error decoding patch: a JSON patch must be a list of operations")
        if len(patch.body) > MAX_OPERATIONS:
            message = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch.body)}"
            raise errors.StatusError(status_failure(StatusReason.REQUEST_ENTITY_TOO_LARGE, message))
    elif not isinstance(patch.body, dict):
        raise errors.bad_request(f"error decoding patch: a patch of type {patch.type} must be an object")


def builder(patch: Patch, resource: ResourceType, options: WriteOptions, shape: Shape, subresource: str = "") -> Build:
    """The function that patches; it raises StatusError where the patch does not fit its object.

    For a merge patch that changes only status, the result contains only the status and the object's identity: a status
    write leaves all other fields unchanged.
    """
    is_narrow = subresource == "status" and patch.type in _MERGES and strategy.STATUS_FIELDS.issuperset(patch.body)

    def build(current: Object | None) -> Object:
        if current is None:
            raise AssertionError("only applies create objects")
        shown = strategy.status_fields(current) if is_narrow else current
        patched: Object = _patched(shown, patch, resource)
        try:
            decoding.check_kind(patched, resource)
        except errors.StatusError as error:
            raise unreadable(patch, str(error)) from error
        try:
            unknown = decoding.conform(patched, resource, shape)
        except UndecodableError as error:
            raise unreadable(patch, str(error)) from error
        if unknown and options.field_validation is FieldValidation.STRICT:
            listed = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise unreadable(patch, f"strict decoding error: {listed}")
        _check_identity(patched, current)
        decoding.warn_of_unknown(unknown, options)
        return strategy.status_fields(patched) if is_narrow else patched

    return build


def unreadable(patch: Patch, why: str) -> errors.StatusError:
    """422: the patch, or the object that results from it, cannot be read."""
    shown = orjson.dumps(orjson.dumps(patch.body).decode()).decode()
    found = cause.Cause(cause.CauseReason.INVALID, f"Invalid value: {shown}: {why}", "patch")
    return errors.invalid("", "", "", [found])


def _check_identity(patched: Object, current: Object) -> None:
    """Refuse a patch that changes the name or namespace of the object."""
    name, namespace = patched["metadata"].get("name"), patched["metadata"].get("namespace")
    known = current["metadata"]
    if name != known["name"]:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({known['name']})"
        )
    if namespace != known.get("namespace"):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _patched(current: Object, patch: Patch, resource: ResourceType) -> Any:
    try:
        match patch.type:
            case PatchType.JSON:
                return apply_json_patch(current, patch.body, replace_adds=True)
            case PatchType.MERGE:
                return apply_merge_patch(current, patch.body)
            case PatchType.STRATEGIC:
                return decoding.copied(strategic.apply(current, patch.body, resource.schema))
            case PatchType.APPLY:
                raise AssertionError("applies are merged in apply.py")
    except JSONPatchError as error:
        raise errors.StatusError(status_failure(StatusReason.INVALID, f"{REJECTED}: {error}", details={})) from error
    except strategic.StrategicPatchError as error:
        raise errors.unclassified(str(error)) from error
