"""Keys of objects that the operator writes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract.references import is_intact
from core.payloads import key as keys
from core.payloads.address import Folder, ObjectPlace, content_key, may_refer
from core.payloads.dehydrate import wrapped
from core.payloads.errors import PayloadError

PLACE = ObjectPlace(Folder.INPUTS, "team", "run-step")
CONTENT = b'{"contentType":"json","data":1}'
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ((), "output"),
        (("items", 0, "body"), "items.0.body"),
        (("a.b",), "a%2Eb"),
        (("a", "b"), "a.b"),
        (("../other", "x/y"), "%2E%2E%2Fother.x%2Fy"),
        (("line\nbreak",), "line%u000Abreak"),
    ],
)
def test_a_key_has_the_path_and_the_digest(path: tuple[str | int, ...], stem: str) -> None:
    assert content_key(PLACE, path, CONTENT) == f"inputs/team/run-step/{stem}.sha256-{DIGEST}.json"


def test_a_name_that_is_not_safe_is_refused() -> None:
    with pytest.raises(PayloadError):
        content_key(ObjectPlace(Folder.INPUTS, "team", ".."), (), CONTENT)


@given(st.lists(st.text(max_size=60) | st.integers(0, 9), max_size=8), st.binary(max_size=20))
def test_every_path_gives_a_safe_key_of_the_namespace(path: list[Any], content: bytes) -> None:
    key = content_key(PLACE, path, content)

    keys.check_namespace(key, "team")
    assert len(keys.segments(key)) == 4
    assert is_intact(key, content)
    assert not is_intact(key, content + b"x")


@pytest.mark.parametrize("key", ["outputs/team/run/output.json", "outputs/team/run/a.sha256-00.json", "x"])
def test_keys_of_others_have_no_digest_to_compare(key: str) -> None:
    assert is_intact(key, b"anything")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"rows": [1, 2]}, False),
        ({"rows": {"$bubuStorageRef": "outputs/team/a/rows.json"}}, True),
        ({"model": {"$bubuArtifact": "outputs/team/a/files/m.pt"}}, True),
    ],
)
def test_the_key_says_whether_the_content_may_refer_to_other_objects(value: object, expected: bool) -> None:
    assert may_refer(content_key(PLACE, (), wrapped(value, "json"))) is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("outputs/team/run-a/output.json", True),
        (f"outputs/team/run-a/refs.sha256-{DIGEST}.json", False),
        ("outputs/team/run-a/files/model.pt", False),
    ],
)
def test_only_objects_of_other_sdks_may_refer_without_saying_so(key: str, expected: bool) -> None:
    assert may_refer(key) is expected
