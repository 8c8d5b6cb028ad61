"""The targets that build, push and use kind, with stand-ins for the programs that they run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SUCCEEDED = "{.status.phase}=Succeeded"
STAND_IN = """#!/bin/sh
echo "${{KIND_EXPERIMENTAL_PROVIDER:+podman }}$(basename "$0") $*" >> {log}
case "$*" in
"get clusters") echo {clusters} ;;
kustomize*|*" kustomize "*) printf 'kind: Deployment\\n        image: bobrapet-py:0.1.0\\n' ;;
*" apply --server-side -f -") cat >> {log} ;;
"--context "*" get crd "*) exit 1 ;;
esac
"""


class Machine:
    """A machine with the programs that the targets run, all of which only write down how they were called."""

    def __init__(self, folder: Path, clusters: str = "") -> None:
        self._log, self._folder = folder / "calls", folder
        for name in ("kind", "docker", "podman", "kubectl", "helm"):
            program = folder / name
            program.write_text(STAND_IN.format(log=self._log, clusters=clusters))
            program.chmod(0o755)

    def make(self, *words: str, builder: str = "docker", **programs: str) -> list[str]:
        """The calls of a make target, in order.

        Raises:
            AssertionError: it failed; the message has its words.
        """
        self._log.write_text("")
        done = self.attempt(*words, builder=builder, **programs)
        assert done.returncode == 0, done.stdout + done.stderr
        return self._log.read_text().splitlines()

    def attempt(self, *words: str, builder: str = "docker", **programs: str) -> subprocess.CompletedProcess[str]:
        named = {name.upper(): str(self._folder / name) for name in ("kind", "kubectl", "helm")} | programs
        settings = [f"{name}={path}" for name, path in {"BUILDER": str(self._folder / builder), **named}.items()]
        return subprocess.run(["make", "--silent", *words, *settings], cwd=ROOT, capture_output=True, text=True)


def test_a_cluster_is_created_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.make("kind-create") == ["kind get clusters", "kind create cluster --name bobrapet --wait 120s"]

    machine = Machine(tmp_path, clusters="bobrapet")
    assert machine.make("kind-create") == ["kind get clusters"]
    assert machine.make("kind-create", KIND_CLUSTER="mine")[1:] == ["kind create cluster --name mine --wait 120s"]


@pytest.mark.parametrize(
    ("builder", "calls"),
    [
        ("docker", ["kind load docker-image a/b:1 --name bobrapet"]),
        (
            "podman",
            [
                "podman tag a/b:1 docker.io/library/a/b:1",
                "podman save --output dist/image.tar docker.io/library/a/b:1",
                "podman kind load image-archive dist/image.tar --name bobrapet",
            ],
        ),
    ],
)
def test_an_image_is_copied_into_the_nodes(tmp_path: Path, builder: str, calls: list[str]) -> None:
    (ROOT / "dist").mkdir(exist_ok=True)
    (ROOT / "dist" / "image.tar").touch()  # what podman would have written

    assert Machine(tmp_path).make("kind-load-image", "IMG=a/b:1", builder=builder) == calls


def test_the_quick_start_ends_with_a_run(tmp_path: Path) -> None:
    calls = Machine(tmp_path).make("kind-quickstart", "IMG=a/b:1")

    assert [call for call in calls if call.startswith(("kind ", "docker "))] == [
        "kind get clusters",
        "kind create cluster --name bobrapet --wait 120s",
        "docker build -t a/b:1 .",
        "kind load docker-image a/b:1 --name bobrapet",
    ]
    assert "        image: a/b:1" in calls
    assert all("--context kind-bobrapet" in call for call in calls if call.startswith("kubectl"))
    assert calls[-2:] == [
        "kubectl --context kind-bobrapet apply -f examples/hello/hello.yaml",
        "kubectl --context kind-bobrapet wait storyrun/hello-1 --for=jsonpath={.status.phase}=Succeeded --timeout=180s",
    ]


def test_a_changed_operator_is_built_copied_and_started_again(tmp_path: Path) -> None:
    *built, restarted, awaited = Machine(tmp_path).make("kind-load-controller", "IMG=a/b:1")

    assert built == ["docker build -t a/b:1 .", "kind load docker-image a/b:1 --name bobrapet"]
    assert restarted.endswith("rollout restart deployment/bobrapet-controller-manager")
    assert awaited.endswith("rollout status deployment/bobrapet-controller-manager --timeout=180s")


@pytest.mark.parametrize(
    ("target", "calls"),
    [
        ("install", ["kubectl apply --server-side -f manifests/crds"]),
        ("uninstall", ["kubectl delete --ignore-not-found -f manifests/crds"]),
        ("docker-push", ["docker push a/b:1"]),
        ("helm-chart", ["helm package deployment/charts/bobrapet --destination dist/charts"]),
        ("kind-delete", ["kind delete cluster --name bobrapet"]),
        ("docker-build", ["docker build -t a/b:1 ."]),
        ("docker-buildx", ["docker buildx build --platform linux/amd64,linux/arm64 --tag a/b:1 --push ."]),
        (
            "kind-status",
            [
                "kind get clusters",
                "kubectl --context kind-bobrapet get nodes",
                "kubectl --context kind-bobrapet -n bobrapet-system get pods",
                "kubectl --context kind-bobrapet get storyruns --all-namespaces",
            ],
        ),
        (
            "undeploy",
            [
                "kubectl delete --ignore-not-found -k manifests/webhooks",
                "kubectl get crd stories.bubustack.io",
                "kubectl replace -f manifests/crds/bubustack.io_stories.yaml",
                *(
                    f"kubectl delete --ignore-not-found -k manifests/{name}"
                    for name in ("hub", "manager", "policies", "rbac")
                ),
            ],
        ),
    ],
)
def test_a_target_runs_its_command(tmp_path: Path, target: str, calls: list[str]) -> None:
    assert Machine(tmp_path).make(target, "IMG=a/b:1") == calls


def test_podman_builds_for_several_platforms_by_a_manifest(tmp_path: Path) -> None:
    assert Machine(tmp_path).make("docker-buildx", "IMG=a/b:1", "PLATFORMS=linux/arm64", builder="podman") == [
        "podman build --platform linux/arm64 --manifest a/b:1 .",
        "podman manifest push --all a/b:1",
    ]


OF_THE_REFERENCE = (
    *(
        "manifests",
        "generate",
        "test",
        "test-e2e",
        "lint",
        "build",
        "run",
        "docker-build",
        "docker-push",
        "docker-buildx",
    ),
    *("build-installer", "helm-chart", "install", "uninstall", "deploy", "undeploy"),
    *("kind-create", "kind-delete", "kind-load-image", "kind-load-controller", "kind-status"),
)
"""Operator contract 23; docs/differences.md has the one that is not here, and those that do something else."""


@pytest.mark.parametrize("target", OF_THE_REFERENCE)
def test_a_target_of_the_reference_exists(target: str) -> None:
    """Also where there is no environment yet, and a file or folder of its name is no reason to do nothing."""
    text = (ROOT / "Makefile").read_text()
    declared = text.partition(".PHONY:")[2].partition("\n\n")[0].replace("\\\n", " ").split()

    assert target in declared
    assert re.search(rf"^{target}:.*## ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("alias", "target"), [("manifests", "generate"), ("lint", "check"), ("test-e2e", "e2e"), ("docker-build", "image")]
)
def test_an_alias_runs_what_its_target_runs(alias: str, target: str) -> None:
    assert planned(alias) == planned(target) != ""


def planned(*words: str) -> str:
    """What make would run; it runs nothing."""
    command = ["make", "--dry-run", "--silent", *words, "BUILDER=docker"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_three_wheels_are_built(tmp_path: Path) -> None:
    """The command itself, with a Python that only says what it is asked for."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "${PWD##*/} $*"\n')
    python.chmod(0o755)
    *_, loop = planned("build", f"BIN={tmp_path}").splitlines()
    done = subprocess.run(
        loop.replace(f"{ROOT}/{tmp_path}", str(tmp_path)),
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    asked = f"-m hatchling build -t wheel -d {ROOT}/dist"
    assert done.stdout.splitlines() == [f"{name} {asked}" for name in (ROOT.name, "sdk", "impulses")]


def test_the_installer_is_written_with_the_image_that_was_named(tmp_path: Path) -> None:
    """By the program that test_installer tests."""
    assert (
        planned("build-installer", "IMG=registry.example/b:7")
        .splitlines()[-1]
        .endswith("python -m deployment.installer --image registry.example/b:7 > dist/install.yaml")
    )


@pytest.mark.parametrize(
    ("target", "setting"),
    [
        ("kind-create", {"KIND": "/nowhere/kind"}),
        ("kind-load-image", {"BUILDER": ""}),
        ("install", {"KUBECTL": "/nowhere/kubectl"}),
        ("helm-chart", {"HELM": "/nowhere/helm"}),
    ],
)
def test_a_missing_program_is_named_with_the_remedy(tmp_path: Path, target: str, setting: dict[str, str]) -> None:
    done = Machine(tmp_path).attempt(target, **setting)

    assert done.returncode != 0
    (name,) = setting
    assert f"make {target} needs" in done.stderr
    assert f"make {target} {name}=" in done.stderr
