"""Lists: pages of one state, consistent and exact reads, and list options that contradict each other."""

from __future__ import annotations

import base64
import json

import pytest
import trio

from core.api.objects import Object
from tests.conformance.conformance_api import Answer, Api, ServerUnderTest
from tests.conformance.conformance_kinds import GROUP, config_map, widget


async def five(api: Api, plural: str = "widgets") -> list[str]:
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        await api.create(plural, widget(name) if plural == "widgets" else config_map(name))
    return names


async def test_a_list_carries_its_kind_and_version(api: Api) -> None:
    created = await api.create("widgets", widget("a"))
    listed = await api.list("widgets")
    assert (listed.body["kind"], listed.body["apiVersion"]) == ("WidgetList", f"{GROUP}/v1")
    assert listed.body["items"] == [created]
    assert int(listed.version) >= int(created["metadata"]["resourceVersion"])


async def test_an_empty_list_has_an_empty_array(api: Api) -> None:
    listed = await api.list("widgets")
    assert listed.body["items"] == []


async def test_items_of_a_custom_kind_carry_their_kind(api: Api) -> None:
    await api.create("widgets", widget("a"))
    (item,) = (await api.list("widgets")).body["items"]
    assert (item["kind"], item["apiVersion"]) == ("Widget", f"{GROUP}/v1")


async def test_items_are_ordered_by_name(api: Api) -> None:
    for name in ("c", "a", "b"):
        await api.create("widgets", widget(name))
    assert (await api.list("widgets")).names == ["a", "b", "c"]


async def test_a_list_reads_every_earlier_write(api: Api) -> None:
    for index in range(10):
        await api.create("configmaps", config_map(f"c{index}"))
        assert len((await api.list("configmaps", labelSelector="!none")).names) >= index + 1


async def test_a_list_over_all_namespaces_is_ordered_by_namespace_and_name(api: Api) -> None:
    await api.create("namespaces", {"metadata": {"name": f"{api.namespace}-b"}})
    other = Api(api.http, f"{api.namespace}-b")
    labels = {"suite": api.namespace}
    await other.create("widgets", widget("a", labels=labels))
    await api.create("widgets", widget("b", labels=labels))
    answer = await api.send("GET", api.path("widgets", everywhere=True), labelSelector=f"suite={api.namespace}")
    assert answer.names == ["a", "b"]


@pytest.mark.parametrize("plural", ["widgets", "configmaps"])
async def test_pages_show_one_state_while_writes_go_on(api: Api, plural: str) -> None:
    await five(api, plural)
    first = await api.list(plural, limit=2)
    shown = [name for name in first.names if name != "kube-root-ca.crt"]
    assert shown == ["a", "b"]
    assert first.metadata["remainingItemCount"] >= 3
    await api.delete(plural, "c")
    await api.create(plural, widget("bb") if plural == "widgets" else config_map("bb"))
    second = await api.list(plural, limit=2, **{"continue": first.metadata["continue"]})
    assert second.names == ["c", "d"]
    assert second.version == first.version
    third = await api.list(plural, limit=2, **{"continue": second.metadata["continue"]})
    assert third.names[0] == "e"
    assert not third.metadata.get("continue")
    assert "remainingItemCount" not in third.metadata


async def test_a_last_page_that_is_just_full_has_no_next(api: Api) -> None:
    await five(api)
    listed = await api.list("widgets", limit=5)
    assert len(listed.names) == 5
    assert not listed.metadata.get("continue")


async def test_pages_are_filled_through_a_selector(api: Api) -> None:
    for index in range(6):
        await api.create("widgets", widget(f"w{index}", labels={"even": str(index % 2 == 0)}))
    query = {"limit": "2", "labelSelector": "even=True"}
    first = await api.list("widgets", **query)
    assert first.names == ["w0", "w2"]
    assert "remainingItemCount" not in first.metadata
    rest = await api.list("widgets", **query, **{"continue": first.metadata["continue"]})
    assert rest.names == ["w4"]


async def test_the_token_of_a_page_belongs_to_its_list(api: Api) -> None:
    await five(api)
    first = await api.list("widgets", limit=1)
    token = first.metadata["continue"]
    answer = await api.list("widgets", resourceVersion="1", **{"continue": token})
    assert answer.code in (400, 422)


@pytest.mark.parametrize("token", ["zzz", base64.urlsafe_b64encode(b"{}").decode(), "%%%"])
async def test_a_token_nobody_gave_is_refused(api: Api, token: str) -> None:
    answer = await api.list("widgets", limit=1, **{"continue": token})
    assert answer.refusal() == (400, "BadRequest")
    assert "continue" in answer.message


async def test_a_page_of_a_forgotten_state_can_be_continued_inconsistently(api: Api, server: ServerUnderTest) -> None:
    await five(api)
    first = await api.list("widgets", limit=1)
    await api.create("widgets", widget("f"))
    server.forget()
    answer = await forgotten(api, first.metadata["continue"])
    assert answer.refusal() == (410, "Expired")
    again = answer.metadata["continue"]
    rest = await api.list("widgets", **{"continue": again})
    assert rest.names == ["b", "c", "d", "e", "f"]


async def forgotten(api: Api, token: str) -> Answer:
    """The answer to a token of a state that the server is about to forget."""
    with trio.fail_after(60):
        while True:
            answer = await api.list("widgets", limit=1, **{"continue": token})
            if answer.code != 200:
                return answer
            await trio.sleep(0.5)


async def test_an_exact_version_can_be_listed(api: Api) -> None:
    await api.create("widgets", widget("a"))
    before = (await api.list("widgets")).version
    await api.create("widgets", widget("b"))
    listed = await api.list("widgets", resourceVersion=before, resourceVersionMatch="Exact")
    assert listed.names == ["a"]
    assert listed.version == before


async def test_a_version_or_later_can_be_listed(api: Api) -> None:
    created = await api.create("widgets", widget("a"))
    version = created["metadata"]["resourceVersion"]
    listed = await api.list("widgets", resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert listed.names == ["a"]
    assert int(listed.version) >= int(version)


async def test_any_version_can_be_listed(api: Api) -> None:
    listed = await api.list("widgets", resourceVersion="0")
    assert listed.code == 200


async def test_a_read_at_a_version_is_no_older(api: Api) -> None:
    created = await api.create("widgets", widget("a"))
    answer = await api.get("widgets", "a", resourceVersion=created["metadata"]["resourceVersion"])
    assert answer.body == created


async def test_the_future_cannot_be_read(api: Api) -> None:
    await api.create("widgets", widget("a"))
    answer = await api.get("widgets", "a", resourceVersion="99999999")
    assert answer.refusal() == (504, "Timeout")


async def test_the_future_cannot_be_listed(api: Api) -> None:
    answer = await api.list("widgets", resourceVersion="99999999", resourceVersionMatch="NotOlderThan")
    assert answer.refusal() == (504, "Timeout")
    assert answer.message.startswith("Timeout: Too large resource version: 99999999, current: ")
    assert ("ResourceVersionTooLarge", "") in answer.causes


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, 422),
        ({"resourceVersionMatch": "Near", "resourceVersion": "1"}, 422),
        ({"watch": "true", "sendInitialEvents": "true"}, 422),
        ({"watch": "true", "resourceVersionMatch": "Exact", "resourceVersion": "1"}, 422),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, 422),
        ({"limit": "x"}, 400),
        ({"timeoutSeconds": "x"}, 400),
        ({"resourceVersion": "abc"}, 400),
        ({"labelSelector": "a in"}, 400),
        ({"labelSelector": "a==b=c"}, 400),
        ({"fieldSelector": "metadata.labels=x"}, 400),
        ({"fieldSelector": "nonsense"}, 400),
    ],
)
async def test_contradicting_list_options_are_refused(api: Api, query: Object, code: int) -> None:
    answer = await api.list("widgets", **query)
    assert answer.code == code, answer.message


async def test_a_token_shows_where_the_page_ends(api: Api) -> None:
    await five(api)
    first = await api.list("widgets", limit=2)
    token = first.metadata["continue"]
    read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    assert read["rv"] == int(first.version)
