"""What this process knows of an object after the API server has answered that it is gone or replaced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from core.api.objects import NamespacedName, Object, is_being_deleted
from core.api.resource import STORY_RUN
from core.engine.errors import GoneError, PortError, UnavailableError
from core.kube.client import KubeClient
from reconcilers.adapters.run_store import KubeRunStore
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.world import World
from reconcilers.adapters.writes import confirm, delete
from tests.unit.reconcilers.memory_server import MemoryServer, Request, open_process
from tests.unit.reconcilers.reconciler_samples import run, step_run

Act = Callable[[KubeClient, World, Object], Awaitable[object]]


async def write_status(client: KubeClient, world: World, known: Object) -> None:
    await KubeRunStore(client, world).patch_run_status(known, {"phase": "Running"})


async def write_metadata(client: KubeClient, world: World, known: Object) -> None:
    await KubeRunStore(client, world).patch_run_metadata(known, {"labels": {"a": "b"}})


async def check(client: KubeClient, world: World, known: Object) -> None:
    await confirm(client, world.story_runs, STORY_RUN, known)


async def create_step_run_again(client: KubeClient, world: World, known: Object) -> None:
    await KubeStepRuns(client, world).create_step_run(known, step_run(known), again=True)


ACTS: dict[str, Act] = {
    "status": write_status,
    "metadata": write_metadata,
    "check": check,
    "a step run again": create_step_run_again,
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
async def test_a_run_that_the_server_does_not_have_is_not_read_again_from_a_cache_that_is_behind(act: Act) -> None:
    server = MemoryServer([STORY_RUN], run())
    async with open_process(server) as (client, world):
        [known] = world.story_runs.list()
        server.remove(server.all(STORY_RUN)[0])
        heard: list[Object | None] = []
        world.story_runs.add_handler(lambda change: heard.append(change.new))
        with pytest.raises(GoneError):
            await act(client, world, known)
        assert await KubeRunStore(client, world).read_run(NamespacedName("team", "one")) is None
        assert heard == [known, None]
        world.story_runs.remember(known)  # its watch reports an old version
        assert world.story_runs.list() == []


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
async def test_a_server_without_answer_says_nothing_about_the_run(act: Act) -> None:
    async def fails(_: Request) -> None:
        raise ConnectionError

    server = MemoryServer([STORY_RUN], run())
    async with open_process(server) as (client, world):
        [known] = world.story_runs.list()
        server.before = fails
        with pytest.raises((UnavailableError, ConnectionError)):
            await act(client, world, known)
        assert world.story_runs.list() == [known]


async def test_a_check_shows_the_run_that_has_the_name_now() -> None:
    server = MemoryServer([STORY_RUN], run())
    async with open_process(server) as (client, world):
        [known] = world.story_runs.list()
        server.remove(server.all(STORY_RUN)[0])
        other = server.put(run(meta={"uid": "another"}))
        with pytest.raises(PortError, match="has been deleted"):
            await confirm(client, world.story_runs, STORY_RUN, known)
        assert await KubeRunStore(client, world).read_run(NamespacedName("team", "one")) == other


async def test_what_is_deleted_is_not_read_again() -> None:
    server = MemoryServer([STORY_RUN], run())
    async with open_process(server) as (client, world):
        [known] = world.story_runs.list()
        await delete(client, world.story_runs, STORY_RUN, known)
        assert world.story_runs.list() == []


async def test_what_has_got_a_finalizer_meanwhile_is_known_to_exist_and_to_be_deleted() -> None:
    """A run must not be released before the objects that it owns are gone."""
    server = MemoryServer([STORY_RUN], run())
    async with open_process(server) as (client, world):
        [known] = world.story_runs.list()
        assert "finalizers" not in known["metadata"]
        held = {**known["metadata"], "finalizers": ["somebody/holds-it"], "resourceVersion": "9"}
        server.put({**known, "metadata": held})  # its event has not come yet
        await delete(client, world.story_runs, STORY_RUN, known)
        [left] = world.story_runs.list()
        assert is_being_deleted(left)
        assert left["metadata"]["finalizers"] == ["somebody/holds-it"]
