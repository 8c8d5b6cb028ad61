"""Our manifests as users install them: kubectl has no complaints, and explains every kind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from core.api.kinds import KINDS
from core.api.resource import Resource
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifest_schemas import FILE_NAMES, write_schema_of, write_schemas
from tests.integration.clean_slate import MARK
from tests.integration.operator_cluster import OPERATOR_NAMESPACE
from tools.control_plane.binaries import MissingBinariesError, ensure_tool
from tools.control_plane.session import SessionCluster

ROOT = Path(__file__).parents[2]
DEFINITIONS = ROOT / "manifests" / "crds"
BOTH_VERSIONS = ROOT / "manifests" / "conversion"
"""Has a patch of the definition of Stories, which kustomize applies."""
OF_OTHERS = (ROOT / "manifests" / "cert-manager", ROOT / "manifests" / "observability")
"""Contain kinds that only cert-manager and the Prometheus Operator define, and a file for Prometheus."""
DOCUMENTS = [
    *(path for path in sorted(ROOT.glob("manifests/**/*.yaml")) if path.parent not in (BOTH_VERSIONS, *OF_OTHERS)),
    ROOT / "examples/weather/manifests.yaml",
    ROOT / "examples/hello/hello.yaml",
]
RESOURCES = [kind.resource for kind in KINDS]


@pytest.fixture(scope="session")
def kubectl(real_cluster: SessionCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(real_cluster, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session")
def installed(kubectl: Kubectl) -> Kubectl:
    """kubectl on a cluster with our definitions and the operator's namespace."""
    metadata = {"name": OPERATOR_NAMESPACE, "labels": {MARK: "true"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(namespace))
    kubectl("apply", "--server-side", "--force-conflicts", f"--filename={DEFINITIONS}")
    kubectl("wait", "--for=condition=Established", f"--filename={DEFINITIONS}", "--timeout=60s")
    return kubectl


@pytest.mark.parametrize("how", ["new", "again", "dry run"])
def test_definitions_are_applied_without_a_warning(kubectl: Kubectl, how: str) -> None:
    options = ["--dry-run=server"] if how == "dry run" else ["--force-conflicts"]

    done = kubectl("apply", "--server-side", *options, f"--filename={DEFINITIONS}")

    assert done.err == ""
    assert len(done.out.splitlines()) == len(KINDS)


def test_everything_else_is_applied_without_a_warning(installed: Kubectl) -> None:
    folders = sorted({path.parent for path in DOCUMENTS if path.is_relative_to(ROOT / "manifests")} - {DEFINITIONS})
    for option in (*(f"--filename={folder}" for folder in folders), f"--kustomize={BOTH_VERSIONS}"):
        done = installed("apply", "--server-side", "--force-conflicts", "--dry-run=server", option)

        assert done.err == ""


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_a_kind_is_explained(installed: Kubectl, resource: Resource) -> None:
    plural, group = resource.plural, resource.group
    done = installed("explain", f"{plural}.{group}", "--recursive")

    assert f"KIND:       {resource.kind}" in done.out
    fields = done.out.partition("FIELDS:")[2]
    assert "spec\t" in fields
    assert installed("explain", f"{plural}.{group}.spec").out.partition("DESCRIPTION:")[2].split("FIELDS:")[0].strip()


def test_kubeconform_accepts_every_manifest(installed: Kubectl, tmp_path: Path) -> None:
    try:
        kubeconform = ensure_tool("kubeconform")
    except MissingBinariesError as missing:
        pytest.skip(str(missing))
    for definition in YAML(typ="safe").load_all(installed("kustomize", str(BOTH_VERSIONS)).out):
        write_schema_of(definition, tmp_path)  # Stories are served in v1beta1 only with the conversion
    paths = json.loads(installed("get", "--raw=/openapi/v3").out)["paths"]
    for path, entry in paths.items():
        if path.startswith("api"):
            write_schemas(json.loads(installed("get", f"--raw={entry['serverRelativeURL']}").out), tmp_path)
    command = [str(kubeconform), "-strict", "-summary", f"-schema-location={tmp_path}/{FILE_NAMES}"]

    done = subprocess.run([*command, *map(str, DOCUMENTS)], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Skipped: 0" in done.stdout
