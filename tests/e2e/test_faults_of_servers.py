"""API servers that die, forget, lag or lead nowhere, and tokens that expire; named by the rows of our catalogue.

Unless a test says otherwise, its outcome is compared with that of the same work done without a disturbance.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import trio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from core.api.resource import (
    ENGRAM,
    ENGRAM_TEMPLATE,
    JOB,
    POD,
    REFERENCE_GRANT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
)
from core.engine.clock import system_now
from deployment.permissions.install import request_token
from localcluster.kubeconfig import write_private
from tests.e2e.comparison import Outcome
from tests.e2e.fault_rig import FaultRig, open_fault_rig
from tests.e2e.fault_workload import insist
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR, eventually, install_on, status_of, step
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.link import Link, open_link
from tools.control_plane.running import ControlPlane, open_api_server, open_control_plane
from tools.control_plane.session import SessionCluster, ready_of

LEEWAY_SECONDS = 60
"""How long API servers accept a token after it has expired."""


@pytest.fixture
async def rig(steerable: SessionCluster, tmp_path: Path) -> AsyncIterator[FaultRig]:
    async with open_fault_rig(tmp_path, steerable) as opened:
        yield opened


# Deaths and lost history.


async def test_F14_F27_a_server_that_dies_and_forgets_costs_nothing(
    steerable: SessionCluster, faultless: Outcome, tmp_path: Path
) -> None:
    """The server is killed while runs are in progress. When it is back, it has forgotten what happened before.

    The test uses its own control plane, because a server that forgets would disturb other tests. The kill waits until
    the containers that report their own results have done so: they decide how long they retry, not the manager.
    """
    async with (
        open_control_plane(ensure_binaries(), tmp_path / "plane") as plane,
        open_rig_on(plane, tmp_path) as rig,
    ):
        manager = await rig.start_manager()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.workload.play)
            await rig.cluster.finished("greetings", seconds=60)
            await plane.api_server.kill()
            await plane.compact()
            await plane.api_server.restart()
        await insist(rig.ended)
        await collect_anew(plane)
        await insist(rig.settled)
        await rig.ends_like(faultless)
        log = (tmp_path / "manager.log").read_text()
        assert manager.running
    # A server that has just started may refuse every request before it reports its lost history. Both cause new lists.
    assert any(words in log for words in ("too old resource version", "Expired", "cannot follow")), log


@asynccontextmanager
async def open_rig_on(plane: ControlPlane, directory: Path) -> AsyncIterator[FaultRig]:
    cluster = SessionCluster(plane.kubeconfig, plane.binaries.kubectl, ready_of(plane))
    await install_on(cluster)
    await collect_anew(plane)
    async with open_fault_rig(directory, cluster) as rig:
        yield rig


async def collect_anew(plane: ControlPlane) -> None:
    """Restart the controller manager, so that its garbage collector lists everything now.

    While it runs, it looks for new kinds every half minute only. And it never learns that an object was deleted if
    another one has its name when its broken watch goes on: the Pods of a Job that a retry has replaced would stay.
    """
    await plane.controllers.kill()
    plane.controllers.start()


# Replicas that lag.


@asynccontextmanager
async def open_lagging_server(rig: FaultRig, *, warm: bool = True) -> AsyncIterator[tuple[str, Link]]:
    """A second API server on the same objects. Its connection to etcd can be frozen.

    If it is ``warm``, it has each kind in its cache. A server begins to cache a kind with the first request for it.
    """
    async with (
        open_link(rig.ready.etcd_url) as link,
        open_api_server("lagging", ensure_binaries(), rig.access, link.url, rig.directory) as server,
    ):
        for resource in (
            (STORY, ENGRAM, ENGRAM_TEMPLATE, STORY_RUN, STEP_RUN, JOB, POD, REFERENCE_GRANT) if warm else ()
        ):
            await names_in_the_cache(rig, server.url, resource)
        yield server.url, link


async def test_F24_a_manager_that_starts_on_a_server_in_the_past_waits_for_the_present(
    rig: FaultRig, faultless: Outcome
) -> None:
    async with open_lagging_server(rig) as (url, link):
        link.freeze()
        first = await rig.start_manager("first", url=rig.ready.url)
        await rig.workload.play()
        await first.kill()
        assert await names_in_the_cache(rig, url, STORY_RUN) == []
        assert len(await rig.listed(STORY_RUN)) > 0
        await trio.sleep(0.5)
        before = len(rig.history.writes)
        second = await rig.start_manager("second", url=url)
        await trio.sleep(5)
        by_manager = [write for write in rig.history.writes[before:] if write.created]
        link.thaw()
        await rig.settled()
        await rig.ends_like(faultless)
        assert by_manager == []
        assert second.running


async def names_in_the_cache(rig: FaultRig, url: str, resource: Resource) -> list[str]:
    """The names that a server shows to clients that do not require current data."""
    headers = {"authorization": f"Bearer {rig.ready.admin_token}"}
    tls = rig.access.tls_context()
    group = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    async with httpx.AsyncClient(base_url=url, verify=tls, headers=headers, timeout=20) as client:
        while True:
            answer = await client.get(f"{group}/{resource.plural}", params={"resourceVersion": "0"})
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                answer.raise_for_status()
                return [item["metadata"]["name"] for item in answer.json()["items"]]
            await trio.sleep(0.2)  # it is about to begin


@pytest.mark.parametrize("warm", [True, False], ids=["to a past", "to nothing yet"])
async def test_F25_a_manager_that_is_led_into_the_past_does_not_touch_a_namesake(rig: FaultRig, warm: bool) -> None:
    """Its connections move to a server that lags. Meanwhile a run is deleted and another one with its name created.

    A server with an empty cache loads its kinds one after the other, so that they do not match.
    """
    flag = rig.directory / "released"
    await rig.cluster.engram("gate", f"until test -e {flag}; do sleep 0.1; done")
    await rig.cluster.story("gated", step("a", "gate"), step("b", "nap", needs=["a"]))
    await rig.collector_knows_our_kinds()
    async with open_lagging_server(rig, warm=warm) as (url, link):
        manager = await rig.start_manager()
        await rig.cluster.run("one", "gated")
        await rig.cluster.until(STORY_RUN, "one", lambda run: status_of(run).get("phase") == "Running")
        await rig.cluster.step("one-a", "Running")
        link.freeze()
        rig.proxy.upstream = url
        rig.proxy.cut_connections()
        await rig.cluster.client.patch(STORY_RUN, "one", {"metadata": {"finalizers": None}}, namespace=NAMESPACE_NAME)
        await rig.cluster.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
        await rig.cluster.gone(STORY_RUN, "one")
        again = await rig.cluster.run("one", "gated")
        await trio.sleep(3)
        link.thaw()
        flag.touch()
        run = await rig.cluster.finished("one", seconds=60)
        await rig.ends_without_orphans()
        assert manager.running
    assert run["metadata"]["uid"] == again["metadata"]["uid"]
    assert status_of(run)["phase"] == "Succeeded", run["status"]
    outcome = await rig.outcome()
    place = f"{NAMESPACE_NAME}/one"
    deleted = {key: count for key, count in outcome.deleted.items() if place in key}
    counts = {key: count for key, count in deleted.items() if key.startswith(("runs.", "jobs/"))}
    expected = {
        f"runs.bubustack.io/storyruns/{place}": 1,
        f"runs.bubustack.io/stepruns/{place}-a": 1,
        f"jobs/{place}-a": 1,
    }
    assert counts == expected, story_of(rig)
    assert outcome.created[f"jobs/{place}-a"] == outcome.created[f"runs.bubustack.io/stepruns/{place}-a"] == 2
    assert outcome.created[f"jobs/{place}-b"] == 1


def story_of(rig: FaultRig) -> str:
    """What the manager wrote and what was stored, in order, for a developer who looks for the cause."""
    asked = [
        f"{seen.at:.3f} {seen.request.name} {seen.code}" for seen in rig.proxy.seen if "events" not in seen.request.name
    ]
    stored = [str(write)[:300] for write in rig.history.of("")]
    return "\n".join([*asked, "", *stored])


# Connections and tokens.


async def test_F16_F17_connections_that_carry_nothing_any_more_are_given_up(rig: FaultRig, faultless: Outcome) -> None:
    """Nothing breaks, and nothing arrives.

    Requests end at their deadline, and watches when they were silent too long.
    """
    async with open_link(rig.ready.url) as link:
        manager = await rig.start_manager(url=link.url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.workload.play)
            await eventually(lambda: has_created(rig, f"jobs/{NAMESPACE_NAME}/diamond-b"))
            link.abandon()
            abandoned_at = trio.current_time()
        await rig.settled(seconds=120)
        made_up_after = trio.current_time() - abandoned_at
        await rig.ends_like(faultless)
        assert manager.running
    assert made_up_after <= 100
    print(f"everything was made up for {made_up_after:.0f} s after the connections had gone dead")


async def has_created(rig: FaultRig, prefix: str) -> bool:
    await trio.lowlevel.checkpoint()
    return any(write.created for write in rig.history.of(prefix))


async def test_F29_a_token_that_expires_is_read_again(rig: FaultRig, faultless: Outcome) -> None:
    """The work begins when the manager's token is no longer valid. The token is renewed a little later."""
    token = await request_token(rig.cluster.client, OPERATOR)
    brief = expiring(token, rig.access.service_account_key, seconds=8)
    file = rig.directory / "token"
    write_private(file, brief)
    manager = await rig.start_manager(token_file=file)
    await eventually(lambda: rig.has_seen("GET storyruns"))
    await eventually(lambda: is_refused(rig, brief), seconds=40)
    assert not has_answered(rig, 401)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.workload.play)

        async def manager_is_refused() -> bool:
            await trio.lowlevel.checkpoint()
            return has_answered(rig, 401)

        await eventually(manager_is_refused, seconds=30)
        await trio.sleep(3)
        write_private(file, token)
        renewed_at = trio.current_time()
    await rig.settled()
    accepted = [seen.at for seen in rig.proxy.seen if seen.code in {200, 201} and seen.at > renewed_at]
    await rig.ends_like(faultless)
    assert min(accepted) - renewed_at <= 5
    assert manager.running
    print(f"the new token was in use after {min(accepted) - renewed_at:.1f} s")


async def is_refused(rig: FaultRig, token: str) -> bool:
    async with httpx.AsyncClient(base_url=rig.ready.url, verify=rig.access.tls_context()) as client:
        answer = await client.get("/apis", headers={"authorization": f"Bearer {token}"})
    return answer.status_code == httpx.codes.UNAUTHORIZED


def has_answered(rig: FaultRig, code: int) -> bool:
    return any(seen.code == code for seen in rig.proxy.seen)


def expiring(token: str, key_file: Path, *, seconds: int) -> str:
    """The same token, which expires in this many seconds. Servers issue no token that lives less than ten minutes."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    head, claims, _ = token.split(".")
    content = orjson.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    now = int(system_now().timestamp())
    content |= {"iat": now - 3600, "nbf": now - 3600, "exp": now + seconds - LEEWAY_SECONDS}
    signed = f"{head}.{_encoded(orjson.dumps(content))}"
    return f"{signed}.{_encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
