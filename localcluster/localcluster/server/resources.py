"""HTTP requests for resources: from a routed request to the registry and back, one method per verb.

Not here: routing (app.py), streams (watchstream.py), and subresources that are not part of the stored object
(subresources.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from kubewire import PatchType
from localcluster.clock import Now
from localcluster.server import cause, decoding, deletion, errors, requestbody, response, tables
from localcluster.server.identity import Identity
from localcluster.server.options import (
    FieldValidation,
    ListOptions,
    WriteOptions,
    delete_options,
    list_options,
    write_options,
)
from localcluster.server.patching import Patch, supported_types, unreadable
from localcluster.server.registry import Page, Registry
from localcluster.server.request import Request
from localcluster.server.response import Form, Response
from localcluster.server.types import Object, ResourceType
from localcluster.server.writer import Target, Written

_STORED_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_METADATA_KIND: Final = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


class Resources:
    """Answers create, get, list, update, patch and delete requests."""

    def __init__(self, registry: Registry, now: Now) -> None:
        self._registry = registry
        self._now = now

    async def answer(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        """The answer to any non-streaming request for a stored object.

        Raises:
            StatusError: the request is refused.
        """
        match request.verb:
            case "get":
                return await self._get(request, resource)
            case "list":
                return await self._list(request, resource)
            case "create":
                return await self._create(request, resource, user)
            case "update":
                return await self._update(request, resource, user)
            case "patch":
                return await self._patch(request, resource, user)
            case "delete":
                return await self._delete(request, resource, user)
            case "deletecollection":
                return await self._delete_collection(request, resource, user)
            case _:
                raise errors.method_not_allowed()

    async def _get(self, request: Request, resource: ResourceType) -> Response:
        form = response.negotiate(request.headers.get("accept", ""))
        route = request.route
        self._registry.check_reached(request.query.get("resourceVersion", ""))
        stored = self._registry.stored(resource, route.namespace, route.name)
        if not form.kind and stored.api_version == resource.api_version:
            return Response(200, stored.data)
        obj = await self._registry.get(resource, route.namespace, route.name)
        return self._rendered(obj, resource, form, request)

    async def _list(self, request: Request, resource: ResourceType) -> Response:
        form = response.negotiate(request.headers.get("accept", ""))
        options = list_options(request.query)
        page = await self._registry.page(resource, request.route.namespace, options)
        if form.is_table:
            table = tables.render_table(
                resource,
                page.objects,
                now=self._now(),
                resource_version=str(page.revision),
                include=response.wanted_rows(request.query),
            )
            table["metadata"] = {**table.get("metadata", {}), **page.metadata}
            return response.json_response(table)
        if form.is_metadata:
            return response.json_response(
                {
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": page.metadata,
                    "items": [_metadata_only(obj) for obj in page.objects],
                }
            )
        return Response(200, _list_body(page, resource))

    async def _create(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        form = response.negotiate(request.headers.get("accept", ""))
        options = _write_options("CreateOptions", request, user)
        raw = await request.body()
        body = requestbody.load(request, raw)
        if request.route.name:
            raise errors.method_not_allowed()
        if requestbody.is_json(request):
            _check_duplicates(raw, body, options, lambda why: decoding.unreadable(resource, why))
        written = await self._registry.create_written(resource, request.route.namespace, body, options)
        return self._written(written, resource, form, request)

    async def _update(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        form = response.negotiate(request.headers.get("accept", ""))
        options = _write_options("UpdateOptions", request, user)
        raw = await request.body()
        body = requestbody.load(request, raw)
        if requestbody.is_json(request):
            _check_duplicates(raw, body, options, lambda why: decoding.unreadable(resource, why))
        written = await self._registry.update_written(_target(request, resource), body, options)
        return self._written(written, resource, form, request)

    async def _patch(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        form = response.negotiate(request.headers.get("accept", ""))
        media_type = requestbody.media_type(request)
        if media_type not in tuple(PatchType):
            raise errors.unsupported_media_type(supported_types(resource))
        patch_type = PatchType(media_type)
        applies = patch_type is PatchType.APPLY
        if applies and not request.query.get("fieldManager"):
            why = cause.required("fieldManager", "is required for apply patch")
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [why])
        if "force" in request.query and not applies:
            why = cause.forbidden("force", "may not be specified for non-apply patch")
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [why])
        options = _write_options("PatchOptions", request, user)
        raw = await request.body()
        body = requestbody.load_yaml(raw) if applies else requestbody.load_json(raw)
        patch = Patch(patch_type, body)
        if patch_type in (PatchType.MERGE, PatchType.STRATEGIC):
            _check_duplicates(raw, body, options, lambda why: unreadable(patch, why))
        written = await self._registry.patch_written(_target(request, resource), patch, options)
        return self._written(written, resource, form, request)

    async def _delete(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        form = response.negotiate(request.headers.get("accept", ""))
        if request.route.subresource:
            raise errors.method_not_allowed()
        raw = await request.body()
        options = delete_options(request.query, requestbody.load(request, raw) if raw else None, user, request.warn)
        found = await self._registry.delete_found(resource, request.route.namespace, request.route.name, options)
        if found.done and not deletion.returns_object(resource):
            return response.json_response(deletion.success(resource, found.obj))
        return self._rendered(found.obj, resource, form, request)

    async def _delete_collection(self, request: Request, resource: ResourceType, user: Identity) -> Response:
        raw = await request.body()
        options = delete_options(request.query, requestbody.load(request, raw) if raw else None, user, request.warn)
        selection: ListOptions = list_options(request.query)
        deleted = await self._registry.delete_collection(resource, request.route.namespace, options, selection)
        return response.json_response(deleted)

    def _written(self, written: Written, resource: ResourceType, form: Form, request: Request) -> Response:
        status = 201 if written.created else 200
        if not form.kind and written.stored is not None:
            return Response(status, written.stored.data)
        return self._rendered(written.obj, resource, form, request, status)

    def _rendered(
        self, obj: Object, resource: ResourceType, form: Form, request: Request, status: int = 200
    ) -> Response:
        if form.is_table:
            table = tables.render_table(
                resource,
                [obj],
                now=self._now(),
                resource_version=obj["metadata"].get("resourceVersion", ""),
                include=response.wanted_rows(request.query),
            )
            return response.json_response(table, status)
        if form.is_metadata:
            return response.json_response(_metadata_only(obj), status)
        return response.json_response(obj, status)


def is_stored_subresource(name: str) -> bool:
    """Whether a subresource is a part of the stored object, which the registry reads and writes."""
    return not name or name in _STORED_SUBRESOURCES


def _metadata_only(obj: Object) -> Object:
    return {**_METADATA_KIND, "metadata": obj["metadata"]}


def _list_body(page: Page, resource: ResourceType) -> bytes:
    """The JSON of a list; stored objects are joined unchanged, which makes large lists cheap."""
    if page.data is None:
        items = orjson.dumps(page.objects)
    else:
        items = b"[" + b",".join(page.data) + b"]"
    head = orjson.dumps({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": page.metadata})
    return head[:-1] + b',"items":' + items + b"}"


def _write_options(kind: str, request: Request, user: Identity) -> WriteOptions:
    return write_options(kind, request.query, user, request.warn, request.headers.get("user-agent", ""))


def _check_duplicates(
    raw: bytes, body: Any, options: WriteOptions, refusal: Callable[[str], errors.StatusError]
) -> None:
    """Refuse duplicate fields, or warn about them, as the request asks.

    Raises:
        StatusError: ``refusal`` of the reason: there are duplicates and validation is strict.
    """
    if options.field_validation is FieldValidation.IGNORE:
        return
    texts = [f'duplicate field "{path}"' for path in requestbody.duplicate_fields(raw, body)]
    if texts and options.field_validation is FieldValidation.STRICT:
        raise refusal(f"strict decoding error: {', '.join(texts)}")
    for text in texts:
        options.warn(text)


def _target(request: Request, resource: ResourceType) -> Target:
    route = request.route
    return Target(resource, route.namespace, route.name, route.subresource)
