"""Where parts of a JSON document begin and end, even if it is deep, large or damaged."""

from __future__ import annotations

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.kube import scan
from core.kube.scan import ScanError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_members_are_those_that_a_parser_finds(value: dict[str, object], layout: int) -> None:
    raw = orjson.dumps(value, option=layout)
    found = {orjson.loads(b'"%s"' % key): orjson.loads(raw[span.start : span.end]) for key, span in scan.members(raw)}

    assert found == value


@given(st.lists(JSON, max_size=5), st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_elements_are_those_that_a_parser_finds(value: list[object], layout: int) -> None:
    raw = orjson.dumps(value, option=layout)

    assert [orjson.loads(raw[span.start : span.end]) for span in scan.elements(raw)] == value


@given(st.binary(max_size=200))
def test_any_bytes_have_an_end_or_an_error(raw: bytes) -> None:
    for read in (scan.members, scan.elements):
        try:
            for part in read(raw):
                assert part is not None
        except ScanError:
            pass
    scan.lookup(raw, b"request", b"uid")


def test_depth_is_no_obstacle() -> None:
    raw = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"b":1}'

    assert [(key, span.length) for key, span in scan.members(raw)] == [(b"a", 200_000), (b"b", 1)]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"a":"' + b"x" * 1_000_000, id="a string that does not end"),
        pytest.param(b'{"a":"' + b"\\" * 1_000_001, id="escapes that do not end"),
        pytest.param(b'{"a":[' + b'"' * 1_000_001, id="quotes"),
        pytest.param(b'{"a":' + b"[" * 1_000_000, id="lists that do not end"),
        pytest.param(b"{" + b" " * 1_000_000, id="space"),
    ],
)
def test_what_does_not_end_takes_time_in_proportion(raw: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ScanError):
        list(scan.members(raw))

    assert time.process_time() - began < 2


def test_what_comes_behind_is_not_looked_at() -> None:
    raw = b'{"kind":"x","request":{"kind":{},"uid":"u","object":{"broken'
    found = scan.lookup(raw, b"request", b"uid")

    assert found is not None
    assert raw[found.start : found.end] == b'"u"'
    assert scan.lookup(b'{"request":[]}', b"request", b"uid") is None
    assert scan.lookup(b'{"request":{}}', b"request", b"uid") is None


def test_taking_out_strings_takes_time_in_proportion() -> None:
    began = time.process_time()

    assert scan.without_strings(b'["a\\"b",1]' + b'"' + b'\\"' * 500_000) == b"[,1]"
    assert time.process_time() - began < 2


@pytest.mark.parametrize(("raw", "depth"), [(b"1", 0), (b"{}", 1), (b'{"a":"{[","b":[[]]}', 3), (b"[{},[]]", 2)])
def test_depth_counts_what_is_in_each_other(raw: bytes, depth: int) -> None:
    assert scan.depth_of(raw) == depth
