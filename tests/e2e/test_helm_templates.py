"""What ``helm lint`` and ``helm template`` make of the chart: the objects of the Kustomize set, and valid ones."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from core.api.objects import Object
from tests.e2e.helm import CHART, Helm, open_helm
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifest_schemas import FILE_NAMES, definitions_of_others, write_schema_of, write_schemas
from tests.unit.deployment.chart_release import by_key, merged, release_objects
from tools.control_plane.binaries import ensure_tool
from tools.control_plane.session import SessionCluster
from tools.release.for_clusters import chart_package

ROOT = CHART.parents[2]
OF_OTHERS = ("observability/monitors.yaml", "observability/prometheusrule.yaml", "cert-manager/certificates.yaml")


@dataclass(frozen=True)
class ValueSet:
    """Values of a release. ``args``: what its managers get, where the values replace the flags."""

    values: dict[str, Any] = field(default_factory=dict)
    name: str = "bobrapet"
    namespace: str = "bobrapet-system"
    args: tuple[str, ...] = ()


_REFERENCE: dict[str, Any] = {
    "controllerManager": {
        "replicas": 1,
        "manager": {
            "args": [
                "--metrics-bind-address=:8443",
                "--health-probe-bind-address=:8081",
                "--config-namespace=bobrapet-system",
                "--config-name=bobrapet-operator-config",
                "--webhook-cert-path=/tmp/k8s-webhook-server/serving-certs",
            ],
            "image": {"repository": "ghcr.io/bubustack/bobrapet", "tag": "latest"},
        },
    },
    "webhookService": {"type": "ClusterIP", "ports": [{"port": 443, "protocol": "TCP", "targetPort": 9443}]},
    "operatorConfig": {"controllerStorageProvider": "s3", "controllerStorageS3Bucket": "data", "retryMaxRetries": "5"},
}
"""A file of values as for the chart of the reference."""
_PODS: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "commonLabels": {"team": "data", "app.kubernetes.io/name": "ignored"},
    "controllerManager": {
        "replicas": 3,
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"example.org/a": "{{ b }}"},
        "podLabels": {"tier": "control"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [],
        "podDisruptionBudget": {"minAvailable": "50%"},
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "manager": {
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "envFrom": [{"secretRef": {"name": "store"}}],
            "extraArgs": ["--log-level=debug"],
            "image": {"repository": "registry.example/bobrapet", "digest": "sha256:" + "0" * 64},
        },
    },
    "webhookService": {"annotations": {"example.org/a": "b"}, "labels": {"tier": "control"}},
    "metricsService": {"labels": {"tier": "control", "team": "sre"}},
    "webhooks": {"timeoutSeconds": 10},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Workflows"}},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}, "automount": False},
    "hub": {
        "env": [{"name": "A", "value": "1"}],
        "extraArgs": ["--metrics-bind-address=:8088", "-console-bind-address=[::]:9101"],
        "livenessProbe": {"timeoutSeconds": 5},
        "podLabels": {"tier": "data"},
        "priorityClassName": "system-cluster-critical",
        "service": {"annotations": {"example.org/a": "b"}, "labels": {"tier": "data"}},
    },
}
_ON_NODES: dict[str, Any] = {
    "controllerManager": {
        "replicas": 1,
        "leaderElection": False,
        "strategy": {"type": "Recreate"},
        "hostNetwork": True,
        "manager": {
            "livenessProbe": {"initialDelaySeconds": 60, "failureThreshold": 5},
            "extraArgs": ["--webhook-bind-address=:10250", "--health-probe-bind-address=:10251"],
        },
    },
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}},
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include "bobrapet.fullname" . }}-text}',
    ],
}
"""Where API servers reach no Pods, and with objects of the user."""
VALUE_SETS = {
    "defaults": ValueSet(),
    "another name and a namespace that looks like a number": ValueSet(name="flows", namespace="1234"),
    "a name of 53 characters": ValueSet(name="a" * 53, namespace="true"),
    "cert-manager": ValueSet({"certificates": {"certManager": {"enabled": True}}}, name="flows", namespace="team-a"),
    "an issuer of the cluster, another domain": ValueSet(
        {
            "kubernetesClusterDomain": "k8s.example",
            "certificates": {
                "certManager": {"enabled": True, "issuerRef": {"kind": "ClusterIssuer", "name": "shared-ca"}}
            },
        },
        args=("--webhook-names=bobrapet-webhook-service.bobrapet-system.svc.k8s.example",),
    ),
    "cert-manager, admission at an address": ValueSet(
        {
            "certificates": {"certManager": {"enabled": True, "issuerRef": {"kind": "Issuer", "name": "ours"}}},
            "webhooks": {"url": "https://[fd00::7]:8443/"},
        },
        args=("--webhook-names=fd00::7",),
    ),
    "without admission": ValueSet(
        {"webhooks": {"enabled": False}, "controllerManager": {"leaderElection": False, "replicas": 1}}
    ),
    "almost nothing": ValueSet(
        {
            "admissionPolicies": {"enabled": False},
            "hub": {"enabled": False},
            "networkPolicies": {"enabled": False},
            "rbac": {"people": False},
            "crds": {"keep": False},
            "serviceAccount": {"create": False},
            "controllerManager": {"replicas": 1},
        },
    ),
    "everything about Pods": ValueSet(_PODS),
    "monitoring, peers, settings": ValueSet(
        {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "rbac": {"metricsReaders": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": "monitoring"}]},
            "networkPolicies": {"admissionFrom": [{"ipBlock": {"cidr": "10.0.0.5/32"}}]},
            "operatorConfig": {"extra": {"storyrun.queue.night.concurrency": "2"}},
            "fullnameOverride": "flows",
        }
    ),
    "on the network of the nodes": ValueSet({**_ON_NODES, "extraObjects": []}),
    "values of the reference": ValueSet(_REFERENCE, name="flows", namespace="team-a"),
    "admission at a URL": ValueSet(
        {"webhooks": {"url": "https://admission.example:8443"}}, args=("--webhook-names=admission.example",)
    ),
}
ADDED = {
    *("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"),
    "team",
}
"""Labels that the chart adds to every object of these value sets."""


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return open_helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def schemas(steerable: SessionCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON Schemas of every kind of the API server, those of our definitions included, and of kinds of others."""
    kubectl, folder = Kubectl(steerable, tmp_path_factory.mktemp("kubectl")), tmp_path_factory.mktemp("schemas")
    for path, entry in json.loads(kubectl("get", "--raw=/openapi/v3").out)["paths"].items():
        if path.startswith("api"):
            write_schemas(json.loads(kubectl("get", f"--raw={entry['serverRelativeURL']}").out), folder)
    for definition in definitions_of_others():
        write_schema_of(definition, folder)
    return folder


def conforms(file: Path, schemas: Path) -> str:
    """The summary of kubeconform, which has accepted each object of the file."""
    command = [str(ensure_tool("kubeconform")), "-strict", "-summary", f"-schema-location={schemas}/{FILE_NAMES}"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_chart_has_no_faults(helm: Helm) -> None:
    for chosen in VALUE_SETS.values():
        said = helm("lint", "--strict", str(CHART), values=chosen.values)

        assert "WARNING" not in said
        assert "0 chart(s) failed" in said


@pytest.mark.parametrize("case", VALUE_SETS)
def test_helm_renders_the_objects_of_the_kustomize_set(helm: Helm, schemas: Path, case: str, tmp_path: Path) -> None:
    chosen = VALUE_SETS[case]
    whole = case in ("defaults", "without admission", "almost nothing", "cert-manager")
    values = chosen.values if whole else merged(chosen.values, {"crds": {"install": False}})  # a second of parsing

    text = helm("template", chosen.name, str(CHART), f"--namespace={chosen.namespace}", values=values)

    found = by_key(map(plain, YAML(typ="safe").load_all(text)))
    expected = release_objects(values, name=chosen.name, namespace=chosen.namespace)
    for obj in expected:
        obj["metadata"].get("labels", {}).pop("team", None)  # "plain" takes it from what was found
        if obj["kind"] == "Deployment" and not obj["metadata"]["name"].endswith("-hub"):
            (container,) = obj["spec"]["template"]["spec"]["containers"]
            container["args"] += chosen.args
            container["image"] = image_of(values)
        elif obj["kind"] == "Deployment":
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image_of(values)
    assert found == by_key(expected)
    (tmp_path / "rendered.yaml").write_text(text)
    assert "Skipped: 0" in conforms(tmp_path / "rendered.yaml", schemas)


@pytest.mark.parametrize("path", OF_OTHERS)
def test_manifests_of_kinds_of_others_are_valid_by_the_definitions_of_others(path: str, schemas: Path) -> None:
    said = conforms(ROOT / "manifests" / path, schemas)

    assert "Skipped: 0" in said
    assert "Valid: 0" not in said


def test_a_field_that_others_do_not_know_is_found(schemas: Path, tmp_path: Path) -> None:
    text = (ROOT / "manifests" / "observability" / "monitors.yaml").read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("scheme:", "schema:"))

    with pytest.raises(AssertionError, match="schema"):
        conforms(tmp_path / "wrong.yaml", schemas)


def plain(obj: Object) -> Object:
    """The object without the labels of the release, which every object has."""
    labels = obj["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "Helm"
    assert labels["helm.sh/chart"].startswith("bobrapet-")
    obj["metadata"]["labels"] = {key: text for key, text in labels.items() if key not in ADDED}
    return obj


def image_of(values: dict[str, Any]) -> str:
    image = {"repository": "bobrapet-py", **values.get("controllerManager", {}).get("manager", {}).get("image", {})}
    return (
        f"{image['repository']}@{image['digest']}"
        if "digest" in image
        else f"{image['repository']}:{version('bobrapet')}"
    )


def test_helm_reads_the_package_of_a_release_and_renders_what_it_renders_from_the_folder(
    helm: Helm, tmp_path: Path
) -> None:
    package = tmp_path / "bobrapet.tgz"
    package.write_bytes(chart_package(CHART.parents[2], "registry.example/team"))

    shown = YAML(typ="safe").load(helm("show", "chart", str(package)))
    assert (shown["name"], shown["version"]) == ("bobrapet", version("bobrapet"))
    image = {"controllerManager": {"manager": {"image": {"repository": "registry.example/team/bobrapet-py"}}}}
    assert helm("template", "bobrapet", str(package)) == helm("template", "bobrapet", str(CHART), values=image)


def test_a_wrong_value_is_refused_by_name(helm: Helm) -> None:
    done = helm.run("template", "bobrapet", str(CHART), values={"operatorConfig": {"retryMaxRetires": "3"}})

    assert done.returncode != 0
    assert "retryMaxRetires" in done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"leaderElection": False},
        {"manager": {"extraArgs": ["-leader-elect=false"]}},
        {"manager": {"extraArgs": ["--leader-elect", "--leader-elect=F"]}, "replicas": 3},
    ],
)
def test_several_managers_without_an_election_are_refused_with_a_remedy(helm: Helm, changes: dict[str, Any]) -> None:
    done = helm.run("template", "bobrapet", str(CHART), values={"controllerManager": changes})

    assert done.returncode != 0
    assert "controllerManager.leaderElection: must be true with more than one replica" in done.stderr
    assert "controllerManager.replicas to 1" in done.stderr


def test_an_argument_whose_name_begins_like_another_does_not_replace_it(helm: Helm) -> None:
    """The chart adds ``--leader-elect`` beside ``--leader-elect-lease-duration``; a flag of the user wins."""
    extra = ["--leader-election-id=ours", "-hub-endpoint=elsewhere:9000"]
    values = {"controllerManager": {"manager": {"extraArgs": extra}}, "crds": {"install": False}}

    text = helm("template", "bobrapet", str(CHART), values=values)

    found = [line.strip(' -"') for line in text.splitlines() if "leader-elect" in line or "hub-endpoint" in line]
    assert "leader-elect" in found
    assert [line for line in found if line.startswith("hub-endpoint")] == ["hub-endpoint=elsewhere:9000"]


def test_objects_of_the_user_are_templates_of_the_release(helm: Helm) -> None:
    values = merged(_ON_NODES, {"crds": {"install": False}})

    text = helm("template", "flows", str(CHART), "--show-only=templates/extra.yaml", values=values)

    assert [obj["metadata"]["name"] for obj in YAML(typ="safe").load_all(text)] == [
        "flows-extra",
        "flows-bobrapet-text",
    ]


_AXES: tuple[tuple[dict[str, Any], ...], ...] = (
    ({}, {"webhooks": {"enabled": False}}, {"webhooks": {"url": "https://admission.example:8443"}}),
    ({}, {"hub": {"enabled": False}}),
    (
        {},
        {"networkPolicies": {"enabled": False}},
        _PODS,
        _ON_NODES,
    ),
    ({}, {"admissionPolicies": {"enabled": False}, "serviceAccount": {"create": False}, "fullnameOverride": "flows"}),
)
MATRIX = [*product(*_AXES)]


def test_the_api_server_accepts_the_objects_of_48_value_sets(
    helm: Helm, steerable: SessionCluster, tmp_path: Path
) -> None:
    """Each object with strict validation of its fields; one that is the same in several sets is sent once."""
    assert len(MATRIX) == 48
    kubectl, sent = Kubectl(steerable, tmp_path), set[str]()
    for chosen in MATRIX:
        values: dict[str, Any] = {"crds": {"install": False}}
        for each in chosen:
            values = merged(values, each)
        text = helm("template", "matrix", str(CHART), "--namespace=default", "--no-hooks", values=values)
        documents = [each for each in text.split("---\n") if "\nkind: " in each and each not in sent]
        sent.update(documents)
        if not documents:
            continue
        strict = ("--server-side", "--dry-run=server", "--validate=strict", "--field-manager=helm")

        done = kubectl("apply", *strict, "--force-conflicts", "--filename=-", stdin="---\n".join(documents))

        assert done.err == "", values
        assert len(done.out.splitlines()) == len(documents), values
