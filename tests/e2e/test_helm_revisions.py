"""The revisions of a release on a real API server without nodes: the way back, and what Helm stores of each.

No older definition replaces a newer one: ``helm rollback`` would write the definitions of the earlier release, and the
API server would drop the fields that those do not have. Measured: 21 s of CPU, the control plane included, and 13 s for
the whole chart.
"""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest
import trio

from core.api.crd import DEFINITIONS_REVISION, REVISION_TITLE
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, REFERENCE_GRANT, SECRET
from core.kube.client import open_client
from core.kube.config import load_config
from deployment.crds import packaged_crds
from tests.e2e.helm import CHART, open_helm
from tests.e2e.manifest_schemas import definitions_of_others
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually
from tests.e2e.release_rig import SYSTEM, Forwarder, ReleaseRig
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.running import open_control_plane

STORIES: Final = "stories.bubustack.io"
DEFINITION: Final = "policy.bubustack.io_referencegrants.yaml"
OLDER: Final = ROOT / "manifests" / "crds" / DEFINITION
VALUES: Final = "--namespace bobrapet-system --reset-then-reuse-values"
REMEDY: Final = "helm upgrade to the older chart with --set crds.install=false"
_GRANT: Final = """\
apiVersion: policy.bubustack.io/v1alpha1
kind: ReferenceGrant
metadata: {name: ours, namespace: default}
spec:
  from: [{group: bubustack.io, kind: Story, namespace: team}]
  to: [{group: bubustack.io, kind: Engram}]
  purpose: shared models
"""


@pytest.fixture
async def release(tmp_path: Path, pytestconfig: pytest.Config) -> AsyncIterator[ReleaseRig]:
    """An API server without nodes, so that no operator runs."""
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    helm = open_helm(tmp_path).program
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_control_plane(ensure_binaries(), tmp_path / "plane"))
        client = await stack.enter_async_context(open_client(await load_config(plane.kubeconfig)))
        yield ReleaseRig(OperatorRig(plane, client, tmp_path, stack), Forwarder(0), helm)


async def test_older_definitions_are_refused_and_the_documented_way_back_keeps_all_fields(
    release: ReleaseRig, tmp_path: Path
) -> None:
    older, newer = lean_chart(tmp_path / "older"), lean_chart(tmp_path / "newer")
    add_a_field(newer)
    await release.shell(
        f"helm install bobrapet {older} --namespace {SYSTEM} --create-namespace"
        " --set webhooks.enabled=false --set crds.keep=false"
    )
    done = await release.attempt(f"helm upgrade bobrapet {older} {VALUES} --set crds.install=false")
    assert "crds.install: must be true after crds.keep was false" in done.stderr.decode()
    await release.shell(f"helm upgrade bobrapet {newer} {VALUES} --set crds.keep=true")
    (tmp_path / "grant.yaml").write_text(_GRANT)
    await release.shell(f"kubectl apply --validate=strict -f {tmp_path / 'grant.yaml'}")
    await guarded(release)

    done = await release.attempt(f"helm rollback bobrapet 1 --namespace {SYSTEM}")

    assert done.returncode != 0
    assert REMEDY in done.stderr.decode()
    assert f"revision {DEFINITIONS_REVISION} of a definition may not replace revision" in done.stderr.decode()
    await is_complete(release)
    await older_manifests_are_refused(release, tmp_path)
    await is_complete(release)

    await release.shell(f"helm upgrade bobrapet {older} {VALUES} --set crds.install=false")

    assert (await release.shell(f"helm list --namespace {SYSTEM} -o json")).count('"status":"deployed"') == 1
    await is_complete(release)
    await the_operator_writes_its_part(release)
    await release.shell(f"helm upgrade bobrapet {newer} {VALUES} --set crds.install=true")
    await is_complete(release)


async def test_a_release_with_everything_fits_into_the_secret_in_which_helm_stores_it(
    release: ReleaseRig, tmp_path: Path
) -> None:
    """Helm stores chart and objects of each revision, compressed. A Secret may have 1 MiB."""
    for definition in definitions_of_others():
        path = tmp_path / "other.json"
        path.write_text(json.dumps(definition))
        await release.shell(f"kubectl create -f {path}")
    await release.shell("kubectl wait --for=condition=Established crd --all --timeout=60s")
    enabled = ("certificates.certManager", "serviceMonitor", "prometheusRule", "dashboards")
    everything = " ".join(f"--set {name}.enabled=true" for name in enabled)

    await release.shell(f"helm install bobrapet {CHART} --namespace {SYSTEM} --create-namespace {everything}")

    secret = await release.rig.client.get(SECRET, "sh.helm.release.v1.bobrapet.v1", SYSTEM)
    size = len(b64decode(secret["data"]["release"]))
    assert size < 700_000, size  # measured: 577,000


async def guarded(release: ReleaseRig) -> None:
    """Wait until the API server knows of the policy, which takes it a moment."""

    async def refused() -> bool:
        done = await release.attempt(f"kubectl replace --dry-run=server -f {OLDER}")
        return REMEDY in done.stderr.decode()

    await eventually(refused, lambda: release.transcript[-1])


async def older_manifests_are_refused(release: ReleaseRig, folder: Path) -> None:
    """With each way to apply them; and those of a release that had no revisions yet."""
    first = folder / "first.yaml"
    first.write_text(re.sub(rf"\n *title: {REVISION_TITLE}\d+", "", OLDER.read_text()))
    assert first.read_text() != OLDER.read_text()
    for file in (OLDER, first):
        for verb in ("apply", "apply --server-side --force-conflicts --field-manager=ada", "replace"):
            done = await release.attempt(f"kubectl {verb} -f {file}")

            assert done.returncode != 0, verb
            assert REMEDY in done.stderr.decode(), verb


async def is_complete(release: ReleaseRig) -> None:
    """The object has its field after it was written again."""
    await release.shell(f"kubectl label --overwrite referencegrant ours seen=at-{trio.current_time():.3f}")
    grant = await release.rig.client.get(REFERENCE_GRANT, "ours", "default")
    assert grant["spec"]["purpose"] == "shared models"


async def the_operator_writes_its_part(release: ReleaseRig) -> None:
    """The certificate for the conversion of Stories, and that it is off; without a change of the schemas."""
    client = release.rig.client
    (stories,) = (each for each in packaged_crds(converted=True) if each["metadata"]["name"] == STORIES)
    await client.apply(CUSTOM_RESOURCE_DEFINITION, stories, field_manager="helm")
    ca = b64encode((release.rig.plane.kubeconfig.parent / "ca.crt").read_bytes()).decode()
    change = {"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": ca}}}}}
    await client.patch(CUSTOM_RESOURCE_DEFINITION, STORIES, change)
    await release.shell("bobrapet conversion off")


def lean_chart(target: Path) -> Path:
    """The chart with the definition of ReferenceGrants only: Helm needs seconds to read all of them."""
    shutil.copytree(CHART, target)
    for path in (target / "definitions").glob("*.yaml"):
        if path.name != DEFINITION:
            path.unlink()
    return target


def add_a_field(chart: Path) -> None:
    """Make it the chart of a later release, in which ReferenceGrants have a field ``purpose``."""
    about, path = chart / "Chart.yaml", chart / "definitions" / DEFINITION
    about.write_text(about.read_text().replace("\nversion: 0.", "\nversion: 1."))
    title = f"title: {REVISION_TITLE}{DEFINITIONS_REVISION}\n"
    text = path.read_text()
    assert title in text
    text = text.replace(title, f"title: {REVISION_TITLE}{DEFINITIONS_REVISION + 1}\n")
    head = "properties:\n              from:\n"
    assert head in text
    field = "properties:\n              purpose:\n                type: string\n              from:\n"
    path.write_text(text.replace(head, field))
