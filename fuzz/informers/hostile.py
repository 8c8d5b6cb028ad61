"""Objects as bytes: good ones, hostile JSON, and bytes that are not JSON."""

from __future__ import annotations

from typing import Any, Final

import orjson
from hypothesis import strategies as st

from core.api.objects import Object
from core.api.resource import Resource

NAMESPACE: Final = "team"
_DEPTHS: Final = (3, 200, 250, 251, 252, 254, 255, 400, 1_000, 1_024, 1_025, 1_500, 20_000)


def metadata(name: str, number: int, **more: Any) -> Object:
    owner = {"apiVersion": "v1", "kind": "StoryRun", "name": "r", "uid": "r", "controller": True}
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "resourceVersion": str(number),
        "ownerReferences": [owner],
        "labels": {"app": "x"},
        **more,
    }


def good(resource: Resource, name: str, number: int) -> bytes:
    """An object with the fields that all readers expect."""
    body = {"spec": {"stepId": "a", "storyRef": {"name": "s"}}, "status": {"phase": "Running"}}
    head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata(name, number)}
    return orjson.dumps({**head, **body})


def _deep(levels: int, opening: bytes) -> bytes:
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    return opening * levels + b"0" + closing * levels


VALUES: Final = st.one_of(
    st.builds(_deep, st.sampled_from(_DEPTHS), st.sampled_from([b"[", b'{"a":'])),
    st.sampled_from(
        [
            *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"1e-999", b"0.1e1", b"01", b"tru"),
            *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b'"\\x"', b'"\\u12"', b'"a', b"'a'"),
            *(b'{"a":1,"a":{}}', b'{"":{}}', b'{"\\u0000unreadable":{"missing":[],"why":"x"}}', b"[,]", b"{,}", b""),
            *(b"[" + b"{}," * 25_000 + b"{}]", b'{"x":"' + b"y" * 150_000 + b'"}', b"[" + b"[]," * 3_000 + b"[]]"),
            *(b"null", b"true", b"[]", b"{}", b'""', b"0", b'{"phase":[]}', b'{"phase":{"a":1},"conditions":7}'),
        ]
    ),
    st.binary(max_size=20).filter(lambda raw: b"\n" not in raw),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: _written(value)),
)
"""Values for any place in an object."""
PLACES: Final = (
    *(("spec",), ("status",), ("data",), ("metadata",)),
    *(("spec", "steps"), ("spec", "storyRef"), ("spec", "engramRef"), ("spec", "templateRef"), ("spec", "template")),
    *(("status", "output"), ("status", "phase"), ("status", "conditions"), ("status", "retries")),
    *(("metadata", key) for key in ("labels", "annotations", "ownerReferences", "finalizers", "managedFields")),
    *(("metadata", key) for key in ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "generation")),
)


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return b"123456789012345678901234567890"


@st.composite
def hostile(draw: st.DrawFn, resource: Resource, name: str, number: int) -> bytes:
    """The object ``name`` with an unexpected value at one place; or bytes that are not an object."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60).filter(lambda raw: b"\n" not in raw))
    place = draw(st.sampled_from(PLACES))
    body: Object = orjson.loads(good(resource, name, number))
    parent = body
    for key in place[:-1]:
        parent = parent.setdefault(key, {})
    parent[place[-1]] = "HOSTILE"
    return orjson.dumps(body).replace(b'"HOSTILE"', draw(VALUES))
