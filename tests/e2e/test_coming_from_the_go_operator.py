"""The move from the Go operator on a real API server, with the roles and policies of an installation.

A container that the Go operator has started has the account and the Role that it gave to the run. It reports to our
operator under our policies. And what docs/coming-from-the-go-operator.md says of webhooks that are left is true. About
10 s of CPU.
"""

from __future__ import annotations

from typing import Final

import trio

from core.api.resource import JOB, POD, STEP_RUN, STORY_RUN
from core.engine.clock import system_now
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually, status_of
from tests.integration.migration.recording import recording
from tests.integration.migration.restoring import restore

NAMESPACE: Final = "first-step-runs"
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
    await webhooks_that_are_left_stay_unless_they_are_deleted(rig)
    await a_container_reports_to_our_operator(rig)


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
