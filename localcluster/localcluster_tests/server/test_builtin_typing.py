"""Objects of built-in kinds as a typed server reads them."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import builtin_typing
from localcluster.server.builtin_typing import WrongTypeError


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def conformed(obj: dict[str, Any]) -> dict[str, Any]:
    builtin_typing.conform(obj)
    return obj


def test_what_is_as_good_as_absent_is_dropped() -> None:
    obj = pod(nodeName="", hostNetwork=False, volumes=[], nodeSelector={}, containers=[{"name": "c", "env": None}])
    assert conformed(obj)["spec"] == {"containers": [{"name": "c"}]}


def test_what_means_something_when_empty_is_kept() -> None:
    obj = pod(
        containers=[{"name": "", "resources": {}}],
        volumes=[{"name": "v", "emptyDir": {}}],
        securityContext={},
        terminationGracePeriodSeconds=0,
        automountServiceAccountToken=False,
    )
    before = {**obj["spec"]}
    assert conformed(obj)["spec"] == before


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (pod(containers=[{"name": 1}]), "json: cannot unmarshal number into Go struct field Container.spec.containers"),
        (
            pod(containers={}),
            "cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (pod(hostNetwork="yes"), "cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        (pod(nodeSelector={"a": 1}), "of type string"),
        (pod(activeDeadlineSeconds=True), "cannot unmarshal bool"),
        (pod(nodeSelector=[]), "cannot unmarshal array"),
        ({"apiVersion": "v1", "kind": "Secret", "data": {"a": "*b="}}, "illegal base64 data at input byte 0"),
        ({"apiVersion": "v1", "kind": "Event", "lastTimestamp": "yesterday"}, 'parsing time "yesterday"'),
        ({"apiVersion": "v1", "kind": "Event", "lastTimestamp": "2026-13-01T00:00:00Z"}, "parsing time"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}}, "ConfigMap.data of type string"),
    ],
)
def test_a_value_of_another_type_is_refused(obj: dict[str, Any], text: str) -> None:
    with pytest.raises(WrongTypeError) as caught:
        builtin_typing.conform(obj)
    assert text in str(caught.value)


def test_quantities_and_ports_take_numbers_and_text() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}
    probe = {"livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"httpGet": {"port": 80}}}
    conformed(pod(containers=[{**container, **probe}]))


def test_other_kinds_and_unknown_fields_pass() -> None:
    obj = {"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"a": None}}
    assert conformed(obj) == {"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"a": None}}
    assert conformed(pod(bogus=None))["spec"] == {"bogus": None}
