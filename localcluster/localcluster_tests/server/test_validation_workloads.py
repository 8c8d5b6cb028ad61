"""What workloads refuse, in the words of a real API server (1.37)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcluster.server import schema
from localcluster.server.builtin import BUILTIN
from localcluster.server.builtin_defaults import complete_created
from localcluster.server.types import Object, ResourceType
from localcluster.server.validation_workloads import controller_revision_causes, selects

LABELS = {"a": "b"}


def builtin(plural: str) -> ResourceType:
    return next(rtype for rtype in BUILTIN if rtype.plural == plural)


def made(plural: str, labels: Object | None = None, restart: str | None = None, **spec: Any) -> Object:
    pod_spec: Object = {"containers": [{"name": "a", "image": "x"}]}
    if restart:
        pod_spec["restartPolicy"] = restart
    obj: Object = {
        "metadata": {"name": "n", "namespace": "default", "uid": "u-1"},
        "spec": {"template": {"metadata": {"labels": labels or {}}, "spec": pod_spec}, **spec},
    }
    schema.apply_defaults(obj, builtin(plural))
    complete_created(obj, builtin(plural))
    return obj


def causes(plural: str, obj: Object, old: Object | None = None) -> list[str]:
    return [str(cause) for cause in schema.validate(obj, old, builtin(plural))]


def test_a_job_needs_a_restart_policy_that_ends() -> None:
    needed = ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']
    assert causes("jobs", made("jobs")) == needed
    assert causes("jobs", made("jobs", restart="Always")) == needed
    assert causes("jobs", made("jobs", restart="OnFailure")) == []


def test_a_job_counts_upwards_and_selects_its_own_pods() -> None:
    assert causes("jobs", made("jobs", restart="Never", backoffLimit=-1, parallelism=-1)) == [
        "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
        "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
    ]
    foreign = made("jobs", restart="Never", selector={"matchLabels": {"a": "b"}})
    assert [told.split(":")[0] for told in causes("jobs", foreign)] == [
        "spec.selector",
        "spec.template.metadata.labels",
    ]
    manual = made("jobs", restart="Never", manualSelector=True)
    assert causes("jobs", manual)[0] == "spec.selector: Required value"


def test_a_job_keeps_its_template_and_completions_but_not_its_pace() -> None:
    old = made("jobs", restart="Never")
    changed = copy.deepcopy(old)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
    changed["spec"]["completions"] = 3
    assert causes("jobs", changed, old) == [
        "spec.completions: Invalid value: 3: field is immutable",
        'spec.template: Invalid value: "object": field is immutable',
    ]
    paced = copy.deepcopy(old)
    paced["spec"] |= {"parallelism": 3, "suspend": True, "backoffLimit": 1, "activeDeadlineSeconds": 9}
    assert causes("jobs", paced, old) == []


def test_a_suspended_job_may_still_be_sent_elsewhere() -> None:
    old = made("jobs", restart="Never", suspend=True)
    moved = copy.deepcopy(old)
    moved["spec"]["template"]["spec"]["nodeSelector"] = {"zone": "b"}
    assert causes("jobs", moved, old) == []
    old["status"] = {"startTime": "2024-01-01T00:00:00Z"}
    assert len(causes("jobs", moved, old)) == 1


DEPLOYMENTS: list[tuple[Object, list[str]]] = [
    (
        {"labels": {"x": "y"}, "selector": {"matchLabels": LABELS}},
        [('spec.template.metadata.labels: Invalid value: {"x":"y"}: `selector` does not match template `labels`')],
    ),
    (
        {"labels": LABELS, "selector": {}},
        ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    ),
    (
        {"labels": LABELS, "selector": {"matchLabels": LABELS}, "replicas": -1},
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        {"labels": LABELS, "selector": {"matchLabels": LABELS}, "restart": "Never"},
        ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ),
    (
        {
            "labels": LABELS,
            "selector": {"matchLabels": LABELS},
            "strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
        },
        ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    ),
    ({"labels": LABELS, "selector": {"matchLabels": LABELS}}, []),
]


@pytest.mark.parametrize(("fields", "expected"), DEPLOYMENTS)
def test_a_deployment_is_refused_with_its_reasons(fields: Object, expected: list[str]) -> None:
    assert causes("deployments", made("deployments", **fields)) == expected


def test_a_deployment_keeps_its_selector() -> None:
    old = made("deployments", labels=LABELS, selector={"matchLabels": LABELS})
    new = made("deployments", labels={"a": "c"}, selector={"matchLabels": {"a": "c"}})
    assert causes("deployments", new, old) == [
        'spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable'
    ]


def test_a_stateful_set_keeps_everything_but_its_size_and_template() -> None:
    old = made("statefulsets", labels=LABELS, selector={"matchLabels": LABELS}, serviceName="x")
    grown = copy.deepcopy(old)
    grown["spec"]["replicas"] = 5
    assert causes("statefulsets", grown, old) == []
    moved = copy.deepcopy(old)
    moved["spec"]["serviceName"] = "y"
    (told,) = causes("statefulsets", moved, old)
    assert told.startswith("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["b", "c"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["b"]}, False),
        ({"key": "z", "operator": "NotIn", "values": ["b"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "operator": "DoesNotExist"}, False),
    ],
)
def test_a_selector_term_holds_or_not(term: Object, expected: bool) -> None:
    assert selects({"matchExpressions": [term]}, LABELS) is expected


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"data": {"a": 1}, "revision": 0}, []),
        ({"revision": 0}, ["data: Required value: data is mandatory"]),
        ({"data": [], "revision": 0}, ["data: Required value: data must be a valid JSON object"]),
        (
            {"data": {}, "revision": -1},
            ["revision: Invalid value: -1: must be greater than or equal to 0"],
        ),
    ],
)
def test_a_revision_keeps_an_object(fields: Object, told: list[str]) -> None:
    assert [str(found) for found in controller_revision_causes(fields, None)] == told


def test_what_a_revision_keeps_stays() -> None:
    old = {"data": {"a": 1}, "revision": 1}
    assert list(controller_revision_causes({"data": {"a": 1}, "revision": 2}, old)) == []
    (found,) = controller_revision_causes({"data": {"a": 2}, "revision": 1}, old)
    assert str(found) == 'data: Invalid value: {"a":2}: field is immutable'
