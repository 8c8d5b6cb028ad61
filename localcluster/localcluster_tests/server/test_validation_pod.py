"""What Pods refuse, in the words of a real API server (1.37), including volumes and quantities."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcluster.server import schema
from localcluster.server.builtin import BUILTIN
from localcluster.server.types import Object
from localcluster.server.validation_quantity import amount

PODS = next(rtype for rtype in BUILTIN if rtype.plural == "pods")
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VOLUME = {"name": "v", "emptyDir": {}}


def pod(spec: Object | None = None, **container: Any) -> Object:
    first = {"name": "a", "image": "x", **container}
    obj: Object = {"metadata": {"name": "p"}, "spec": {"containers": [first], **(spec or {})}}
    schema.apply_defaults(obj, PODS)
    return obj


def causes(obj: Object, old: Object | None = None) -> list[str]:
    return [str(cause).removeprefix("spec.containers[0]") for cause in schema.validate(obj, old, PODS)]


CONTAINERS: list[tuple[Object, list[str]]] = [
    ({"image": ""}, [".image: Required value"]),
    ({"name": ""}, [".name: Required value"]),
    ({"name": "A_"}, [f'.name: Invalid value: "A_": {LABEL_RULE}']),
    ({"image": " x"}, ['.image: Invalid value: " x": must not have leading or trailing whitespace']),
    ({"volumeMounts": [{"name": "v", "mountPath": "/x"}]}, ['.volumeMounts[0].name: Not found: "v"']),
    ({"env": [{"value": "x"}]}, [".env[0].name: Required value"]),
    (
        {"env": [{"name": "a=b"}]},
        [
            (
                '.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
                "ASCII characters other than '='"
            )
        ],
    ),
    (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        ['.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]},
        [
            (
                '.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": '
                "error converting fieldPath: field label not supported: spec.foo"
            )
        ],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x"}}}]},
        [".env[0].valueFrom.secretKeyRef.key: Required value"],
    ),
    (
        {"envFrom": [{"prefix": "x"}]},
        ['.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'],
    ),
    ({"ports": [{}]}, [".ports[0].containerPort: Required value"]),
    (
        {"ports": [{"containerPort": 70000}]},
        [".ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    (
        {"imagePullPolicy": "X"},
        ['.imagePullPolicy: Unsupported value: "X": supported values: "Always", "IfNotPresent", "Never"'],
    ),
    (
        {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}},
        ['.resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1'],
    ),
    (
        {"resources": {"limits": {"cpu": "-1"}}},
        [
            '.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            '.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ],
    ),
    ({"livenessProbe": {}}, [".livenessProbe: Required value: must specify a handler type"]),
    (
        {"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
        [".livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
    ),
    (
        {"terminationMessagePolicy": "X"},
        ['.terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"'],
    ),
]

SPECS: list[tuple[Object, list[str]]] = [
    ({"containers": []}, ["spec.containers: Required value"]),
    (
        {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]},
        ['spec.containers[1].name: Duplicate value: "a"'],
    ),
    (
        {"restartPolicy": "Sometimes"},
        ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
    ),
    (
        {"activeDeadlineSeconds": 0},
        ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    ),
    (
        {"volumes": [{**VOLUME, "secret": {"secretName": "x"}}]},
        ["spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"],
    ),
    ({"volumes": [VOLUME, VOLUME]}, ['spec.volumes[1].name: Duplicate value: "v"']),
    ({"volumes": [{"name": "v", "secret": {}}]}, ["spec.volumes[0].secret.secretName: Required value"]),
    ({"volumes": [{"name": "v", "configMap": {}}]}, ["spec.volumes[0].configMap.name: Required value"]),
    (
        {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "../x"}]}}]},
        ["spec.volumes[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..'"],
    ),
]


@pytest.mark.parametrize(("container", "expected"), CONTAINERS)
def test_a_container_is_refused_with_its_reasons(container: Object, expected: list[str]) -> None:
    assert causes(pod(**container)) == expected


@pytest.mark.parametrize(("spec", "expected"), SPECS)
def test_a_pod_is_refused_with_its_reasons(spec: Object, expected: list[str]) -> None:
    assert causes(pod(spec)) == expected


def test_mounts_have_paths_of_their_own() -> None:
    mounts = [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}, {"name": "v"}]
    assert causes(pod({"volumes": [VOLUME]}, volumeMounts=mounts)) == [
        '.volumeMounts[1].mountPath: Invalid value: "/x": must be unique',
        ".volumeMounts[2].mountPath: Required value",
    ]


def test_a_variable_may_be_named_twice() -> None:
    assert causes(pod(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])) == []


def test_an_existing_pod_changes_only_what_it_may() -> None:
    old = pod()
    renewed = copy.deepcopy(old)
    renewed["spec"]["containers"][0]["image"] = "y"
    renewed["spec"]["activeDeadlineSeconds"] = 5
    assert causes(renewed, old) == []
    bound = copy.deepcopy(old)
    bound["spec"]["nodeName"] = "n1"
    assert causes(bound, old) == []
    moved = copy.deepcopy(bound)
    moved["spec"]["nodeName"] = "n2"
    assert causes(moved, bound)[0].startswith("spec: Forbidden: pod updates may not change fields other than")
    grown = copy.deepcopy(old)
    grown["spec"]["containers"].append({"name": "b", "image": "x"})
    assert causes(grown, old) == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


@pytest.mark.parametrize(
    ("text", "same"),
    [("500m", "0.5"), ("1Ki", "1024"), ("1.5Gi", "1536Mi"), ("1e3", "1k"), ("0", "-0"), (2, "2"), (0.5, "500m")],
)
def test_amounts_are_compared_by_value(text: str | float, same: str) -> None:
    assert amount(text) == amount(same)
    assert amount(text) is not None


@pytest.mark.parametrize("text", ["abc", "", "1.2.3", "1Zi", "1e999999999"])
def test_what_is_no_amount_has_no_value(text: str) -> None:
    assert amount(text) is None
