"""Which documents of a file may run commands that their author chose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.manifests import Manifest
from cli.workflow import foreign
from core.api.objects import Object
from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted


def document(api_version: str, kind: str, spec: Object | None = None) -> Manifest:
    found = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec or {}}
    return Manifest(found, "theirs.yaml", 1, {"kind": 2})


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Pod"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "DaemonSet"),
        ("argoproj.io/v1alpha1", "Workflow"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
        ("example.com/v1", "Secret"),
    ],
)
def test_kinds_that_are_neither_ours_nor_plain_data_are_named(api_version: str, kind: str) -> None:
    assert list(foreign([document(api_version, kind)])) == [f"theirs.yaml:2: {kind} 'x'"]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Namespace"),
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("v1", "PersistentVolumeClaim"),
        ("bubustack.io/v1alpha1", "Story"),
        ("bubustack.io/v1alpha1", "Engram"),
        ("catalog.bubustack.io/v1alpha1", "EngramTemplate"),
        ("runs.bubustack.io/v1alpha1", "StoryRun"),
        ("policy.bubustack.io/v1alpha1", "ReferenceGrant"),
    ],
)
def test_our_kinds_and_plain_data_are_not(api_version: str, kind: str) -> None:
    assert list(foreign([document(api_version, kind)])) == []


def test_a_command_in_the_probes_of_a_template_is_named() -> None:
    probes = {"liveness": {"httpGet": {"port": 80}}, "startup": {"exec": {"command": ["sh", "-c", "evil"]}}}
    template = document("catalog.bubustack.io/v1alpha1", "EngramTemplate", {"execution": {"probes": probes}})
    assert list(foreign([template])) == [
        "theirs.yaml:1: EngramTemplate 'x' runs a command (spec.execution.probes.startup.exec)"
    ]


def test_the_command_and_the_arguments_of_an_image_without_an_sdk_are_named() -> None:
    container = {"command": ["sh", "-c", "evil"], "args": ["x"], "result": {"from": "stdout"}}
    template = document("catalog.bubustack.io/v1alpha1", "EngramTemplate", {"container": container})
    assert list(foreign([template])) == [
        f"theirs.yaml:1: EngramTemplate 'x' runs a command (spec.container.{key})" for key in ("command", "args")
    ]


def test_the_scripts_of_a_story_are_named_in_both_versions() -> None:
    script = {"name": "a", "run": "evil", "image": "busybox"}
    plain = {"name": "b", "ref": {"name": "x"}, "with": {"run": "data"}}
    old = {"steps": [plain, {"name": "p", "type": "parallel", "with": {"steps": [script]}}], "finally": [script]}
    new = {"steps": [{"name": "p", "parallel": {"steps": [plain, script]}}], "compensations": [script]}
    typed = document(V1BETA1, "Story", new)
    found = [
        *foreign([document("bubustack.io/v1alpha1", "Story", old)]),
        *foreign([replace(typed, document=converted(typed.document, V1ALPHA1), written=typed.document)]),
    ]
    places = ("steps[1].with.steps[0]", "finally[0]", "steps[0].with.steps[1]", "compensations[0]")
    assert found == [
        f"theirs.yaml:1: Story 'x' runs a command (spec.{place}.run)" for place in sorted(places, key=places.index)
    ]


@pytest.mark.parametrize("odd", [{"steps": "x"}, {"steps": ["x"]}, {"steps": [{"with": {"steps": [1]}}]}])
def test_an_odd_story_is_left_to_the_checks_of_manifests(odd: Object) -> None:
    assert list(foreign([document("bubustack.io/v1alpha1", "Story", odd)])) == []


@pytest.mark.parametrize(
    "odd", [{"container": "x"}, {"execution": "x"}, {"execution": {"probes": ["x"]}}, {"execution": None}]
)
def test_what_is_odd_is_left_to_the_checks_of_manifests(odd: Object) -> None:
    assert list(foreign([document("catalog.bubustack.io/v1alpha1", "EngramTemplate", odd)])) == []
