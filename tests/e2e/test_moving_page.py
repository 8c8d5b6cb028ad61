"""The commands of docs/coming-from-the-go-operator.md, forwards and back, on a real API server. Takes 17 s.

A run waits at a gate of the Go operator. What is missing is that operator itself: its objects are a recording, its
Deployment starts nothing, and its ``make deploy`` is its definitions. Ours runs as a process beside its Deployment,
whose image no node of the tests has, and without admission.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio
from ruamel.yaml import YAML

from core.api.objects import Object
from core.api.resource import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    NAMESPACE,
    SECRET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
    Scope,
)
from core.engine.clock import system_now
from core.kube.errors import NotFoundError
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually, status_of
from tests.integration.migration.go_definitions import go_definitions
from tests.integration.migration.recording import recording
from tests.integration.migration.restoring import restore

PAGE: Final = ROOT / "docs" / "coming-from-the-go-operator.md"
FLOWS: Final = "gate-waits"
OPERATOR: Final = "bobrapet-system"
MANAGER: Final = "bobrapet-controller-manager"
POLICY: Final = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", Scope.CLUSTER
)
LEFT: Final = """
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: bobrapet-mutating-webhook-configuration}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: bobrapet-validating-webhook-configuration}
---
apiVersion: v1
kind: Secret
metadata: {name: bobrapet-webhook-server-cert, namespace: bobrapet-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: bobrapet-operator-config, namespace: bobrapet-system}
data: {controller.storage.provider: file, retry.max-retries: "7"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bobrapet-controller-manager, namespace: bobrapet-system}
spec:
  replicas: 0
  selector: {matchLabels: {control-plane: controller-manager}}
  template:
    metadata: {labels: {control-plane: controller-manager}}
    spec: {containers: [{name: manager, image: "ghcr.io/bubustack/bobrapet:0.1.12"}]}
"""
"""What an installation of that operator has, besides its definitions."""
NOT_HERE: Final = (
    "kubectl -n bobrapet-system wait --for=delete pod",  # its Deployment has none
    "kubectl -n bobrapet-system delete certificates.cert-manager.io",  # the test has no cert-manager
    "kubectl -n bobrapet-system rollout status",  # no node has our image
    "make deploy IMG=ghcr.io/bubustack/bobrapet",  # of the other checkout
)


def commands(section: str) -> Iterator[str]:
    """The commands of the first block of a section that can be typed here."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    block = re.search(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = [line for line in block[1].splitlines() if line and not line.startswith("#")]
    assert lines
    yield from (line for line in lines if not line.startswith(NOT_HERE))


async def typed(rig: OperatorRig, folder: Path, line: str, stdin: str = "") -> str:
    path = f"{rig.plane.binaries.kubectl.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(rig.plane.kubeconfig), "HOME": str(rig.directory)}
    words = ["bash", "-o", "pipefail", "-c", line]
    done = await trio.run_process(
        words, env=environment, cwd=folder, stdin=stdin.encode(), capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
    return done.stdout.decode()


async def test_the_commands_of_the_page_move_a_cluster_and_bring_it_back(rig: OperatorRig, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    await as_the_go_operator_leaves_it(rig, folder)
    before = await rig.client.get(STORY, "release", FLOWS)

    for line in commands("Before you start"):
        await typed(rig, folder, line)
    saved = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    assert saved.keys() == {"objects.yaml", "templates.yaml", "definitions.yaml", "settings.yaml"}
    assert "name: one-a" in saved["objects.yaml"]
    assert "stories.bubustack.io" in saved["definitions.yaml"]

    await move(rig, folder)
    await run_goes_on(rig)

    await go_back(rig, folder, YAML(typ="safe").load(saved["settings.yaml"]))
    story = await rig.client.get(STORY, "release", FLOWS)
    assert (story["metadata"]["uid"], story["spec"]) == (before["metadata"]["uid"], before["spec"])
    run = await rig.client.get(STORY_RUN, "one", FLOWS)
    assert status_of(run)["phase"] == "Succeeded"


async def as_the_go_operator_leaves_it(rig: OperatorRig, folder: Path) -> None:
    await go_definitions_applied(rig, folder)
    rig.add_images({"migration/worker": {"command": ["/bin/sh", "-c", "exit 0"]}})
    await restore(rig.client, recording(FLOWS).moved_to(system_now()))
    await typed(rig, folder, "kubectl apply -f -", LEFT)


async def go_definitions_applied(rig: OperatorRig, folder: Path) -> None:
    """By kubectl, as its make targets do."""
    items = [{**each, "spec": {**each["spec"], "conversion": {"strategy": "None"}}} for each in go_definitions()]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    await typed(rig, folder, "kubectl apply --server-side --force-conflicts -f -", text)


async def move(rig: OperatorRig, folder: Path) -> None:
    """By the overlay of the page, whose checkout is beside it. Nobody answers admission here."""
    (folder / "bobrapet").symlink_to(ROOT)
    overlay = re.search(r"^```yaml\n# kustomization.yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert overlay is not None
    (folder / "kustomization.yaml").write_text(overlay[1])
    for line in commands("The move"):
        await typed(rig, folder, line)

    definition = await rig.client.get(CUSTOM_RESOURCE_DEFINITION, "stories.bubustack.io")
    assert [each["name"] for each in definition["spec"]["versions"]] == ["v1alpha1", "v1beta1"]
    settings = (await rig.client.get(CONFIG_MAP, "bobrapet-operator-config", OPERATOR))["data"]
    assert settings["controller.storage.provider"] == "s3"
    deployment = await rig.client.get(DEPLOYMENT, MANAGER, OPERATOR)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/bobrapet-py:0.1.0"
    await is_gone(rig, SECRET, "bobrapet-webhook-server-cert", OPERATOR)
    await typed(rig, folder, f"kubectl delete -k {ROOT}/manifests/webhooks")
    await rig.established()


async def run_goes_on(rig: OperatorRig) -> None:
    """Under our operator, and our policies."""
    operator = await rig.start_operator("operator", "--leader-elect=false")
    approved = {"status": {"gates": {"approve": {"state": "Approved"}}}}
    await rig.client.patch(STORY_RUN, "one", approved, namespace=FLOWS, subresource="status")
    run = await rig.until(STORY_RUN, "one", lambda one: bool(status_of(one).get("finishedAt")), namespace=FLOWS)
    assert status_of(run)["phase"] == "Succeeded", operator.tail()
    steps = (await rig.client.list(STEP_RUN, FLOWS)).items
    assert sorted(each["metadata"]["name"] for each in steps) == ["one-a", "one-b"]
    await operator.stop()


async def go_back(rig: OperatorRig, folder: Path, settings: Object) -> None:
    for line in commands("Going back"):
        if line == "kubectl apply -f settings.yaml":
            await go_definitions_applied(rig, folder)  # its make deploy
            for name in ("uid", "resourceVersion"):
                del settings["metadata"][name]
            with (folder / "settings.yaml").open("w") as file:
                YAML(typ="safe").dump(settings, file)
        await typed(rig, ROOT if "manifests/" in line else folder, line)

    await is_gone(rig, DEPLOYMENT, MANAGER, OPERATOR)
    await is_gone(rig, DEPLOYMENT, "bobrapet-hub", OPERATOR)
    assert [
        each for each in (await rig.client.list(POLICY)).items if each["metadata"]["name"].startswith("bobrapet")
    ] == []
    found = (await rig.client.get(CONFIG_MAP, "bobrapet-operator-config", OPERATOR))["data"]
    assert found["retry.max-retries"] == "7"
    assert found["controller.storage.provider"] == "file"
    await rig.client.get(NAMESPACE, OPERATOR)
    await typed(rig, folder, "kubectl get clusterrole bobrapet-engram-runner")


async def is_gone(rig: OperatorRig, kind: Resource, name: str, namespace: str) -> None:
    async def absent() -> bool:
        try:
            await rig.client.get(kind, name, namespace)
        except NotFoundError:
            return True
        return False

    await eventually(absent, lambda: f"{kind.kind} {name} is still there")
