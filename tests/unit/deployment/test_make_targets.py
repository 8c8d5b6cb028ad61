"""The targets that build, push and use kind, with stand-ins for the programs that they run."""

from __future__ import annotations

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
        ("helm-chart", ["helm package charts/bobrapet --destination dist/charts"]),
        ("kind-delete", ["kind delete cluster --name bobrapet"]),
    ],
)
def test_a_target_runs_its_command(tmp_path: Path, target: str, calls: list[str]) -> None:
    assert Machine(tmp_path).make(target, "IMG=a/b:1") == calls


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
