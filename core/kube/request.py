"""Requests as data: the path and parameters of each verb, and the meaning of the answer. Pure.

Source: Kubernetes API concepts; paths are those of core.api.resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from core.api.resource import Resource
from core.api.sizes import bounds_of
from core.api.unreadable import why_unreadable
from core.kube import remains
from core.kube.errors import (
    ApiError,
    ConflictError,
    InternalServerError,
    InvalidError,
    RequestTooLargeError,
)
from core.kube.reading import NEVER_TOO_MANY_BYTES, Page, object_in, page_in, parsed, settled
from core.kube.remains import NoObjectError
from core.kube.scan import has_more_values
from core.kube.transport import ApiCall
from kubewire import Object, PatchType, StatusReason, status_failure

LIST_DEADLINE_SECONDS: Final = 60.0
MAX_BODY_BYTES: Final = 3 * 1024 * 1024
"""The largest request body that a kube-apiserver reads."""
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""The media type with which a server leaves out spec, status and data."""
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class ServedKind:
    """One kind, from discovery."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...]


def get_call(resource: Resource, name: str, namespace: str | None, subresource: str | None) -> ApiCall:
    return ApiCall("get", "GET", _object_path(resource, namespace, name, subresource), _label(resource, subresource))


def get_metadata_call(resource: Resource, name: str, namespace: str | None) -> ApiCall:
    return replace(get_call(resource, name, namespace, None), accept=METADATA_ONLY)


def list_call(
    resource: Resource,
    namespace: str | None,
    *,
    label_selector: str | None = None,
    field_selector: str | None = None,
    limit: int = 0,
    next_page: str = "",
) -> ApiCall:
    """One page. Without ``resourceVersion``, the answer is never older than the request, whichever replica gives it."""
    params = _params(
        ("labelSelector", label_selector),
        ("fieldSelector", field_selector),
        ("limit", str(limit) if limit else None),
        ("continue", next_page),
    )
    path = resource.path(namespace)
    return ApiCall("list", "GET", path, resource.plural, params, deadline_seconds=LIST_DEADLINE_SECONDS)


def watch_call(
    resource: Resource,
    namespace: str | None,
    *,
    label_selector: str | None,
    field_selector: str | None,
    resource_version: str,
    timeout_seconds: int,
) -> ApiCall:
    params = _params(
        ("watch", "1"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", resource_version),
        ("timeoutSeconds", str(timeout_seconds)),
        ("labelSelector", label_selector),
        ("fieldSelector", field_selector),
    )
    return ApiCall("watch", "GET", resource.path(namespace), resource.plural, params)


def create_call(
    resource: Resource, body: Object, namespace: str | None, *, dry_run: bool, field_manager: str
) -> ApiCall:
    """``namespace`` defaults to the namespace of the object."""
    where = namespace or _namespace_of(resource, body)
    if resource.namespaced and not where:
        raise ValueError(f"creating a {resource.kind} needs a namespace")
    path = resource.path(where)
    return ApiCall("create", "POST", path, resource.plural, _write_params(dry_run, field_manager), orjson.dumps(body))


def subresource_call(resource: Resource, name: str, subresource: str, body: Object, namespace: str | None) -> ApiCall:
    path = _object_path(resource, namespace, name, subresource)
    return ApiCall("create", "POST", path, _label(resource, subresource), body=orjson.dumps(body))


def log_call(
    resource: Resource, name: str, namespace: str, container: str, *, tail_lines: int, limit_bytes: int
) -> ApiCall:
    """The end of a container's log. The server stops after ``limit_bytes``, so the newest lines may be missing then."""
    params = _params(("container", container), ("tailLines", str(tail_lines)), ("limitBytes", str(limit_bytes)))
    path = _object_path(resource, namespace, name, "log")
    return ApiCall("get", "GET", path, _label(resource, "log"), params, accept="*/*")


def replace_call(
    resource: Resource, body: Object, subresource: str | None, *, dry_run: bool, field_manager: str
) -> ApiCall:
    """A ``resourceVersion`` in the object makes the write conditional.

    Raises:
        InvalidError: it is the readable rest of an unreadable object; writing it would lose the other parts.
    """
    if why := why_unreadable(body):
        text = f"{resource.kind} {_name_of(body)} is not written back: {why}; delete it"
        raise InvalidError(status_failure(StatusReason.INVALID, text))
    name = _name_of(body)
    path = _object_path(resource, _namespace_of(resource, body), name, subresource)
    params = _write_params(dry_run, field_manager)
    return ApiCall("update", "PUT", path, _label(resource, subresource), params, orjson.dumps(body))


def patch_call(
    resource: Resource,
    name: str,
    body: Mapping[str, Any] | Sequence[Any],
    namespace: str | None,
    *,
    patch_type: PatchType,
    subresource: str | None,
    field_manager: str,
    force: bool,
    dry_run: bool,
) -> ApiCall:
    if (patch_type is PatchType.JSON) != isinstance(body, (list, tuple)):
        raise ValueError(f"a {patch_type.name} patch is {'a list' if patch_type is PatchType.JSON else 'an object'}")
    if force and patch_type is not PatchType.APPLY:
        raise ValueError("only an apply patch can be forced")
    params = (*_write_params(dry_run, field_manager), *((("force", "true"),) if force else ()))
    path = _object_path(resource, namespace, name, subresource)
    return ApiCall("patch", "PATCH", path, _label(resource, subresource), params, orjson.dumps(body), str(patch_type))


def delete_call(
    resource: Resource,
    name: str,
    namespace: str | None,
    *,
    uid: str | None,
    resource_version: str | None,
    propagation: str,
    grace_period_seconds: int | None,
) -> ApiCall:
    """The preconditions ensure that the server deletes exactly the object that the caller looked at."""
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    options = _delete_options(propagation, grace_period_seconds)
    if wanted := {key: value for key, value in preconditions.items() if value}:
        options["preconditions"] = wanted
    path = _object_path(resource, namespace, name, None)
    return ApiCall("delete", "DELETE", path, resource.plural, body=orjson.dumps(options))


def waits_for_its_end(answer: Object) -> bool:
    """Whether the answer to a deletion is an object that waits for finalizers or a grace period.

    Otherwise it is a Status, or the last version of the object, depending on the kind.
    """
    metadata = answer.get("metadata") or {}
    waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return bool(metadata.get("deletionTimestamp") and waits)


def delete_collection_call(
    resource: Resource,
    namespace: str | None,
    *,
    label_selector: str | None,
    field_selector: str | None,
    propagation: str,
) -> ApiCall:
    params = _params(("labelSelector", label_selector), ("fieldSelector", field_selector))
    body = orjson.dumps(_delete_options(propagation, None))
    path = resource.path(namespace)
    return ApiCall(
        "deletecollection", "DELETE", path, resource.plural, params, body, deadline_seconds=LIST_DEADLINE_SECONDS
    )


def object_of(code: int, body: bytes, plural: str = "", *, managed_fields: bool = True) -> Object:
    """The JSON object in an answer; an object of the kind ``plural`` may be readable only in part, and is then marked.

    Args:
        managed_fields: read ``metadata.managedFields``, too.
    Raises:
        InternalServerError: the answer is not a JSON object.
    """
    value, text = None, body
    try:
        if not _is_too_much(body, plural):
            value, text = parsed(body, managed_fields=managed_fields)
    except orjson.JSONDecodeError:
        pass
    if isinstance(value, dict) and not remains.is_object(value):
        return value  # discovery, a review, the status of a deletion
    try:
        if value is None:
            return object_in(body, bounds_of(plural), managed_fields=managed_fields)
        return settled(value, text, bounds_of(plural))
    except NoObjectError:
        raise _no_json(code, body) from None


def _is_too_much(body: bytes, plural: str) -> bool:
    return len(body) > NEVER_TOO_MANY_BYTES and has_more_values(body, bounds_of(plural).values)


def _no_json(code: int, body: bytes) -> InternalServerError:
    """The login page of a proxy, or an answer that was cut off: a caller cannot use it."""
    text = f"the answer with HTTP {code} is not a JSON object: {body[:100].decode(errors='replace')}"
    return InternalServerError(status_failure(StatusReason.INTERNAL_ERROR, text))


def page_of(resource: Resource, body: bytes, *, managed_fields: bool = True) -> Page:
    """The page in the answer to a list call; objects get the ``apiVersion`` and ``kind`` that lists omit.

    Raises:
        InternalServerError: the answer is not a list.
        UnreadablePageError: raised here or when an object is read: the end of an object cannot be found.
    """
    if not body.lstrip().startswith(b"{"):
        raise _no_json(_OK, body)
    page = page_in(body, bounds_of(resource.plural), managed_fields=managed_fields)
    page.objects = _named(page.objects, resource)
    return page


def _named(objects: Iterator[Object], resource: Resource) -> Iterator[Object]:
    for obj in objects:
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        yield obj


def preferred_versions(groups: Object) -> list[tuple[str, str]]:
    """Group and version of each group in an ``APIGroupList``."""
    return [
        (str(group["name"]), str(group["preferredVersion"]["version"]))
        for group in groups.get("groups") or []
        if group.get("name") and (group.get("preferredVersion") or {}).get("version")
    ]


def kinds_of(group: str, version: str, answer: Object) -> list[ServedKind]:
    """The kinds in an ``APIResourceList``, without subresources."""
    return [
        ServedKind(
            group,
            version,
            str(entry["name"]),
            str(entry.get("kind")),
            bool(entry.get("namespaced")),
            tuple(entry.get("verbs") or ()),
            tuple(entry.get("shortNames") or ()),
        )
        for entry in answer.get("resources") or []
        if "/" not in str(entry.get("name", "/"))
    ]


def as_conflict(error: InvalidError) -> ApiError:
    """The server answers 422 without details to a JSON patch that does not fit; callers handle it as a conflict."""
    if error.details:
        return error
    text = f"a test or path of the JSON patch does not match the object as it is now ({error.message})"
    return ConflictError({**error.status, "message": text})


def check_size(call: ApiCall) -> ApiCall:
    """``call``, if its body is within the server's limit; beyond it, the server closes the connection while it reads.

    Raises:
        RequestTooLargeError: the body is larger than ``MAX_BODY_BYTES``.
    """
    if call.body is not None and len(call.body) > MAX_BODY_BYTES:
        text = f"{call.verb} {call.resource}: the body has {len(call.body)} bytes, the limit is {MAX_BODY_BYTES}"
        raise RequestTooLargeError(status_failure(StatusReason.REQUEST_ENTITY_TOO_LARGE, text))
    return call


def _object_path(resource: Resource, namespace: str | None, name: str, subresource: str | None) -> str:
    if not name or "/" in name or "%" in name or name in (".", ".."):
        raise ValueError(f"{name!r} cannot be the name of a {resource.kind}")
    return resource.path(namespace if resource.namespaced else None, name, subresource)


def _label(resource: Resource, subresource: str | None) -> str:
    return f"{resource.plural}/{subresource}" if subresource else resource.plural


def _write_params(dry_run: bool, field_manager: str) -> tuple[tuple[str, str], ...]:
    return _params(("fieldManager", field_manager), ("dryRun", "All" if dry_run else None))


def _params(*pairs: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in pairs if value)


def _delete_options(propagation: str, grace_period_seconds: int | None) -> Object:
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    return options


def _namespace_of(resource: Resource, body: Object) -> str | None:
    return (body.get("metadata") or {}).get("namespace") if resource.namespaced else None


def _name_of(body: Object) -> str:
    name = (body.get("metadata") or {}).get("name")
    if not name:
        raise ValueError(f"the {body.get('kind') or 'object'} has no metadata.name")
    return str(name)
