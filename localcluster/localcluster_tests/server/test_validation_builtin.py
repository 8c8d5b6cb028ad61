"""What built-in kinds refuse, in the words of a real API server (1.37). Every expectation was read off one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcluster.server import schema
from localcluster.server.builtin import BUILTIN
from localcluster.server.builtin_defaults import complete_created
from localcluster.server.types import Object, ResourceType


def builtin(plural: str, group: str | None = None) -> ResourceType:
    return next(rtype for rtype in BUILTIN if rtype.plural == plural and group in (None, rtype.group))


def named(**fields: Any) -> Object:
    return {"metadata": {"name": "n", "namespace": "default", "uid": "u-1"}, **fields}


def causes(plural: str, obj: Object, old: Object | None = None, *, group: str | None = None) -> list[str]:
    rtype = builtin(plural, group)
    found = copy.deepcopy(obj)
    schema.apply_defaults(found, rtype)
    if old is None:
        complete_created(found, rtype)
    return [str(cause) for cause in schema.validate(found, old, rtype)]


def stored(plural: str, obj: Object) -> Object:
    """``obj`` as the server stores it. It must be valid."""
    rtype = builtin(plural)
    found = copy.deepcopy(obj)
    schema.apply_defaults(found, rtype)
    complete_created(found, rtype)
    assert schema.validate(found, None, rtype) == []
    return found


SECRETS: list[tuple[Object, list[str]]] = [
    ({"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
    ({"data": {"a": "*"}}, ['data[a]: Invalid value: "*": must be base64 encoded']),
    (
        {"data": {"a b": "YQ=="}},
        [
            (
                'data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '
                "'-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                "'[-._a-zA-Z0-9]+')"
            )
        ],
    ),
    ({"data": {"..": "YQ=="}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
]


@pytest.mark.parametrize(("fields", "expected"), SECRETS)
def test_a_secret_is_refused_with_its_reasons(fields: Object, expected: list[str]) -> None:
    assert causes("secrets", named(**fields)) == expected


def test_a_secret_keeps_its_type_and_an_immutable_one_its_data() -> None:
    old = stored("secrets", named(data={"a": "YQ=="}, immutable=True))
    changed = {**old, "type": "x", "data": {"a": "Yg=="}}
    assert causes("secrets", changed, old) == [
        'type: Invalid value: "x": field is immutable',
        "data: Forbidden: field is immutable when `immutable` is set",
    ]
    loosened = {key: value for key, value in old.items() if key != "immutable"}
    assert causes("secrets", loosened, old) == ["immutable: Forbidden: field is immutable when `immutable` is set"]


def test_a_config_map_is_bounded_and_has_each_key_once() -> None:
    assert causes("configmaps", named(data={"a": "x"}, binaryData={"a": "eA=="})) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]
    assert causes("configmaps", named(data={"a": "x" * 1_100_000})) == [
        "[]: Too long: may not be more than 1048576 bytes"
    ]


SERVICES: list[tuple[Object, list[str]]] = [
    ({}, ["spec.ports: Required value"]),
    ({"clusterIP": "None"}, []),
    ({"type": "ExternalName"}, ["spec.externalName: Required value"]),
    (
        {"ports": [{"port": 0}]},
        [
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    ),
    (
        {"ports": [{"port": 1}, {"port": 2}]},
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    ),
    (
        {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]},
        ['spec.ports[1].name: Duplicate value: "a"'],
    ),
    (
        {"type": "X", "ports": [{"port": 1}]},
        [
            (
                'spec.type: Unsupported value: "X": supported values: '
                '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            )
        ],
    ),
]


@pytest.mark.parametrize(("spec", "expected"), SERVICES)
def test_a_service_is_refused_with_its_reasons(spec: Object, expected: list[str]) -> None:
    assert causes("services", named(spec=spec)) == expected


RULES: list[tuple[Object, list[str]]] = [
    ({"apiGroups": [""], "resources": ["pods"]}, ["rules[0].verbs: Required value"]),
    (
        {"apiGroups": [""], "verbs": ["get"]},
        ["rules[0].resources: Required value: resource rules must supply at least one resource"],
    ),
    (
        {"resources": ["pods"], "verbs": ["get"]},
        ["rules[0].apiGroups: Required value: resource rules must supply at least one api group"],
    ),
    (
        {"nonResourceURLs": ["/x"], "verbs": ["get"]},
        ['rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs'],
    ),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_a_role_is_refused_with_its_reasons(rule: Object, expected: list[str]) -> None:
    assert causes("roles", named(kind="Role", rules=[rule])) == expected


def test_a_cluster_role_may_name_urls() -> None:
    role = {"metadata": {"name": "n"}, "kind": "ClusterRole", "rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}
    assert causes("clusterroles", role) == []


def test_a_binding_names_a_role_and_known_subjects_and_keeps_its_role() -> None:
    role = {"kind": "Role", "name": "r"}
    subjects = [{"kind": "X", "name": "a"}, {"kind": "ServiceAccount", "name": "a"}, {"kind": "User", "name": ""}]
    assert causes("rolebindings", named(kind="RoleBinding", roleRef=role, subjects=subjects)) == [
        'subjects[0].kind: Unsupported value: "X": supported values: "ServiceAccount", "User", "Group"',
        "subjects[2].name: Required value",
    ]
    assert causes("rolebindings", named(kind="RoleBinding", roleRef={"kind": "X", "name": ""})) == [
        'roleRef.kind: Unsupported value: "X": supported values: "Role", "ClusterRole"',
        "roleRef.name: Required value",
    ]
    old = stored("rolebindings", named(kind="RoleBinding", roleRef=role))
    moved = {**old, "roleRef": {**old["roleRef"], "name": "other"}}
    (told,) = causes("rolebindings", moved, old)
    assert told.startswith("roleRef: Invalid value: {")
    assert told.endswith("field is immutable")


def test_a_lease_lasts_and_counts_upwards() -> None:
    assert causes("leases", named(spec={"leaseDurationSeconds": 0, "leaseTransitions": -1})) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ]


def test_a_namespace_is_a_label() -> None:
    assert causes("namespaces", {"metadata": {"name": "a.b"}}) == [
        'metadata.name: Invalid value: "a.b": must not contain dots'
    ]


def test_an_event_lives_where_its_subject_lives() -> None:
    about = {"kind": "Pod", "name": "p", "namespace": "other"}
    assert causes("events", named(involvedObject=about), group="") == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]
    assert causes("events", named(regarding={"namespace": "default"}, type="X"), group="events.k8s.io") == [
        "eventTime: Required value",
        'type: Invalid value: "": has invalid value: X',
    ]


def test_what_stays_as_it_was_is_not_validated_again() -> None:
    faulty = named(spec={"containers": []})
    schema.apply_defaults(faulty, builtin("pods"))

    assert causes("pods", faulty) != []
    assert causes("pods", {**faulty, "status": {"phase": "Running"}}, old=faulty) == []
    assert causes("pods", {**faulty, "spec": {"containers": [{}]}}, old=faulty) != []
