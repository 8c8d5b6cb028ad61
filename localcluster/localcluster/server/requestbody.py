"""Reads request bodies: JSON, YAML, and protobuf for built-in kinds; the result is always JSON values."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from localcluster.server import errors
from localcluster.server.protobuf import decoding as protobuf
from localcluster.server.request import Request

ACCEPTED: Final = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)
_READ_AS_JSON: Final = frozenset({"", "application/json", "*/*"}) | {
    f"application/{kind}-patch+json" for kind in ("json", "merge", "strategic-merge")
}


def media_type(request: Request) -> str:
    """The body's media type without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(request: Request) -> bool:
    """Whether the body is read as JSON."""
    return media_type(request) in _READ_AS_JSON


def load(request: Request, raw: bytes) -> Any:
    """The body as JSON values, read according to its content type.

    Raises:
        StatusError: 415, the type is not accepted; 400, the body is not of that type.
    """
    kind = media_type(request)
    if kind in _READ_AS_JSON:
        return load_json(raw)
    if kind == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode(raw)
        except protobuf.ProtobufError as error:
            raise errors.bad_request(f"couldn't read the protobuf body: {error}") from error
    if kind == "application/yaml":
        return load_yaml(raw)
    raise errors.unsupported_media_type(ACCEPTED)


def load_json(raw: bytes) -> Any:
    """The JSON values of a body.

    Raises:
        StatusError: 400, it is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def duplicate_fields(raw: bytes, read: Any) -> list[str]:
    """Paths of fields that occur twice in the JSON text ``raw``; ``read`` has the last value of each.

    If ``raw`` is as short as our own serialization, no field can occur twice, and the check is skipped.
    """
    if len(orjson.dumps(read)) >= len(raw.strip()):
        return []
    try:
        return _repeated(json.loads(raw, object_pairs_hook=_Pairs), "")
    except (ValueError, RecursionError):
        return []  # orjson has read the body, so it is accepted: only the standard library refuses it


class _Pairs(list[tuple[str, Any]]):
    """An object's fields in order, including repeated ones."""


def _repeated(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, inner in value:
            where = f"{path}.{name}" if path else name
            if name in seen and where not in found:
                found.append(where)
            seen.add(name)
            found += _repeated(inner, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _repeated(item, f"{path}[{index}]")
    return found


def load_yaml(raw: bytes) -> Any:
    """The single YAML document as JSON values; JSON, which is also YAML, is tried first because it is fast.

    Raises:
        StatusError: 400, it is not YAML, or has values that JSON cannot represent.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    from ruamel.yaml import YAML  # clients of ours send JSON
    from ruamel.yaml.error import YAMLError

    from kubewire.yaml_booleans import read_words_as_booleans

    parser = YAML(typ="safe", pure=True)
    parser.allow_duplicate_keys = False
    read_words_as_booleans(parser)
    try:
        return orjson.loads(orjson.dumps(parser.load(raw.decode()), option=orjson.OPT_NON_STR_KEYS))
    except (YAMLError, UnicodeDecodeError, RecursionError, orjson.JSONEncodeError) as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from error
