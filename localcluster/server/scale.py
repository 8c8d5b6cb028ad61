"""The ``scale`` subresource: how many replicas a Deployment, ReplicaSet or StatefulSet should have.

Patches of a scale are merge or JSON patches.
"""

from __future__ import annotations

from typing import Any

from core.kube.wire import JSONPatchError, PatchType, apply_json_patch, apply_merge_patch
from localcluster.server import cause, errors, requestbody, response
from localcluster.server.identity import Identity
from localcluster.server.options import write_options
from localcluster.server.registry import Registry
from localcluster.server.request import Request
from localcluster.server.response import Response
from localcluster.server.types import Object, ResourceType
from localcluster.server.writer import Target


async def answer(registry: Registry, request: Request, resource: ResourceType, user: Identity) -> Response:
    """Read or change the scale.

    Raises:
        StatusError: 404, no such object; 409, another resourceVersion; 422, a negative number.
    """
    route = request.route
    if request.verb == "get":
        return response.json_response(scale_of(await registry.get(resource, route.namespace, route.name)))
    body = requestbody.load(request, await request.body())
    media_type = requestbody.media_type(request)
    options = write_options("UpdateOptions", request.query, user, request.warn, request.headers.get("user-agent", ""))

    def scaled(current: Object | None) -> Object:
        if current is None:
            raise errors.not_found(resource.group, resource.plural, route.name)
        wanted = _wanted(scale_of(current), body, media_type, is_patch=request.verb == "patch")
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            why = cause.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid("autoscaling", "Scale", route.name, [why])
        metadata = {**current["metadata"]}
        if revision := (wanted.get("metadata") or {}).get("resourceVersion"):
            metadata["resourceVersion"] = revision
        return {**current, "metadata": metadata, "spec": {**(current.get("spec") or {}), "replicas": replicas}}

    written = await registry.change(Target(resource, route.namespace, route.name, "scale"), scaled, options)
    return response.json_response(scale_of(written.obj))


def scale_of(obj: Object) -> Object:
    """``autoscaling/v1`` Scale of an object with replicas and a label selector."""
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = (obj.get("spec") or {}).get("replicas", 1)
    labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def _wanted(scale: Object, body: Any, media_type: str, *, is_patch: bool) -> Object:
    if not is_patch:
        patched = body
    elif media_type == PatchType.JSON:
        try:
            patched = apply_json_patch(scale, body)
        except JSONPatchError as error:
            raise errors.bad_request(str(error)) from error
    elif media_type in (PatchType.MERGE, PatchType.STRATEGIC):
        patched = apply_merge_patch(scale, body)
    else:
        raise errors.unsupported_media_type((PatchType.JSON, PatchType.MERGE))
    if not isinstance(patched, dict):
        raise errors.bad_request("the body must be an object of kind Scale")
    return patched
