"""The scale of built-in and of custom objects."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import scale
from localcluster.server.errors import StatusError
from localcluster.server.types import ResourceType, resource_types_of_crd

PATHS = {"specReplicasPath": ".spec.size.wanted", "statusReplicasPath": ".status.count"}


def kind(**paths: str) -> ResourceType:
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"scale": {**PATHS, **paths}}}
    names = {"plural": "things", "kind": "Thing"}
    (found,) = resource_types_of_crd({"spec": {"group": "example.com", "names": names, "versions": [version]}})
    return found


def thing(**fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one", "uid": "u"}, **fields}


def test_a_custom_kind_says_where_its_replicas_are() -> None:
    obj = thing(spec={"size": {"wanted": 3}}, status={"count": 2, "selector": "a=b"})
    shown = scale.scale_of(obj, kind(labelSelectorPath=".status.selector"))
    assert shown["spec"] == {"replicas": 3}
    assert shown["status"] == {"replicas": 2, "selector": "a=b"}


def test_what_a_custom_object_does_not_say_is_nothing_or_refused() -> None:
    shown = scale.scale_of(thing(spec={"size": {"wanted": 0}}), kind())
    assert (shown["spec"], shown["status"]) == ({}, {"replicas": 0})
    with pytest.raises(StatusError) as caught:
        scale.scale_of(thing(spec={}), kind())
    assert 'the spec replicas field ".spec.size.wanted" does not exist' in str(caught.value)
