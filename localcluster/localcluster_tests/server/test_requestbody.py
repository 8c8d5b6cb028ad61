"""Fields that appear twice in a JSON body."""

from __future__ import annotations

import orjson
import pytest

from localcluster.server import requestbody


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"a": 1, "b": {"c": 1, "c": 2, "c": 3}}', ["b.c"]),
        (b'{"l":[{"x":1},{"x":1,"x":2}]}', ["l[1].x"]),
        (b'{"a":{"b":1},"a":{"b":1,"b":2}}', ["a", "a.b"]),
        (b'{"a":1,"b":{"a":2}}', []),
        (b'  {"a" : "\\u00e9" }\n', []),
        (b'[{"a":1},{"a":1}]', []),
        (b'{"a":1e3}', []),
    ],
    ids=["top", "thrice", "in a list", "inside of both", "other places", "loosely written", "list", "longer number"],
)
def test_fields_given_twice_are_found(body: bytes, paths: list[str]) -> None:
    assert requestbody.duplicate_fields(body, orjson.loads(body)) == paths
