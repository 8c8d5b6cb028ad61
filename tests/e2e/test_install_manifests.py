"""The whole installation with kubectl and kustomize, on a real API server: without warnings, and repeatable."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from certs.inject import DEFAULT_TARGETS
from core.api.keys import FIELD_MANAGER
from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from deployment import installer, metadata
from deployment.crds import packaged_crds
from deployment.permissions.table import OPERATOR_NAMESPACE
from tests.e2e.kubectl import Kubectl, Output
from tests.e2e.previous_release import unpacked_release
from tests.e2e.upgrading_page import commands_of_an_upgrade
from tools.control_plane.session import SessionCluster

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "manifests/default"
OVERLAY = ROOT / "manifests/cert-manager"
STORY_DEFINITION = ROOT / "manifests/crds/bubustack.io_stories.yaml"
BOTH_VERSIONS = ROOT / "manifests/conversion"
APPLY = ("apply", "--server-side", "--force-conflicts")
"""Earlier tests have applied parts of it with another field manager."""


BETWEEN = "\n---\n"
"""Separates the documents that kustomize writes. It writes apiVersion and kind of each in lines of their own."""


def the_only(kind: str, documents: Iterable[str], name: str = "bobrapet-controller-manager") -> Object:
    """The one document of this kind and name. Only this one is parsed, because all of them take seconds."""
    of_kind = [document for document in documents if f"\nkind: {kind}\n" in document]
    (text,) = [document for document in of_kind if f"\n  name: {name}\n" in document]
    found: Object = YAML(typ="safe", pure=True).load(text)
    return found


@pytest.fixture(scope="module")
def kubectl(steerable: SessionCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(steerable, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="module")
def installed(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A cluster with everything installed. Afterwards nothing is left that would disturb other tests."""
    kubectl(*APPLY, f"--kustomize={DEFAULT}")
    try:
        yield kubectl
    finally:
        kubectl("delete", "--ignore-not-found", f"--filename={ROOT / 'manifests/manager/configuration.yaml'}")
        for folder in ("webhooks", "policies"):  # in this order, as docs/install.md says
            kubectl("delete", "--ignore-not-found", f"--kustomize={ROOT / 'manifests' / folder}")
        kubectl("replace", f"--filename={STORY_DEFINITION}")
        kubectl("delete", "--ignore-not-found", "--namespace", OPERATOR_NAMESPACE, "deployment,pdb", "--all")
        kubectl("label", "namespace", OPERATOR_NAMESPACE, "--overwrite", "tests.bubustack.io/clean-slate=true")


STAND_IN = """#!/bin/sh
case "$1" in
kustomize) exec {kubectl} "$@" ;;
apply) cat > {applied} ;;
get) exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("servers", "sources"),
    [
        ("", None),
        ("10.0.0.5/32 fd00::5/128", [{"ipBlock": {"cidr": "10.0.0.5/32"}}, {"ipBlock": {"cidr": "fd00::5/128"}}]),
    ],
)
def test_make_deploy_closes_the_admission_port_to_all_but_the_api_servers(
    kubectl: Kubectl, tmp_path: Path, servers: str, sources: list[Object] | None
) -> None:
    program, applied = tmp_path / "kubectl", tmp_path / "applied.yaml"
    program.write_text(STAND_IN.format(kubectl=kubectl.cluster.kubectl, applied=applied))
    program.chmod(0o755)

    subprocess.run(["make", "--silent", "deploy", f"KUBECTL={program}", f"API_SERVERS={servers}"], cwd=ROOT, check=True)

    policy = the_only("NetworkPolicy", applied.read_text().split(BETWEEN))
    admission, metrics = policy["spec"]["ingress"]
    assert admission.get("from") == sources
    assert (admission["ports"][0]["port"], metrics["ports"][0]["port"]) == (9443, 8443)


@pytest.mark.parametrize(
    ("operation", "sources"),
    [
        ("add", {9443: "kube-system", 8443: "enabled"}),
        ("remove", {8443: "enabled"}),
    ],
)
def test_the_documented_patches_say_who_reaches_the_admission_port(
    kubectl: Kubectl, tmp_path: Path, operation: str, sources: dict[int, str]
) -> None:
    blocks = (ROOT / "docs" / "install.md").read_text().split("```yaml\n")[1:]
    (patches,) = [text for text in (block.partition("```")[0] for block in blocks) if f"- op: {operation}\n" in text]
    folder = DEFAULT.parent / "manager"
    (tmp_path / "kustomization.yaml").write_text(f"resources: [network.yaml]\n{patches}")
    (tmp_path / "network.yaml").write_text((folder / "network.yaml").read_text())

    policy = the_only("NetworkPolicy", kubectl("kustomize", str(tmp_path)).out.split(BETWEEN))

    found = {}
    for rule in policy["spec"]["ingress"]:
        (port,), (source,) = rule["ports"], rule["from"]
        (found[port["port"]],) = source["namespaceSelector"]["matchLabels"].values()
    assert found == sources


@pytest.fixture(scope="module")
def rendered(kubectl: Kubectl) -> list[str]:
    return kubectl("kustomize", str(OVERLAY)).out.split(BETWEEN)


def test_everything_is_applied_without_a_warning_and_again(installed: Kubectl) -> None:
    for options in ([], ["--dry-run=server"]):
        done = installed("apply", "--server-side", *options, f"--kustomize={DEFAULT}")

        assert done.err == ""
        assert len(done.out.splitlines()) > 80


def test_the_single_file_is_accepted_without_a_warning(installed: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "install.yaml"
    path.write_text(installer.text(metadata.image()))

    done = installed("apply", "--server-side", "--dry-run=server", f"--filename={path}")

    assert done.err == ""
    assert len(done.out.splitlines()) == len([*installer.objects()])


def test_applying_it_again_leaves_what_the_operator_has_filled_in(
    installed: Kubectl, steerable: SessionCluster
) -> None:
    assert steerable.ready is not None
    bundle = base64.b64encode(steerable.ready.ca_pem.encode()).decode()
    before = {}
    for target in DEFAULT_TARGETS:
        place = "/spec/conversion/webhook" if target.resource == CUSTOM_RESOURCE_DEFINITION else "/webhooks/0"
        change = json.dumps([{"op": "add", "path": f"{place}/clientConfig/caBundle", "value": bundle}])
        name = f"{target.resource.plural}.{target.resource.group}/{target.name}"
        installed("patch", name, "--type=json", f"--field-manager={FIELD_MANAGER}", f"--patch={change}")
        before[name] = installed("get", name, "--output=json").out

    installed("apply", "--server-side", f"--kustomize={DEFAULT}")

    assert {name: installed("get", name, "--output=json").out for name in before} == before
    assert [name for name, found in before.items() if bundle not in found] == []


def test_one_command_switches_the_conversion_off_and_another_one_on(installed: Kubectl) -> None:
    def versions() -> str:
        path = "jsonpath={.spec.conversion.strategy} {.spec.versions[*].name}"
        return installed("get", "crd/stories.bubustack.io", f"--output={path}").out

    installed("replace", f"--filename={STORY_DEFINITION}")
    assert versions() == "None v1alpha1"

    installed(*APPLY, f"--kustomize={BOTH_VERSIONS}")
    assert versions() == "Webhook v1alpha1 v1beta1"


@pytest.mark.parametrize("commit", ["6841989c", "2b980a4d"])
def test_the_commands_of_an_upgrade_lead_from_an_earlier_version_to_this_one(
    installed: Kubectl, tmp_path: Path, commit: str
) -> None:
    """From the manifests of 25 November, and of 1 December 2026."""
    release = unpacked_release(tmp_path, commit, ["manifests"])
    current = schemas_by_name(installed(*APPLY, "--dry-run=server", "--output=json", f"--kustomize={BOTH_VERSIONS}"))
    assert current.keys() == {each["metadata"]["name"] for each in packaged_crds()}
    installed("delete", "--ignore-not-found", f"--kustomize={ROOT / 'manifests/policies'}")  # one keeps definitions new
    installed(*APPLY, f"--kustomize={release / 'manifests/default'}")
    assert outdated(installed, current) != []

    for line in commands_of_an_upgrade():
        words = line.partition("#")[0].replace(" manifests/", f" {ROOT}/manifests/").split()
        if "rollout" not in words:  # no node of this cluster runs Pods
            installed(*words[1:])

    assert outdated(installed, current) == []


def outdated(kubectl: Kubectl, wanted: Mapping[str, Object]) -> list[str]:
    """The definitions that are missing, or do not have the schemas of this version."""
    there = schemas_by_name(kubectl("get", "crd", "--output=json"))
    return [name for name, schemas in wanted.items() if there.get(name) != schemas]


def schemas_by_name(definitions: Output) -> dict[str, Object]:
    """The schemas of definitions, which kubectl prints as a list, by definition and version."""
    return {
        each["metadata"]["name"]: {version["name"]: version["schema"] for version in each["spec"]["versions"]}
        for each in json.loads(definitions.out)["items"]
    }


def test_no_documented_command_names_two_folders_of_kustomize() -> None:
    """kubectl takes the last one and says nothing of the others."""
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    found = [
        line for page in pages for line in page.read_text().splitlines() if len(re.findall(r" -k manifests", line)) > 1
    ]

    assert found == []


def test_the_pods_are_admitted_under_the_restricted_standard(installed: Kubectl) -> None:
    """The namespace enforces the standard, and a Pod is created from the Deployment's template."""
    found = json.loads(installed("get", "--namespace", OPERATOR_NAMESPACE, "deployments", "--output=json").out)
    assert sorted(each["metadata"]["name"] for each in found["items"]) == [
        "bobrapet-controller-manager",
        "bobrapet-hub",
    ]
    for deployment in found["items"]:
        template = deployment["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
        pod["metadata"] = {**template["metadata"], "name": "tried", "namespace": OPERATOR_NAMESPACE}

        done = installed("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))

        assert done.err == ""


def test_the_overlay_mounts_the_certificate_beside_what_is_there(rendered: list[str]) -> None:
    deployment = the_only("Deployment", rendered)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert sorted(mount["name"] for mount in container["volumeMounts"]) == ["serving-cert", "tmp"]
    assert container["args"][-1] == "--webhook-cert-path=/tmp/k8s-webhook-server/serving-certs"
    assert container["image"]


def test_the_overlay_is_accepted_but_for_the_kinds_of_cert_manager(installed: Kubectl, rendered: list[str]) -> None:
    ours = [text for text in rendered if not text.startswith("apiVersion: cert-manager.io/")]
    others = sorted(re.findall(r"^kind: (\w+)$", "\n".join(text for text in rendered if text not in ours), re.M))

    done = installed("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=BETWEEN.join(ours))

    assert done.err == ""
    assert others == ["Certificate", "Certificate", "Issuer", "Issuer"]
    applied = {line.partition(" ")[0] for line in done.out.splitlines()}
    assert len(applied) == len(ours)
    assert "clusterrole.rbac.authorization.k8s.io/bobrapet-ca-bundle-role" not in applied
    assert "clusterrole.rbac.authorization.k8s.io/bobrapet-manager-role" in applied
