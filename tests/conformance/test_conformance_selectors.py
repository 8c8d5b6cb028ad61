"""Label and field selectors, and the selectable fields of a custom kind."""

from __future__ import annotations

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Api
from tests.conformance.conformance_kinds import config_map, pod, widget


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("tier=front", "a"),
        ("tier==front", "a"),
        ("tier!=front", "bcd"),
        ("tier in (front,back)", "ab"),
        ("tier notin (front,back)", "cd"),
        ("tier notin (front)", "bcd"),
        ("tier", "abc"),
        ("!tier", "d"),
        ("tier,env=prod", "ab"),
        ("env=prod,tier!=back", "a"),
        ("tier=", "c"),
        ("tier in ()", "c"),
        ("size>5", "b"),
        ("size<5", "a"),
        ("size>100", ""),
        ("", "abcd"),
        (" tier = front ", "a"),
        ("example.com/key=v", "d"),
        ("tier in (front,)", "ac"),
    ],
)
async def test_labels_select(api: Api, selector: str, expected: str) -> None:
    labels: dict[str, Object] = {
        "a": {"tier": "front", "env": "prod", "size": "3"},
        "b": {"tier": "back", "env": "prod", "size": "9"},
        "c": {"tier": "", "env": "test"},
        "d": {"env": "test", "example.com/key": "v"},
    }
    for name, chosen in labels.items():
        await api.create("widgets", widget(name, labels=chosen))
    answer = await api.list("widgets", labelSelector=selector)
    assert answer.code == 200, answer.message
    assert "".join(answer.names) == expected


@pytest.mark.parametrize("selector", ["a b", "a in b", "=x", "a=b c", "a>x", "-a=b", "a=-b", "a in (b", "!", ",a"])
async def test_a_selector_that_cannot_be_read_is_refused(api: Api, selector: str) -> None:
    answer = await api.list("configmaps", labelSelector=selector)
    assert answer.refusal() == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=a", "a"),
        ("metadata.name!=a", "bc"),
        ("metadata.name==a", "a"),
        ("spec.color=blue", "b"),
        ("spec.color!=blue", "ac"),
        ("spec.size=3", "ab"),
        ("spec.size=9", "c"),
        ("spec.color=red,spec.size=9", "c"),
        ("spec.color=green", ""),
        ("", "abc"),
    ],
)
async def test_fields_of_a_custom_kind_select(api: Api, selector: str, expected: str) -> None:
    for name, spec in (("a", {}), ("b", {"color": "blue"}), ("c", {"size": 9})):
        await api.create("widgets", widget(name, spec))
    answer = await api.list("widgets", fieldSelector=selector)
    assert answer.code == 200, answer.message
    assert "".join(answer.names) == expected


async def test_a_namespace_selects(api: Api) -> None:
    await api.create("widgets", widget("a"))
    everywhere = api.path("widgets", everywhere=True)
    assert (await api.send("GET", everywhere, fieldSelector=f"metadata.namespace={api.namespace}")).names == ["a"]


@pytest.mark.parametrize("field", ["spec.mode", "metadata.uid", "status.phase", "spec"])
async def test_fields_that_are_not_declared_do_not_select(api: Api, field: str) -> None:
    answer = await api.list("widgets", fieldSelector=f"{field}=x")
    assert answer.refusal() == (400, "BadRequest")
    assert "field label not supported" in answer.message


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("status.phase=Pending", "ab"),
        ("status.phase!=Pending", ""),
        ("spec.nodeName=n1", "b"),
        ("spec.nodeName=", "a"),
        ("spec.restartPolicy=Never", "b"),
        ("spec.schedulerName=nobody", "ab"),
        ("spec.serviceAccountName=default", "ab"),
    ],
)
async def test_fields_of_pods_select(api: Api, selector: str, expected: str) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("a"))
    await api.create("pods", pod("b", nodeName="n1", restartPolicy="Never"))
    answer = await api.list("pods", fieldSelector=selector)
    assert answer.code == 200, answer.message
    assert "".join(answer.names) == expected


async def test_fields_of_secrets_and_events_select(api: Api) -> None:
    await api.create("secrets", {"metadata": {"name": "a"}, "type": "example.com/x"})
    await api.create("secrets", {"metadata": {"name": "b"}})
    assert (await api.list("secrets", fieldSelector="type=Opaque")).names == ["b"]
    involved = {"kind": "Pod", "namespace": api.namespace, "name": "p", "uid": "u"}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R", "type": "Normal", "message": "m"}
    await api.create("events", event)
    for selector in ("involvedObject.name=p", "reason=R", "type=Normal", "involvedObject.kind=Pod"):
        assert "e" in (await api.list("events", fieldSelector=selector)).names
    assert (await api.list("events", fieldSelector="involvedObject.name=q")).names == []


async def test_a_config_map_is_selected_by_name_alone(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    assert (await api.list("configmaps", fieldSelector="metadata.name=one")).names == ["one"]
    answer = await api.list("configmaps", fieldSelector="data.a=b")
    assert answer.refusal() == (400, "BadRequest")


async def test_labels_and_fields_select_together(api: Api) -> None:
    await api.create("widgets", widget("a", labels={"x": "1"}))
    await api.create("widgets", widget("b", {"color": "blue"}, labels={"x": "1"}))
    assert (await api.list("widgets", labelSelector="x=1", fieldSelector="spec.color=blue")).names == ["b"]
