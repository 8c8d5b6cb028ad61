"""Request bodies: JSON, YAML, and protobuf for built-in kinds; always JSON values in the end."""

from __future__ import annotations

from typing import Any, Final

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

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


def load(request: Request, raw: bytes) -> Any:
    """The body as JSON values, read as its content type says.

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
    """JSON values.

    Raises:
        StatusError: 400, it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def load_yaml(raw: bytes) -> Any:
    """The one YAML document as JSON values; JSON, being YAML too, is tried first because that is fast.

    Raises:
        StatusError: 400, it is no YAML, or has values JSON cannot carry.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    parser = YAML(typ="safe", pure=True)
    parser.allow_duplicate_keys = False
    try:
        return orjson.loads(orjson.dumps(parser.load(raw.decode()), option=orjson.OPT_NON_STR_KEYS))
    except (YAMLError, UnicodeDecodeError, RecursionError, orjson.JSONEncodeError) as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from error
