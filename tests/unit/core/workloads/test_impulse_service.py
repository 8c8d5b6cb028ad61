"""The Service of a listener, and what changes in a stored one."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.impulse_service import (
    is_service_name,
    listener_service,
    must_be_replaced,
    service_correction,
    service_ports,
)
from core.workloads.impulse_workload import ListenerMode
from kubewire import apply_merge_patch, copy_value
from tests.unit.core.workloads.impulse_samples import LABELS, OWNER, listening, template

PORTS = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]
MANAGED = "bubustack.io/managed-keys"


def service(ports: list[Object] | None = None, *, mode: str = "deployment", **settings: Any) -> Object:
    return listener_service(listening(mode=ListenerMode(mode)), ports or PORTS, settings)


def stored(wanted: Object) -> Object:
    """The Service as an API server has it: with the fields that it fills in."""
    obj: Object = copy_value(wanted)
    obj["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    obj["spec"] = {
        "clusterIP": "10.0.0.7",
        "clusterIPs": ["10.0.0.7"],
        "ipFamilies": ["IPv4"],
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "externalTrafficPolicy": "Cluster",
        **obj["spec"],
    }
    obj["spec"]["ports"] = [{**port, "nodePort": 30000} for port in obj["spec"]["ports"]]
    return obj


def test_the_ports_of_the_template_have_numeric_targets_and_a_protocol() -> None:
    ports = [{"port": 80, "targetPort": 8080, "name": "http"}, {"port": 53, "targetPort": 53, "protocol": "UDP"}]
    assert service_ports(template(execution={"service": {"ports": ports}})) == [
        PORTS[0],
        {"protocol": "UDP", "port": 53, "targetPort": 53},
    ]
    assert service_ports(template()) == []


def test_a_service_selects_the_pods_and_is_controlled_by_the_impulse() -> None:
    made = service()
    assert made["metadata"]["name"] == "voice-hook-livekit-webhook-impulse"
    assert made["metadata"]["ownerReferences"] == [OWNER]
    assert made["metadata"]["labels"] == LABELS
    assert made["spec"] == {"type": "ClusterIP", "selector": LABELS, "ports": PORTS}


def test_the_impulse_adds_labels_annotations_and_a_type_but_does_not_hide_whose_service_it_is() -> None:
    made = service(type="NodePort", labels={"a": "b", "app.kubernetes.io/name": "x"}, annotations={"dns": "hook"})
    assert made["spec"]["type"] == "NodePort"
    assert made["metadata"]["labels"] == {"a": "b", **LABELS}
    assert made["metadata"]["annotations"]["dns"] == "hook"


@pytest.mark.parametrize(
    ("mode", "settings", "address"),
    [
        ("deployment", {}, None),
        ("statefulset", {}, "None"),
        ("statefulset", {"type": "ClusterIP"}, "None"),
        ("statefulset", {"type": "LoadBalancer"}, None),
    ],
)
def test_the_service_of_a_stateful_set_is_headless(mode: str, settings: Object, address: str | None) -> None:
    assert service(mode=mode, **settings)["spec"].get("clusterIP") == address


def test_a_service_cannot_become_headless_or_stop_being_it() -> None:
    plain, headless = service(), service(mode="statefulset")
    assert must_be_replaced(stored(plain), headless)
    assert must_be_replaced(headless, plain)
    assert not must_be_replaced(stored(plain), plain)
    assert not must_be_replaced(headless, headless)


def test_what_the_server_fills_in_and_what_others_write_is_no_change() -> None:
    wanted = service(type="NodePort", labels={"a": "b"})
    have = stored(wanted)
    have["metadata"]["labels"]["team"] = "x"
    have["metadata"]["annotations"]["cloud.example/address"] = "1.2.3.4"
    assert service_correction(have, wanted) == {}


def test_what_somebody_changed_comes_back_and_what_is_theirs_stays() -> None:
    wanted = service(labels={"a": "b"})
    have = stored(wanted)
    have["metadata"]["labels"] |= {"a": "other", "team": "x"}
    have["spec"]["selector"] = {**LABELS, "app": "stranger"}
    have["spec"]["ports"] = [*have["spec"]["ports"], {"port": 22, "targetPort": 22}]
    result = apply_merge_patch(have, service_correction(have, wanted))
    assert result["metadata"]["labels"] == {"a": "b", "team": "x", **LABELS}
    assert result["spec"]["selector"] == LABELS
    assert result["spec"]["ports"] == PORTS
    assert result["spec"]["clusterIP"] == "10.0.0.7"


def test_a_key_that_is_not_wanted_any_more_is_removed_and_only_if_we_wrote_it() -> None:
    have = stored(service(labels={"a": "b"}, annotations={"dns": "hook", "kept": "1"}))
    have["metadata"]["labels"]["team"] = "x"
    have["metadata"]["annotations"]["cloud.example/address"] = "1.2.3.4"
    wanted = service(annotations={"kept": "1"})
    result = apply_merge_patch(have, service_correction(have, wanted))
    assert result["metadata"]["labels"] == {"team": "x", **LABELS}
    assert set(result["metadata"]["annotations"]) == {"kept", "cloud.example/address", MANAGED}
    assert service_correction(result, wanted) == {}


@pytest.mark.parametrize(("text", "is_name"), [("hook", True), ("a" * 63, True), ("a" * 64, False), ("a.b", False)])
def test_a_service_name_is_a_dns_label(text: str, is_name: bool) -> None:
    assert is_service_name(text) is is_name
    assert not is_service_name("")
    assert not is_service_name("Hook")
