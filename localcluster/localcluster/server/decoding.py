"""Turns a request body into an object of the expected kind: checks its identity and handles unknown fields.

Pure. Error texts follow kube-apiserver's decoder.
"""

from __future__ import annotations

from typing import Any

import orjson

from localcluster.server import builtin_typing, cause, errors, objectmeta
from localcluster.server.objectmeta import UndecodableError
from localcluster.server.options import FieldValidation, WriteOptions
from localcluster.server.types import Object, ResourceType
from localcluster.server.writeport import Shape


def decode(body: Any, resource: ResourceType, options: WriteOptions, shape: Shape) -> Object:
    """``body`` as an object of ``resource``, pruned and defaulted in place.

    Raises:
        StatusError: 400, it is of another kind, malformed, or has unknown fields under strict validation.
    """
    check_kind(body, resource)
    try:
        unknown = conform(body, resource, shape)
    except UndecodableError as error:
        raise unreadable(resource, str(error)) from error
    if unknown and options.field_validation is FieldValidation.STRICT:
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise unreadable(resource, f"strict decoding error: {listed}")
    warn_of_unknown(unknown, options)
    return body  # type: ignore[no-any-return]  # check_kind proved it is an object


def check_kind(body: Any, resource: ResourceType) -> None:
    """Refuse a body of another kind; fill in missing ``apiVersion`` and ``kind`` of a built-in kind.

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
    if version != resource.api_version and not resource.custom:
        raise unreadable(resource, f'no kind "{kind}" is registered for version "{version}"', version=version)
    if version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if kind != resource.kind and resource.custom:
        name = (body.get("metadata") or {}).get("name", "")
        raise errors.invalid(resource.group, kind, name, [cause.invalid("kind", kind, f"must be {resource.kind}")])
    if kind != resource.kind:
        raise errors.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: the kind in the data '
            f"({kind}) does not match the expected kind ({resource.kind})"
        )


def conform(obj: Object, resource: ResourceType, shape: Shape) -> list[str]:
    """Normalize metadata, prune and default, in place; returns the paths of dropped fields.

    Raises:
        UndecodableError: metadata is malformed, or a value of a built-in kind has the wrong type.
    """
    objectmeta.normalize(obj)
    if not resource.custom:
        _conform_builtin(obj)
    unknown = shape.prune(obj, resource)
    shape.apply_defaults(obj, resource)
    return unknown


def conform_configuration(config: Object, resource: ResourceType, shape: Shape) -> list[str]:
    """Prune an applied configuration in place; returns the paths of unknown fields.

    It gets no defaults, because a manager owns only the fields that it applied.

    Raises:
        StatusError: 400, metadata is malformed or a value has the wrong type.
    """
    try:
        objectmeta.normalize(config)
        if not resource.custom:
            _conform_builtin(config)
    except UndecodableError as error:
        raise unreadable(resource, str(error)) from error
    return shape.prune(config, resource)


def unreadable(resource: ResourceType, why: str, *, version: str = "") -> errors.StatusError:
    """400: the body is not an object of the kind. ``version`` is the version that the body states, if it is another."""
    shown = version.rpartition("/")[2] or resource.version
    return errors.bad_request(f'{resource.kind} in version "{shown}" cannot be handled as a {resource.kind}: {why}')


def _conform_builtin(obj: Object) -> None:
    try:
        builtin_typing.conform(obj)
    except builtin_typing.WrongTypeError as error:
        raise UndecodableError(str(error)) from error


def copied(obj: Object) -> Object:
    """A copy that shares nothing with ``obj``."""
    fresh: Object = orjson.loads(orjson.dumps(obj))
    return fresh


def warn_of_unknown(unknown: list[str], options: WriteOptions) -> None:
    """Warn the client about dropped fields, unless its field validation is Ignore."""
    if options.field_validation is not FieldValidation.IGNORE:
        for path in unknown:
            options.warn(f'unknown field "{path}"')
