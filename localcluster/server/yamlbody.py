"""YAML request bodies, as server-side apply and ``application/yaml`` send them; JSON is tried first, being YAML too."""

from __future__ import annotations

from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from localcluster.server import errors


def load(raw: bytes) -> Any:
    """The one document of ``raw`` as JSON values.

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
