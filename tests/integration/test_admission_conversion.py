"""Stories in two versions with the operator's own admission server, and the kill switch when it is down; with kubectl.

The API server calls the admission server of this process for each Story that is read or written in v1beta1. It trusts
the bundle that the operator has put into the definition.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from core.api.crd import ConversionService, custom_resource_definition
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, NAMESPACE
from core.api.story import STORY_KIND
from core.kube.errors import ApiError, NotFoundError
from tests.integration.admission_stand import AdmissionStand, open_cluster_with_admission, open_replica
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tests.integration.operator_cluster import eventually
from tools.control_plane.session import SessionCluster
from webhooks.registration import CONVERT_PATH

pytestmark = [pytest.mark.kubectl, needs_kubectl]

NAME = "stories.bubustack.io"
NAMESPACE_SECONDS = 60.0
KILL_SWITCH = [
    {"op": "test", "path": "/spec/versions/1/name", "value": "v1beta1"},
    {"op": "replace", "path": "/spec/versions/1/served", "value": False},
    {"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}},
]
"""As in docs/story-v1beta1.md."""
BETA = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: nap}
spec:
  steps:
  - name: ask
    gate: {timeout: 1h}
  - name: rest
    needs: [ask]
    sleep: {duration: 5s}
"""


@pytest.fixture
async def stand(tmp_path: Path, real: SessionCluster | None) -> AsyncIterator[AdmissionStand]:
    async with open_cluster_with_admission(tmp_path, real, str(KUBECTL)) as opened:
        try:
            yield opened
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 20):
                await define(opened, custom_resource_definition(STORY_KIND))


async def define(stand: AdmissionStand, definition: Any) -> None:
    """Replace the whole definition of Stories, as ``kubectl replace`` does."""
    found = await stand.client.get(CUSTOM_RESOURCE_DEFINITION, NAME)
    metadata = {**definition["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
    await stand.client.replace(CUSTOM_RESOURCE_DEFINITION, {**definition, "metadata": metadata})


@asynccontextmanager
async def both_versions(stand: AdmissionStand) -> AsyncIterator[None]:
    """The admission server converts during the block. Nothing converts afterwards."""
    async with open_replica(stand) as url:
        definition = custom_resource_definition(STORY_KIND, ConversionService("none", "none", CONVERT_PATH))
        definition["spec"]["conversion"]["webhook"]["clientConfig"] = {"url": f"{url}{CONVERT_PATH}"}
        await define(stand, definition)
        await eventually(lambda: _is_converted(stand), seconds=40)
        yield


async def _is_converted(stand: AdmissionStand) -> bool:
    """Whether the API server knows both versions and trusts the admission server."""
    try:
        answer = await stand.client.request("GET", "/apis/bubustack.io/v1beta1/stories")
    except ApiError:
        return False
    if not answer.is_success:
        return False
    said = await stand.kubectl("apply", "--dry-run=server", "-f", "-", stdin=BETA, check=False)
    return "created" in said


async def test_a_story_is_written_and_read_in_either_version(stand: AdmissionStand) -> None:
    async with both_versions(stand):
        await stand.kubectl("apply", "-f", "-", stdin=BETA)
        alpha = json.loads(await stand.kubectl("get", "stories.v1alpha1.bubustack.io", "nap", "-o", "json"))
        patch = '[{"op": "replace", "path": "/spec/steps/1/with/duration", "value": "7s"}]'
        await stand.kubectl("patch", "stories.v1alpha1.bubustack.io", "nap", "--type=json", "-p", patch)
        beta = json.loads(await stand.kubectl("get", "stories.v1beta1.bubustack.io", "nap", "-o", "json"))
        await _until_explained(stand)
        again = await stand.kubectl("apply", "-f", "-", stdin=BETA.replace("5s", "7s"))

    assert alpha["spec"]["steps"] == [
        {"name": "ask", "type": "gate", "with": {"timeout": "1h"}},
        {"name": "rest", "needs": ["ask"], "type": "sleep", "with": {"duration": "5s"}},
    ]
    assert beta["spec"]["steps"] == [
        {"name": "ask", "gate": {"timeout": "1h"}},
        {"name": "rest", "needs": ["ask"], "sleep": {"duration": "7s"}},
    ]
    assert "story.bubustack.io/nap" in again


async def _until_explained(stand: AdmissionStand) -> None:
    """Wait for the documents of a version. A real server publishes them a moment after it serves the version."""
    with trio.fail_after(30):
        while True:
            told = await stand.kubectl("explain", "story.spec.steps", "--api-version=bubustack.io/v1beta1", check=False)
            if all(field in told for field in ("sleep", "executeStory", "parallel", "gate")):
                return
            await trio.sleep(0.3)


async def test_the_kill_switch_frees_a_namespace_that_admission_holds_while_it_is_down(stand: AdmissionStand) -> None:
    await stand.client.create(NAMESPACE, {"metadata": {"name": "held"}})
    async with both_versions(stand):
        await stand.kubectl("apply", "--namespace=held", "-f", "-", stdin=BETA)
    await eventually(lambda: _is_refused(stand), seconds=20)
    alive = await stand.kubectl("get", "stories.v1alpha1.bubustack.io", "--namespace=held")
    await stand.client.delete(NAMESPACE, "held")
    await stand.kubectl("patch", "crd", NAME, "--type=json", "-p", json.dumps(KILL_SWITCH))
    await eventually(lambda: _is_gone(stand, "held"), seconds=NAMESPACE_SECONDS)

    assert "nap" in alive


async def _is_refused(stand: AdmissionStand) -> bool:
    """Whether conversion fails. Connections that the server holds open end a moment later."""
    story = BETA.replace("nap", "new")
    said = await stand.kubectl("create", "--namespace=held", "--dry-run=server", "-f", "-", stdin=story, check=False)
    return "conversion webhook" in said


async def _is_gone(stand: AdmissionStand, name: str) -> bool:
    try:
        found = await stand.client.get(NAMESPACE, name)
    except NotFoundError:
        return True
    assert found["metadata"].get("deletionTimestamp")
    return False
