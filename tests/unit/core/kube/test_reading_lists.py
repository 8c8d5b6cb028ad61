"""Any list is read as the parser of JSON reads it, however its objects look, in time that grows with its size."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.kube import scan
from core.kube.reading import UnreadablePageError, page_in
from core.kube.remains import is_object

TEXTS = st.text('}],{"\\ :\n\u00e9', max_size=6) | st.sampled_from(['},{"metadata":{', '}\\",{"metadata":'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from("ab"), inner, max_size=3),
    max_leaves=8,
)
METADATA = st.fixed_dictionaries({"name": st.sampled_from(["a", "b", ""])}, optional={"labels": VALUES})
NESTED = st.lists(st.fixed_dictionaries({"metadata": st.just({"name": "inner"}), "x": VALUES}), max_size=3)
"""Inside of an object, what looks like the beginning of the next one."""


@st.composite
def items(draw: st.DrawFn) -> Any:
    """An object, whose keys have any order; seldom something else."""
    fields = {"metadata": draw(METADATA), "apiVersion": "v1", "spec": draw(NESTED | VALUES)}
    order = draw(st.permutations([*fields]))
    return draw(st.just({key: fields[key] for key in order}) | VALUES)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """As the servers write it, or with spaces and new lines; the head comes before the objects or after them."""
    head = {"metadata": {"resourceVersion": "9", "continue": "t"}, "kind": "L"}
    found = {"items": draw(st.none() | st.lists(items(), max_size=5))}
    whole = draw(st.sampled_from([{**head, **found}, {**found, **head}]))
    return orjson.dumps(whole, option=draw(st.sampled_from([None, orjson.OPT_INDENT_2])))


@given(lists())
@example(b'{"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"},"spec":[{"metadata":{}},{"metadata":{}}]}]}')
@example(b'{"items":[{"metadata":{"name":"a"},"x":"},{\\"metadata\\":{"},{"metadata":{"name":"b"}},7,[],{}]}')
@example(b'{"items":[]}')
@example(b"{}")
def test_a_list_is_read_as_the_parser_reads_it(raw: bytes) -> None:
    whole = orjson.loads(raw)
    page = page_in(raw)
    found = list(page.objects)

    expected = [item for item in whole.get("items") or () if is_object(item)]
    assert found == expected
    assert page.left_out == len(whole.get("items") or ()) - len(expected)
    assert page.head.resource_version == whole.get("metadata", {}).get("resourceVersion", "")


@pytest.mark.parametrize("managed_fields", [True, False])
@pytest.mark.parametrize("head", [{"apiVersion": "example.io/v1", "kind": "Widget"}, {}], ids=["custom", "built in"])
def test_only_the_end_of_the_last_object_is_searched(
    head: dict[str, str], managed_fields: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As API servers write them: keys of custom resources in their order, and so those of the entries inside."""
    entry = {"apiVersion": "example.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}, "manager": "m"}
    owner = {"apiVersion": "example.io/v1", "kind": "Widget", "name": "o"}
    metadata = {"managedFields": [entry, entry], "name": "a", "ownerReferences": [{**owner, "uid": "1"}] * 2}
    objects = [{**head, "metadata": metadata, "spec": {}} for _ in range(5)]
    searched: list[int] = []
    value_at = scan.value_at

    def noted(raw: bytes, start: int) -> scan.ByteSpan:
        searched.append(start)
        return value_at(raw, start)

    monkeypatch.setattr(scan, "value_at", noted)
    page = page_in(orjson.dumps({"items": objects}), managed_fields=managed_fields)
    assert len([*page.objects]) == len(objects)
    assert len(searched) == 1


@pytest.mark.parametrize("raw", [b'{"items":{}}', b'{"items":7}', b"[]", b'{"items":[{"metadata":{"name":"a"}}', b"{"])
def test_what_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadablePageError):
        list(page_in(raw).objects)


class Searched(bytes):
    """Counts the bytes in which something is searched for."""

    total = 0

    def find(self, part: Any, start: Any = None, end: Any = None) -> int:
        found = super().find(part, start, end)
        self.total += (found if found >= 0 else len(self)) - start
        return found


FIRST, OTHER = b'{"metadata":{"name":"a"}}', b'{"kind":"x","metadata":{"name":"a"}}'
INSIDE = b'{"metadata":{"name":"a"},"x":[%s]}' % b",".join([FIRST] * 50)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([FIRST, *[OTHER] * 500], id="only the first one begins in that way"),
        pytest.param([FIRST, *[OTHER] * 500, FIRST], id="only the first and the last one"),
        pytest.param([FIRST, OTHER] * 250, id="every other one"),
        pytest.param([INSIDE] * 50, id="all parts of an object"),
    ],
)
def test_what_misleads_is_not_searched_again_and_again(objects: list[bytes]) -> None:
    raw = Searched(b'{"items":[%s]}' % b",".join(objects))
    assert len(list(page_in(raw).objects)) == len(objects)
    assert raw.total <= 2 * len(raw)
