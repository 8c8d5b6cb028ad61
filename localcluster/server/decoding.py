"""From a request body to an object of the expected kind: identity checked, unknown fields handled as asked.

Pure. Error texts follow kube-apiserver's decoder.
"""

from __future__ import annotations

from typing import Any

import orjson

from localcluster.server import errors, objectmeta
from localcluster.server.options import FieldValidation, WriteOptions
from localcluster.server.types import Object, ResourceType
from localcluster.server.writeport import Shape


def decode(body: Any, resource: ResourceType, options: WriteOptions, shape: Shape) -> Object:
    """``body`` as an object of ``resource``, pruned and defaulted in place.

    Raises:
        StatusError: 400, it is of another kind, malformed, or has unknown fields under strict validation.
    """
    check_kind(body, resource)
    unknown = conform(body, resource, shape)
    if unknown and options.field_validation is FieldValidation.STRICT:
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: strict decoding '
            f"error: {listed}"
        )
    warn_of_unknown(unknown, options)
    return body  # type: ignore[no-any-return]  # check_kind proved it is an object


def check_kind(body: Any, resource: ResourceType) -> None:
    """Refuse a body of another kind; fill in a built-in's missing ``apiVersion`` and ``kind``.

    Raises:
        StatusError: 400.
    """
    if not isinstance(body, dict):
        raise errors.bad_request(f"the body must be a JSON object of kind {resource.kind}")
    if not resource.custom:
        body.setdefault("kind", resource.kind)
        body.setdefault("apiVersion", resource.api_version)
    kind, version = body.get("kind"), body.get("apiVersion")
    if not isinstance(kind, str) or not kind:
        raise errors.bad_request("Object 'Kind' is missing in the body; set kind and apiVersion")
    if not isinstance(version, str) or not version:
        raise errors.bad_request("Object 'apiVersion' is missing in the body; set kind and apiVersion")
    if version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if kind != resource.kind:
        raise errors.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: the kind in the data '
            f"({kind}) does not match the expected kind ({resource.kind})"
        )


def conform(obj: Object, resource: ResourceType, shape: Shape) -> list[str]:
    """Normalize metadata, prune and default, in place; gives the paths of the fields that were dropped.

    Raises:
        StatusError: 400, metadata is malformed.
    """
    objectmeta.normalize(obj, resource.kind)
    unknown = shape.prune(obj, resource)
    shape.apply_defaults(obj, resource)
    return unknown


def conform_configuration(config: Object, resource: ResourceType, shape: Shape, options: WriteOptions) -> list[str]:
    """Prune an applied configuration in place, without defaults: what was not applied is not owned.

    Raises:
        StatusError: 400, metadata is malformed or, under strict validation, a field is unknown.
    """
    objectmeta.normalize(config, resource.kind)
    unknown = shape.prune(config, resource)
    if unknown and options.field_validation is FieldValidation.STRICT:
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: strict decoding '
            f"error: {listed}"
        )
    return unknown


def copied(obj: Object) -> Object:
    """An object that shares nothing with ``obj``."""
    fresh: Object = orjson.loads(orjson.dumps(obj))
    return fresh


def warn_of_unknown(unknown: list[str], options: WriteOptions) -> None:
    """Tell the client about dropped fields, unless it asked not to be told."""
    if options.field_validation is not FieldValidation.IGNORE:
        for path in unknown:
            options.warn(f'unknown field "{path}"')
