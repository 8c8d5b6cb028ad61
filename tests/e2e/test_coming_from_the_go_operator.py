"""The move from the Go operator on a real API server, with the roles and policies of an installation.

A container that the Go operator has started has the account and the Role that it gave to the run. It reports to our
operator under our policies. Its objects outlive the change of the definitions, in both directions. And what
docs/coming-from-the-go-operator.md says of webhooks that are left is true. About 15 s of CPU.
"""

from __future__ import annotations

from typing import Final

import trio

from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, ENGRAM, JOB, POD, STEP_RUN, STORY, STORY_RUN
from core.engine.clock import system_now
from core.kube.errors import ConflictError
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually, status_of
from tests.integration.migration.go_definitions import go_definitions
from tests.integration.migration.recording import recording
from tests.integration.migration.restoring import restore

NAMESPACE: Final = "first-step-runs"
OTHER: Final = "compensating"
CONFIGURATION: Final = "bobrapet-mutating-webhook-configuration"
_PROGRAM: Final = """
import pathlib, sys, time
from bubu_sdk import Context, engram


@engram
def main(ctx: Context) -> dict[str, object]:
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.1)
    return {"ok": True}


main.run()
"""


_FOREIGN: Final = "mengram-v1alpha1.kb.io"
_LEFT: Final = f"""
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {{name: bobrapet-mutating-webhook-configuration}}
webhooks:
  - name: {_FOREIGN}
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    clientConfig:
      service:
        name: bobrapet-webhook-service
        namespace: bobrapet-system
        path: /mutate-bubustack-io-v1alpha1-engram
    rules:
      - {{apiGroups: [bubustack.io], apiVersions: [v1alpha1], operations: [CREATE, UPDATE], resources: [engrams]}}
"""
"""One of the webhooks of that operator."""


async def test_what_an_installation_of_the_go_operator_leaves(rig: OperatorRig) -> None:
    """One test for all, because creating a cluster takes longer than all of this."""
    await objects_outlive_the_change_of_their_definitions_and_the_way_back(rig)
    await webhooks_that_are_left_stay_unless_they_are_deleted(rig)
    await a_container_reports_to_our_operator(rig)


async def objects_outlive_the_change_of_their_definitions_and_the_way_back(rig: OperatorRig) -> None:
    await define_as_the_go_operator(rig)
    await restore(rig.client, recording(OTHER).moved_to(system_now()))
    before = await stored(rig)
    assert len(before) > 4

    await kubectl(rig, "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "manifests/crds"))
    await until_additions_are(rig, kept=True)
    assert without_additions(await stored(rig)) == before

    await define_as_the_go_operator(rig)
    await until_additions_are(rig, kept=False)
    assert await stored(rig) == before

    await kubectl(rig, "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "manifests/crds"))
    await until_additions_are(rig, kept=True)
    await kubectl(rig, "delete", "namespace", OTHER, "--wait=false")


async def define_as_the_go_operator(rig: OperatorRig) -> None:
    for definition in go_definitions():

        async def replaced(definition: Object = definition) -> bool:
            there = await rig.client.get(CUSTOM_RESOURCE_DEFINITION, definition["metadata"]["name"])
            changed = {**there, "spec": {**definition["spec"], "conversion": {"strategy": "None"}}}
            try:
                await rig.client.replace(CUSTOM_RESOURCE_DEFINITION, changed)
            except ConflictError:  # the API server writes their status at the same time
                return False
            return True

        await eventually(replaced, lambda: "a definition changes all the time")


async def stored(rig: OperatorRig) -> dict[str, tuple[Object, Object]]:
    """Spec and status of every object of ours in the namespace."""
    kinds = (STORY, ENGRAM, STORY_RUN, STEP_RUN)
    found = [each for kind in kinds for each in (await rig.client.list(kind, OTHER)).items]
    return {f"{each['kind']}/{each['metadata']['name']}": (each["spec"], status_of(each)) for each in found}


def without_additions(objects: dict[str, tuple[Object, Object]]) -> dict[str, tuple[Object, Object]]:
    """Without what the Go operator does not know."""
    return {
        name: (spec, {key: value for key, value in status.items() if key != "storyRevision"})
        for name, (spec, status) in objects.items()
    }


async def until_additions_are(rig: OperatorRig, *, kept: bool) -> None:
    """An API server applies a changed definition a moment later."""

    async def applied() -> bool:
        patch = {"status": {"storyRevision": "chain-1"}}
        run = await rig.client.patch(STORY_RUN, "one", patch, namespace=OTHER, subresource="status")
        return ("storyRevision" in status_of(run)) is kept

    await eventually(applied, lambda: f"the definition of StoryRun is not the one that keeps additions: {kept}")


async def webhooks_that_are_left_stay_unless_they_are_deleted(rig: OperatorRig) -> None:
    ours = str(ROOT / "manifests/webhooks/mutating.yaml")
    left = rig.directory / "left.yaml"
    left.write_text(_LEFT)

    await kubectl(rig, "apply", "--server-side", "--field-manager=argocd", "-f", str(left))
    await kubectl(rig, "apply", "--server-side", "--force-conflicts", "-f", ours)
    assert _FOREIGN in await webhooks(rig)  # nobody answers it, and it refuses every Engram

    await kubectl(rig, "delete", "mutatingwebhookconfiguration", CONFIGURATION)
    await kubectl(rig, "apply", "--server-side", "-f", ours)
    assert _FOREIGN not in await webhooks(rig)
    await kubectl(rig, "delete", "mutatingwebhookconfiguration", CONFIGURATION)  # no admission server runs here


async def webhooks(rig: OperatorRig) -> str:
    names = "jsonpath={.webhooks[*].name}"
    return await kubectl(rig, "get", "mutatingwebhookconfiguration", CONFIGURATION, "-o", names)


async def kubectl(rig: OperatorRig, *words: str) -> str:
    command = [str(rig.plane.binaries.kubectl), f"--kubeconfig={rig.plane.kubeconfig}", *words]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def a_container_reports_to_our_operator(rig: OperatorRig) -> None:
    await rig.apply("manifests/policies")
    program, flag = rig.directory / "program.py", rig.directory / "released"
    program.write_text(_PROGRAM)
    rig.add_images({"migration/worker": {"command": ["$(PYTHON)", str(program), str(flag)]}})
    await restore(rig.client, recording(NAMESPACE).moved_to(system_now()))
    job = await rig.client.get(JOB, "one-a", NAMESPACE)
    await rig.until(JOB, "one-a", lambda found: bool(status_of(found).get("ready")), namespace=NAMESPACE)

    await rig.start_operator("operator", "--leader-elect=false")
    flag.touch()
    run = await rig.until(STORY_RUN, "one", lambda found: bool(status_of(found).get("finishedAt")), namespace=NAMESPACE)

    assert (status_of(run)["phase"], status_of(run)["output"]) == ("Succeeded", {"last": True})
    assert status_of(await rig.client.get(STEP_RUN, "one-a", NAMESPACE))["output"] == {"ok": True}
    assert (await rig.client.get(JOB, "one-a", NAMESPACE))["metadata"]["uid"] == job["metadata"]["uid"]
    pods = [each["metadata"]["name"] for each in (await rig.client.list(POD, NAMESPACE)).items]
    assert sorted(name.rpartition("-")[0] for name in pods) == ["one-a", "one-b"]

    await rig.client.delete(STORY_RUN, "one", NAMESPACE)

    async def all_gone() -> bool:
        kinds = (STORY_RUN, STEP_RUN, JOB, POD)
        return not any([(await rig.client.list(kind, NAMESPACE)).items for kind in kinds])

    await eventually(all_gone, lambda: "the run, or what belongs to it, is still there")
