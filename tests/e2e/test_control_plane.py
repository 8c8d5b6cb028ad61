"""The control plane itself: it starts completely, survives what tests do to it, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio

from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.processes import ServerError
from tools.control_plane.running import ControlPlane, open_control_plane
from tools.control_plane.session import running_child

NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with open_control_plane(ensure_binaries(), tmp_path, audit=True) as opened:
        yield opened


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it has ended, before or while this was read
        return False


async def create(plane: ControlPlane, name: str) -> None:
    async with plane.open_client() as client:
        answer = await client.post(NAMESPACES, json={"metadata": {"name": name}})
    assert answer.status_code == httpx.codes.CREATED


async def objects_survive_the_kill_of_everything_that_serves_them(plane: ControlPlane) -> None:
    await create(plane, "kept")
    before = plane.pids

    await plane.api_server.kill()
    await plane.etcd.kill()
    plane.etcd.start()
    await plane.api_server.restart()

    assert plane.pids["kube-apiserver"] != before["kube-apiserver"]
    async with plane.open_client() as client:
        assert (await client.get(f"{NAMESPACES}/kept")).status_code == httpx.codes.OK


async def a_paused_server_answers_nothing_until_it_is_resumed(plane: ControlPlane) -> None:
    plane.api_server.process.pause()
    async with plane.open_client() as client:
        with pytest.raises(httpx.TimeoutException):  # a canceled handshake would leave its socket open
            await client.get("/version", timeout=0.5)
        plane.api_server.process.resume()
        with trio.fail_after(30):
            assert (await client.get("/version")).status_code == httpx.codes.OK


async def what_was_compacted_is_gone_from_a_server_that_does_not_remember(plane: ControlPlane) -> None:
    async with plane.open_client() as client:
        revision = (await client.get(NAMESPACES)).json()["metadata"]["resourceVersion"]
        for name in ("a", "b"):
            await create(plane, name)
        assert await plane.compact() > int(revision)
        await plane.api_server.kill()
        await plane.api_server.restart()
        page = {"limit": "1", "resourceVersion": revision, "resourceVersionMatch": "Exact"}
        assert (await client.get(NAMESPACES, params=page)).status_code == httpx.codes.GONE


async def an_account_acts_with_its_own_rights_and_the_audit_log_says_so(plane: ControlPlane) -> None:
    token = await plane.token_of("default", "default")
    async with plane.open_client(token) as client:
        assert (await client.get(NAMESPACES)).status_code == httpx.codes.FORBIDDEN
    assert plane.audit_log is not None
    assert '"username":"system:serviceaccount:default:default"' in plane.audit_log.read_text()


async def a_second_server_shows_the_same_objects(plane: ControlPlane) -> None:
    async with plane.open_api_server("second") as second, plane.open_client(url=second.url) as client:
        await create(plane, "seen")
        assert (await client.get(f"{NAMESPACES}/seen")).status_code == httpx.codes.OK


async def test_a_control_plane_does_what_the_tests_ask_of_it(plane: ControlPlane) -> None:
    """All on one control plane, because each takes three seconds of CPU to start."""
    await an_account_acts_with_its_own_rights_and_the_audit_log_says_so(plane)
    await a_second_server_shows_the_same_objects(plane)
    await a_paused_server_answers_nothing_until_it_is_resumed(plane)
    await what_was_compacted_is_gone_from_a_server_that_does_not_remember(plane)
    await objects_survive_the_kill_of_everything_that_serves_them(plane)


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"(?s)kube-apiserver.*ended before it was ready.*--no-such-flag"):
        async with open_control_plane(ensure_binaries(), tmp_path, flags=["--no-such-flag"]):
            pass


def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tools.control_plane.session import running_child\n"
        "with running_child(Path(sys.argv[1])) as ready: print(*ready.pids.values(), flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        pids = [int(word) for word in tests.stdout.readline().split()]
        assert len(pids) == 3
        tests.send_signal(signal.SIGKILL)
    trio.run(_until_none_lives, pids)


async def _until_none_lives(pids: list[int]) -> None:
    with trio.fail_after(30):
        while any(map(alive, pids)):  # noqa: ASYNC110 - processes that are not our children wake nobody here
            await trio.sleep(0.05)


def test_nothing_is_left_when_the_session_ends(tmp_path: Path) -> None:
    with running_child(tmp_path) as ready:
        assert all(map(alive, ready.pids.values()))
    assert not any(map(alive, ready.pids.values()))
