"""A release of the chart on a real API server, from ``helm install`` to ``helm uninstall``, as docs/helm.md says.

The commands of the page are played in its order, and must print what the page says. Operator and hub run as Pods of the
chart's Deployments. Measured: 95 s of CPU for both tests.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, POD, STEP_RUN, STORY, STORY_RUN
from core.kube.errors import ApiError, InternalServerError, InvalidError
from deployment.metadata import POD_LABELS
from tests.e2e.admission_rig import WRONG
from tests.e2e.helm import CHART, open_helm
from tests.e2e.operator_rig import FLOWS, ROOT, eventually, is_late, status_of, step
from tests.e2e.release_rig import SYSTEM, ReleaseRig, open_release_rig
from tests.integration.transcript import Command, File, difference, parts_of

PAGE = ROOT / "docs" / "helm.md"
RUNS = 50
MOST_LATE = 3
"""Reviews for which the API server waited in vain. The new Pod builds the models of two kinds, each for its first
review. While suites of tests share two cores, that takes longer than the five seconds of the contract, and a write
meanwhile may meet it, too. Users try again. On a quiet machine: none.
"""
CLAIMS = "effectclaims.runs.bubustack.io"
STORIES = "stories.bubustack.io"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder outside /tmp, which the operator's Pods replace by a volume of their own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="bobrapet-") as folder:
        yield Path(folder)


@pytest.fixture
def helm_program(place: Path, pytestconfig: pytest.Config, mounts: None) -> Path:
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    return open_helm(place).program


async def test_the_page_about_helm_says_what_happens(place: Path, helm_program: Path) -> None:
    async with open_release_rig(place, helm_program) as release:
        for part in parts_of(PAGE.read_text()):
            if isinstance(part, File):
                (place / part.name).write_text(part.text)
                continue
            if part.printed is None:
                continue  # for a cluster with another installation; see below
            await played(release, part)
            if part.text.startswith("helm install"):
                await ready(release)
            if "retryMaxRetries" in part.text:
                await upgraded_under_load(release)
            if part.text.startswith("helm rollback"):
                await release.rig.until(CUSTOM_RESOURCE_DEFINITION, CLAIMS, lambda obj: not is_newer(obj))
                await release.rig.run("after-rollback", "greeted")
                await release.rig.ended("after-rollback", "Succeeded")
            if part.text.startswith("helm uninstall"):
                await only_definitions_are_left(release)
        await installed_again(release)
        (place / "transcript.txt").write_text("\n".join(release.transcript))


async def played(release: ReleaseRig, command: Command) -> None:
    """Run a command of the page; it prints what the page says."""
    done = await release.attempt(command.text.replace("hello.yaml", str(release.rig.directory / "hello.yaml")))
    printed = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, f"$ {command.text}\n{printed}"
    wrong = difference(command.printed or "", printed)
    assert not wrong, f"$ {command.text}\n{wrong}\n\nall of it:\n{printed}"


async def ready(release: ReleaseRig) -> None:
    """Wait until admission refuses what is wrong: API servers know of a new configuration a moment later."""

    async def refused() -> bool:
        try:
            await release.rig.create(STORY, "wrong", WRONG)
        except InvalidError:
            return True
        except ApiError:
            return False
        await release.rig.client.delete(STORY, "wrong", FLOWS)
        return False

    await eventually(refused, lambda: str(release.service))


async def upgraded_under_load(release: ReleaseRig) -> None:
    """A chart whose definitions and Pods are new replaces the release while 50 runs are created and work."""
    rig = release.rig
    newer = newer_chart(rig.directory)
    await rig.story("busy", *({"name": name, "type": "sleep", "with": {"duration": "1s"}} for name in ("one", "two")))
    await rig.engram("greet", "sleep 0.2")
    await rig.story("greeted", step("greet"), step("again", "greet", needs=["greet"]))
    before = await managers(release)
    refused: list[str] = []
    late: list[str] = []
    upgraded = trio.Event()

    async def create_runs() -> None:
        for number in range(RUNS):
            story = "greeted" if number % 2 else "busy"
            content = {"spec": {"storyRef": {"name": story}}}
            run = written(STORY_RUN.kind, f"run-{number}", content)
            await attempted(refused, late, partial(rig.client.create, STORY_RUN, run))
            await trio.sleep(0.4)

    async def change_a_story() -> None:
        for number in range(10_000):
            if upgraded.is_set():
                return
            change = {"spec": {"steps": [{"name": "nap", "type": "sleep", "with": {"duration": f"{1 + number}s"}}]}}
            story = written(STORY.kind, "changed", change)
            apply = partial(rig.client.apply, STORY, story, field_manager="ada", force=True)
            await attempted(refused, late, apply)
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create_runs)
        nursery.start_soon(change_a_story)
        await trio.sleep(2)
        annotations = {"controllerManager": {"podAnnotations": {"example.org/generation": "2"}}}
        command = f"helm upgrade bobrapet {newer} --namespace {SYSTEM} --reset-then-reuse-values --wait --timeout 200s"
        await release.shell(command, values=annotations)
        upgraded.set()

    assert refused == []
    assert len(late) <= MOST_LATE, late
    assert release.service.refused == 0
    assert not before & await managers(release)
    for number in range(RUNS):
        await rig.ended(f"run-{number}", "Succeeded", seconds=120)
    await rig.until(CUSTOM_RESOURCE_DEFINITION, CLAIMS, is_newer)


def is_newer(definition: Object) -> bool:
    """Whether the API server serves the definition of ``newer_chart``."""
    return "receipt" in status_of(definition)["acceptedNames"]["shortNames"]


async def attempted(refused: list[str], late: list[str], write: Callable[[], Awaitable[Object]]) -> None:
    """Write; again where the API server waited for admission in vain, as a busy machine makes it."""
    for _ in range(3):
        try:
            await write()
        except InternalServerError as error:
            (late if is_late(str(error)) else refused).append(str(error))
        except ApiError as error:
            refused.append(str(error))
            return
        else:
            return


def written(kind: str, name: str, content: Object) -> Object:
    group = "runs.bubustack.io" if kind == STORY_RUN.kind else "bubustack.io"
    return {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": FLOWS}, **content}


def newer_chart(folder: Path) -> Path:
    """The chart of a later version, in which a definition has one more short name."""
    target = folder / "newer"
    shutil.copytree(CHART, target)
    chart, definition = target / "Chart.yaml", target / "definitions" / "runs.bubustack.io_effectclaims.yaml"
    chart.write_text(chart.read_text().replace("\nversion: 0.", "\nversion: 1."))
    text = definition.read_text()
    assert "    - eff\n" in text
    definition.write_text(text.replace("    - eff\n", "    - eff\n    - receipt\n"))
    return target


async def managers(release: ReleaseRig) -> set[str]:
    selector = ",".join(f"{key}={value}" for key, value in POD_LABELS.items())
    pods = (await release.rig.client.list(POD, SYSTEM, label_selector=selector)).items
    return {pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp")}


async def only_definitions_are_left(release: ReleaseRig) -> None:
    """Of all objects with the label of the release. Pods end, and Jobs go, a moment later."""
    kinds = (await release.shell("kubectl api-resources --verbs=list,delete -o name")).split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "componentstatuses"))]
    left: list[str] = []

    async def reached() -> bool:
        where = "-A -l app.kubernetes.io/instance=bobrapet -o name --ignore-not-found"
        left[:] = (await release.shell(f"kubectl get {','.join(kinds)} {where}")).split()
        return {line.partition("/")[0] for line in left} == {"customresourcedefinition.apiextensions.k8s.io"}

    await eventually(reached, lambda: str(left))
    assert len(left) == 12


async def installed_again(release: ReleaseRig) -> None:
    """The kept definitions belong to the next release of that name, and serve both versions of Stories again."""
    definition = await release.rig.client.get(CUSTOM_RESOURCE_DEFINITION, STORIES)
    assert [version["served"] for version in definition["spec"]["versions"]] == [True, False]

    await release.shell(
        f"helm install bobrapet deployment/charts/bobrapet --namespace {SYSTEM}"
        " --set controllerManager.replicas=0 --set hub.enabled=false"
    )

    definition = await release.rig.client.get(CUSTOM_RESOURCE_DEFINITION, STORIES)
    assert [version["served"] for version in definition["spec"]["versions"]] == [True, True]


async def test_a_release_of_any_name_in_any_namespace_works(place: Path, helm_program: Path) -> None:
    async with open_release_rig(place, helm_program, namespace="team-a") as release:
        await release.shell("kubectl apply --server-side --filename=manifests/crds")  # of an earlier installation
        where = "--namespace team-a --create-namespace --take-ownership --force-conflicts"
        await release.shell(f"helm install flows deployment/charts/bobrapet {where} --wait --timeout 200s")
        await ready(release)
        rig = release.rig
        await rig.engram("greet", "exit 0")
        await rig.story("hello", step("greet"))
        await rig.run("hello-1", "hello")

        await rig.ended("hello-1", "Succeeded", seconds=120)

        steps = (await rig.client.list(STEP_RUN, FLOWS)).items
        assert [each["status"]["phase"] for each in steps] == ["Succeeded"]
        user = "--as=ada --as-group=system:authenticated"
        await release.shell("kubectl create clusterrole step-maker --verb=create --resource=stepruns.runs.bubustack.io")
        await release.shell("kubectl create clusterrolebinding ada --clusterrole=step-maker --user=ada")
        stolen = place / "step.json"
        stolen.write_text(json.dumps({**steps[0], "metadata": {"name": "stolen", "namespace": FLOWS}}))
        done = await release.attempt(f"kubectl create -f {stolen} {user}")
        assert "flows-bobrapet-authors" in done.stderr.decode()
        await without_admission(release)


async def without_admission(release: ReleaseRig) -> None:
    """The release without admission: Stories are served in one version, and runs succeed."""
    await release.shell(
        "helm upgrade flows deployment/charts/bobrapet --namespace team-a --reset-then-reuse-values"
        " --set webhooks.enabled=false --wait --timeout 200s"
    )

    async def is_gone() -> bool:
        done = await release.attempt("kubectl get --raw /apis/bubustack.io/v1beta1/stories")
        return "NotFound" in done.stderr.decode()

    await eventually(is_gone, lambda: "Stories are still served in v1beta1")
    found = await release.shell("kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o name")
    assert found == ""
    await release.rig.run("hello-2", "hello")
    await release.rig.ended("hello-2", "Succeeded", seconds=120)
