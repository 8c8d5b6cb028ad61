"""Protobuf bodies, encoded here by hand in the way that Kubernetes encodes them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from localcluster.server.builtin import BUILTIN
from localcluster.server.protobuf import decoding, layout
from localcluster.server.protobuf.decoding import ProtobufError


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = field(1, api_version) + field(2, kind)
    return b"k8s\x00" + field(1, type_meta) + field(2, raw) + field(3, "") + field(4, "")


def entry(key: str, value: str | bytes) -> bytes:
    return field(1, key) + field(2, value)


def metadata(name: str) -> bytes:
    return field(1, name) + field(2, "") + field(3, "default") + field(4, "") + field(7, 0) + field(8, b"")


def test_a_config_map_is_read() -> None:
    raw = field(1, metadata("c")) + field(2, entry("a", "b")) + field(3, entry("bin", b"\x00\xff")) + field(4, 1)
    assert decoding.decode(envelope("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"},
        "data": {"a": "b"},
        "binaryData": {"bin": base64.b64encode(b"\x00\xff").decode()},
        "immutable": True,
    }


def test_a_pod_is_read_with_its_embedded_and_special_types() -> None:
    port = field(1, "http") + field(2, 0) + field(3, 80) + field(4, "TCP") + field(5, "")
    limit = entry("cpu", field(1, "500m"))
    reference = field(1, field(1, "s")) + field(2, "key") + field(3, 0)
    env = field(1, "A") + field(2, "") + field(3, field(4, reference))
    container = field(1, "c") + field(2, "i") + field(3, "sh") + field(3, "-c") + field(6, port) + field(7, env)
    container += field(8, field(1, limit)) + field(16, 0)
    volume = field(1, "v") + field(2, field(2, field(1, "") + b""))
    spec = field(1, volume) + field(2, container) + field(3, "Never") + field(4, 0) + field(5, 30)
    obj = decoding.decode(envelope("v1", "Pod", field(1, metadata("p")) + field(2, spec) + field(3, field(1, ""))))
    assert obj["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [
            {
                "name": "c",
                "image": "i",
                "command": ["sh", "-c"],
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key", "optional": False}}}],
                "resources": {"limits": {"cpu": "500m"}},
            }
        ],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "activeDeadlineSeconds": 30,
    }


def test_a_zero_behind_a_pointer_is_kept() -> None:
    raw = field(1, metadata("d")) + field(2, field(1, 0))
    assert decoding.decode(envelope("apps/v1", "Deployment", raw))["spec"] == {"replicas": 0}


def test_times_and_lists_of_strings_are_read() -> None:
    lease = field(1, metadata("l")) + field(
        2, field(1, "me") + field(4, field(1, 1_700_000_000) + field(2, 123_456_000))
    )
    assert decoding.decode(envelope("coordination.k8s.io/v1", "Lease", lease))["spec"] == {
        "holderIdentity": "me",
        "renewTime": "2023-11-14T22:13:20.123456Z",
    }
    spec = field(3, "bob") + field(4, "g1") + field(4, "g2") + field(5, entry("k", field(1, "x") + field(1, "y")))
    review = decoding.decode(envelope("authorization.k8s.io/v1", "SubjectAccessReview", field(2, spec)))
    assert review["spec"] == {"user": "bob", "groups": ["g1", "g2"], "extra": {"k": ["x", "y"]}}


def test_negative_numbers_are_read() -> None:
    raw = field(1, "v1") + field(1, -1)
    with pytest.raises(ProtobufError):
        decoding.decode(envelope("v1", "DeleteOptions", raw))
    assert decoding.decode(envelope("v1", "DeleteOptions", field(1, -1)))["gracePeriodSeconds"] == -1


def test_fields_of_a_newer_kubernetes_are_skipped() -> None:
    raw = (
        field(1, metadata("c"))
        + field(900, "new")
        + varint(901 << 3 | 5)
        + b"\0\0\0\0"
        + varint(902 << 3 | 1)
        + b"\0" * 8
    )
    assert decoding.decode(envelope("v1", "ConfigMap", raw))["metadata"]["name"] == "c"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"{}", "prefix"),
        (b"k8s\x00", "no kind"),
        (envelope("example.com/v1", "Widget", b""), "send it as JSON"),
        (envelope("v1", "ConfigMap", field(1, metadata("c")))[:-20], "ends"),
        (envelope("v1", "ConfigMap", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "64 bits"),
        (envelope("v1", "ConfigMap", b"\x0b"), "wire type"),
        (envelope("v1", "ConfigMap", field(1, field(1, b"\xff\xfe"))), "malformed"),
    ],
    ids=["json", "empty", "custom", "truncated", "endless", "group", "utf-8"],
)
def test_a_malformed_body_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(ProtobufError, match=text):
        decoding.decode(raw)


def test_every_stored_built_in_kind_has_a_layout() -> None:
    without: list[Any] = [
        resource.kind for resource in BUILTIN if layout.message_of(resource.api_version, resource.kind) is None
    ]
    assert without == ["CustomResourceDefinition"]
