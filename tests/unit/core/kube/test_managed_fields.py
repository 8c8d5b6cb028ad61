"""Without ``managedFields`` an object is what it was, whatever texts and names it has."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.managed_fields import parsed_without_managed_fields
from core.kube.watch import open_watch
from tests.unit.core.kube.scripted_server import WIDGET, ScriptedServer, listing, ok, widget

NAME = "managedFields"
TEXTS = st.text('}],{"\\ :0', max_size=6) | st.sampled_from(
    [NAME, f'"{NAME}":[{{', f'","{NAME}":[{{"a":1}}],"b":"', '}],"', "}]}", "}],"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from("ab"), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=3)


@st.composite
def objects(draw: st.DrawFn) -> Any:
    """What a server may send, and seldom something that it never sends; keys have any order."""
    metadata = {"name": "a", "labels": draw(VALUES)}
    if draw(st.booleans()):
        metadata[NAME] = draw(ENTRIES | VALUES)
    fields = {
        "metadata": {key: metadata[key] for key in draw(st.permutations([*metadata]))},
        "spec": draw(VALUES),
        NAME: draw(ENTRIES),
    }
    order = draw(st.permutations([*fields]))
    return draw(st.just({key: fields[key] for key in order[: draw(st.integers(1, 3))]}) | VALUES)


@given(objects(), st.sampled_from([None, orjson.OPT_INDENT_2]))
@example({"spec": {NAME: [{"a": 1}]}, "metadata": {"name": "a", NAME: [{"m": "}]"}]}}, None)
@example({"metadata": {"name": "a", "annotations": {"x": "}},"}}, "status": {"metadata": {NAME: [{"a": 1}]}}}, None)
def test_nothing_else_is_lost(obj: Any, option: int | None) -> None:
    expected = deepcopy(obj)
    if isinstance(obj, dict) and isinstance(obj.get("metadata"), dict):
        expected["metadata"].pop(NAME, None)

    assert parsed_without_managed_fields(orjson.dumps(obj, option=option))[0] == expected
    line = orjson.dumps({"type": "ADDED", "object": obj}, option=option)
    assert parsed_without_managed_fields(line, "object")[0] == {"type": "ADDED", "object": expected}


def test_the_field_is_not_parsed() -> None:
    obj = widget("a", 1, spec={"size": 1})
    obj["metadata"][NAME] = [{"manager": "m", "fieldsV1": {f"f:{number}": {} for number in range(100)}}] * 3
    text = orjson.dumps(obj)

    assert len(parsed_without_managed_fields(text)[1]) < len(text) / 10


@pytest.mark.parametrize("text", [b"", b"{", b'{"metadata":{"managedFields":[{"a":1}]}', b'"managedFields":[{}]'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parsed_without_managed_fields(text)


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_client_reads_the_field_if_it_is_told_to(wanted: bool) -> None:
    found = widget("a", 5)
    found["metadata"][NAME] = [{"manager": "m", "fieldsV1": {}}]

    def answer(request: httpx.Request) -> httpx.Response:
        is_list = request.method == "GET" and request.url.path.endswith("/widgets")
        return listing(found, version=5) if is_list else ok(found)

    server = ScriptedServer(answer=answer)
    async with open_client(ClusterConfig("http://scripted"), transport=server, managed_fields=wanted) as client:
        seen = [await client.get(WIDGET, "a", "team"), *(await client.list(WIDGET)).items]
        seen.append(await client.in_background().create(WIDGET, found))
        async with open_watch(client, WIDGET, resource_version="4") as events:
            (await server.next_watch()).push("ADDED", found)
            seen.append((await events.receive()).object)
    assert [NAME in obj["metadata"] for obj in seen] == [wanted] * 4
