"""Label and field selectors."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import selectors
from localcluster.server.builtin import BUILTIN
from localcluster.server.errors import StatusError

PODS = next(resource for resource in BUILTIN if resource.plural == "pods")
CORE_EVENTS = next(resource for resource in BUILTIN if resource.plural == "events" and not resource.group)
NEW_EVENTS = next(resource for resource in BUILTIN if resource.group == "events.k8s.io")


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}}


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a==b", {"a": "b"}, True),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("!a", {"a": "x"}, False),
        ("a=", {"a": ""}, True),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,y)", {"a": "z"}, False),
        ("a in (x,y)", {}, False),
        ("a notin (x,y)", {}, True),
        ("a notin (x)", {"a": "x"}, False),
        ("a in (x),b notin (y),c", {"a": "x", "c": ""}, True),
        ("a>3", {"a": "4"}, True),
        ("a>3", {"a": "no"}, False),
        ("a<3", {"a": "2"}, True),
        ("app.kubernetes.io/name=x", {"app.kubernetes.io/name": "x"}, True),
        ("  a = b , c = d ", {"a": "b", "c": "d"}, True),
        ("", {"anything": "x"}, True),
    ],
)
def test_label_selector_matches(text: str, labels: dict[str, str], *, expected: bool) -> None:
    assert selectors.label_predicate(text)(labelled(**labels)) is expected


@pytest.mark.parametrize(
    "text", ["a in (", "a in x", "!!", "=b", "a=b c", "a in (x", "a=b,", "-a=b", "a=-b", "a>x", "a=b,,c=d"]
)
def test_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        selectors.label_predicate(text)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({}, {"a": "b"}, True),
        (None, {"a": "b"}, False),
        ({"matchLabels": {"a": "b"}}, {"a": "b"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}, {"a": "c"}, True),
    ],
)
def test_structured_selector_matches(selector: Any, labels: dict[str, str], *, expected: bool) -> None:
    assert selectors.label_selector_predicate(selector)(labels) is expected


def test_structured_selector_with_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="not a valid label selector operator"):
        selectors.label_selector_predicate({"matchExpressions": [{"key": "a", "operator": "Near"}]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metadata.name=p", True),
        ("metadata.name!=p", False),
        ("spec.nodeName=n", True),
        ("spec.nodeName=", False),
        ("status.phase=Running,spec.nodeName==n", True),
        ("status.phase=Pending,spec.nodeName=n", False),
        ("spec.hostNetwork=false", False),
        ("spec.hostNetwork=true", True),
        ("status.podIP=", True),
        ("", True),
    ],
)
def test_field_selector_on_pods(text: str, *, expected: bool) -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {"nodeName": "n", "hostNetwork": True},
        "status": {"phase": "Running"},
    }
    assert selectors.field_predicate(text, PODS)(pod) is expected


def test_event_fields_are_those_of_their_group() -> None:
    event = {"metadata": {}, "involvedObject": {"name": "p"}, "source": {"component": "kubelet"}}
    assert selectors.field_predicate("involvedObject.name=p,source=kubelet", CORE_EVENTS)(event)
    assert selectors.field_predicate("regarding.name=p", NEW_EVENTS)({"metadata": {}, "regarding": {"name": "p"}})
    with pytest.raises(StatusError, match="regarding"):
        selectors.field_predicate("regarding.name=p", CORE_EVENTS)


@pytest.mark.parametrize("text", ["spec.containers=x", "nonsense", "status.phase"])
def test_field_selector_that_is_not_offered_is_refused(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        selectors.field_predicate(text, PODS)
    assert caught.value.code == 400


def test_escaped_characters_belong_to_the_value() -> None:
    matches = selectors.field_predicate(r"metadata.name=a\,b\=c\\d", PODS)
    assert matches({"metadata": {"name": r"a,b=c\d"}})


def test_exact_name_is_only_given_for_one_name() -> None:
    assert selectors.exact_name("metadata.name=x") == "x"
    assert selectors.exact_name("metadata.name==x") == "x"
    assert selectors.exact_name("metadata.name=x,status.phase=y") is None
    assert selectors.exact_name("metadata.name!=x") is None
