"""The ``scale`` subresource: the number of replicas of a Deployment, ReplicaSet, StatefulSet or custom object.

Patches of a scale are merge or JSON patches.
"""

from __future__ import annotations

from typing import Any

from kubewire import JSONPatchError, PatchType, StatusReason, apply_json_patch, apply_merge_patch, status_failure
from localcluster.server import cause, errors, requestbody, response
from localcluster.server.identity import Identity
from localcluster.server.options import write_options
from localcluster.server.patching import REJECTED
from localcluster.server.registry import Registry
from localcluster.server.request import Request
from localcluster.server.response import Response
from localcluster.server.types import Object, ResourceType, ScalePaths
from localcluster.server.writer import Target


async def answer(registry: Registry, request: Request, resource: ResourceType, user: Identity) -> Response:
    """Read or change the scale.

    Raises:
        StatusError: 404, the object does not exist; 409, another resourceVersion; 422, a negative number; 500, a custom
            object has no field for its replicas.
    """
    route = request.route
    if request.verb == "get":
        return response.json_response(scale_of(await registry.get(resource, route.namespace, route.name), resource))
    body = requestbody.load(request, await request.body())
    media_type = requestbody.media_type(request)
    options = write_options("UpdateOptions", request.query, user, request.warn, request.headers.get("user-agent", ""))

    def scaled(current: Object | None) -> Object:
        if current is None:
            raise errors.not_found(resource.group, resource.plural, route.name)
        present = scale_of(_counted(current, resource), resource)
        wanted = _wanted(present, body, media_type, is_patch=request.verb == "patch")
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            why = cause.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid("autoscaling", "Scale", route.name, [why])
        metadata = {**current["metadata"]}
        if revision := (wanted.get("metadata") or {}).get("resourceVersion"):
            metadata["resourceVersion"] = revision
        path = resource.scale_paths.spec_replicas if resource.scale_paths else ("spec", "replicas")
        return {**_with(current, path, replicas), "metadata": metadata}

    written = await registry.change(Target(resource, route.namespace, route.name, "scale"), scaled, options)
    return response.json_response(scale_of(written.obj, resource))


def scale_of(obj: Object, resource: ResourceType) -> Object:
    """The ``autoscaling/v1`` Scale of an object with replicas and a label selector.

    Raises:
        StatusError: 500, a custom object lacks the field for the number of replicas.
    """
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    if resource.scale_paths is None:
        replicas = (obj.get("spec") or {}).get("replicas", 1)
        labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        status = {"replicas": (obj.get("status") or {}).get("replicas", 0), "selector": selector}
    else:
        replicas, status = _of_custom(obj, resource.scale_paths)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _of_custom(obj: Object, paths: ScalePaths) -> tuple[int, Object]:
    replicas = _find(obj, paths.spec_replicas)
    if not isinstance(replicas, int):
        raise errors.internal_error(f'the spec replicas field ".{".".join(paths.spec_replicas)}" does not exist')
    status: Object = {"replicas": _find(obj, paths.status_replicas) or 0}
    if selector := _find(obj, paths.selector) if paths.selector else "":
        status["selector"] = selector
    return replicas, status


def _counted(obj: Object, resource: ResourceType) -> Object:
    """A custom object without its replicas field gets 0 there, so that a scale can be written for it."""
    path = resource.scale_paths.spec_replicas if resource.scale_paths else ()
    return _with(obj, path, 0) if path and _find(obj, path) is None else obj


def _find(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _with(obj: Object, path: tuple[str, ...], value: int) -> Object:
    """``obj`` with the field at ``path`` set; the parents of that field are copied, the rest is shared."""
    first, rest = path[0], path[1:]
    inner = obj.get(first)
    return {**obj, first: _with(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def _wanted(scale: Object, body: Any, media_type: str, *, is_patch: bool) -> Object:
    if not is_patch:
        patched = body
    elif media_type == PatchType.JSON:
        try:
            patched = apply_json_patch(scale, body)
        except JSONPatchError as error:
            raise errors.StatusError(
                status_failure(StatusReason.INVALID, f"{REJECTED}: {error}", details={})
            ) from error
    elif media_type in (PatchType.MERGE, PatchType.STRATEGIC):
        patched = apply_merge_patch(scale, body)
    else:
        raise errors.unsupported_media_type((PatchType.JSON, PatchType.MERGE))
    if not isinstance(patched, dict):
        raise errors.bad_request("the body must be an object of kind Scale")
    return patched
