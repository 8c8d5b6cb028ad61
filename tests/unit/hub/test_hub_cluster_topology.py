"""The topology of a cluster: what is requested, how often, and what comes of it. (hub/cluster_topology.py)"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import trio
import trio.testing

from core.api.objects import NamespacedName, Object
from hub.cluster_topology import ClusterTopology
from hub.topology import Place, Topology
from tests.unit.core.kube.scripted_server import ScriptedServer, WatchConnection, listing, ok, refusal
from tests.unit.hub.cluster_samples import (
    engram_step,
    pinned_revision,
    realtime_run,
    realtime_story,
    transport_binding,
)

RUN = NamespacedName("team", "run-1")
STORY = realtime_story(engram_step("a"), engram_step("b", "a"))
REVISION = pinned_revision(STORY)
REVISION_NAME: str = REVISION["metadata"]["name"]


def stored_run(name: str = "run-1", uid: str = "run-uid") -> Object:
    run = realtime_run(name)
    return {**run, "metadata": {**run["metadata"], "uid": uid}}


def stored_binding(step: str, version: int = 1, **fields: object) -> Object:
    given = {"uid": f"uid-{step}", "revision": REVISION_NAME, "resourceVersion": str(version), **fields}
    return transport_binding(step, **given)  # type: ignore[arg-type]


@dataclass
class TopologyStand:
    bindings: list[Object]
    objects: dict[str, Object | httpx.Response] = field(default_factory=dict)
    """By the last part of the path."""

    def __post_init__(self) -> None:
        self.objects = {"run-1": stored_run(), REVISION_NAME: REVISION, **self.objects}
        self.server = ScriptedServer(self._answer)
        self.told: list[NamespacedName] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if name == "transportbindings":
            return listing(*self.bindings, version=100)
        found = self.objects.get(name)
        if found is None:
            return refusal("NotFound")
        return found if isinstance(found, httpx.Response) else ok(found)

    @property
    def reads(self) -> Counter[str]:
        return Counter(request.url.path.rpartition("/")[2] for request in self.server.requests)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ClusterTopology]:
        async with self.server.client() as client, trio.open_nursery() as nursery:
            topology = ClusterTopology(client, on_change=self.told.append)
            await nursery.start(topology.run)
            self.watch: WatchConnection = await self.server.next_watch()
            yield topology
            nursery.cancel_scope.cancel()


async def now(topology: ClusterTopology) -> Topology:
    await trio.testing.wait_all_tasks_blocked()
    return await topology.changed(None)


def reason(topology: Topology, step: str) -> tuple[str, bool]:
    found = topology.unserved[NamespacedName("team", f"run-1-{step}-transport")]
    return found.why, found.is_final


async def test_a_run_costs_two_reads_however_many_bindings_it_has(autojump_clock: trio.testing.MockClock) -> None:
    stand = TopologyStand([stored_binding("a"), stored_binding("b")])
    async with stand.open() as topology:
        found = await now(topology)
        assert found.runs[RUN].targets == {"a": ("b",), "b": ()}
        stand.watch.push("MODIFIED", stored_binding("a", 101, generation=2))
        assert (await now(topology)).bindings[NamespacedName("team", "run-1-a-transport")].generation == 2
        assert stand.reads == {"transportbindings": 2, "run-1": 1, REVISION_NAME: 1}


async def test_a_change_is_told_to_the_one_who_waits_and_the_own_writes_are_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand = TopologyStand([stored_binding("a")])
    async with stand.open() as topology, trio.open_nursery() as nursery:
        seen = await now(topology)
        assert reason(seen, "a") == ("the run waits for the bindings of b", False)
        stand.told.clear()
        stand.watch.push("MODIFIED", {**stored_binding("a", 101), "status": {"endpoint": "x:1"}})
        await trio.testing.wait_all_tasks_blocked()
        assert stand.told == []
        assert await topology.changed(None) is seen
        found: list[Topology] = []

        async def wait() -> None:
            found.append(await topology.changed(seen))

        nursery.start_soon(wait)
        stand.watch.push("ADDED", stored_binding("b", 102))
        await trio.testing.wait_all_tasks_blocked()
        assert RUN in found[0].runs
        assert stand.told == [NamespacedName("team", f"run-1-{step}-transport") for step in "ba"]


async def test_a_finished_run_leaves_and_what_is_deleted_is_unknown(autojump_clock: trio.testing.MockClock) -> None:
    stand = TopologyStand([stored_binding("a"), stored_binding("b")])
    async with stand.open() as topology:
        await now(topology)
        stand.watch.push("MODIFIED", stored_binding("a", 101, finished=True))
        assert (await now(topology)).finished == {Place(RUN, "a")}
        stand.watch.push("DELETED", stored_binding("b", 102))
        found = await now(topology)
        assert found.runs == {}
        assert set(found.unserved) == {NamespacedName("team", "run-1-a-transport")}


async def test_a_binding_of_another_uid_under_the_same_name_is_another_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand = TopologyStand([stored_binding("a"), stored_binding("b")])
    async with stand.open() as topology:
        first = await now(topology)
        for number, step in enumerate("ab"):
            stand.watch.push("MODIFIED", stored_binding(step, 101 + number, uid=f"new-{step}", run_uid="second"))
        stand.objects["run-1"] = stored_run(uid="second")
        await trio.sleep(60)
        found = await now(topology)
        assert found.lives[RUN] != first.lives[RUN]


async def test_a_story_that_cannot_be_read_yet_is_read_again_in_growing_pauses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand = TopologyStand([stored_binding("a"), stored_binding("b")], {"run-1": refusal("InternalError", code=500)})
    async with stand.open() as topology:
        await trio.sleep(300)
        assert 8 <= stand.reads["run-1"] <= 60
        text, is_final = reason(await now(topology), "a")
        assert text.startswith("the Story of the run cannot be read yet: ")
        assert not is_final
        stand.objects["run-1"] = stored_run()
        await trio.sleep(60)
        assert RUN in (await now(topology)).runs
        count = stand.reads["run-1"]
        await trio.sleep(300)
        assert stand.reads["run-1"] == count


async def test_a_story_is_not_read_any_more_when_its_run_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    stand = TopologyStand([stored_binding("a")], {"run-1": refusal("NotFound")})
    async with stand.open() as topology:
        await trio.sleep(60)
        stand.bindings.clear()
        stand.watch.push("DELETED", stored_binding("a", 101))
        await trio.sleep(60)
        count = stand.reads["run-1"]
        await trio.sleep(300)
        assert stand.reads["run-1"] == count
        assert (await now(topology)).unserved == {}


async def test_what_can_never_be_served_is_told_and_not_read_again(autojump_clock: trio.testing.MockClock) -> None:
    damaged = {**REVISION, "data": {**REVISION["data"], "spec": {"steps": []}}}
    for objects, problem in (
        ({"run-1": stored_run(uid="other")}, "another UID than the binding refers to"),
        ({REVISION_NAME: damaged}, "does not contain the Story that its name identifies"),
    ):
        stand = TopologyStand([stored_binding("a"), stored_binding("b")], dict(objects))
        async with stand.open() as topology:
            text, is_final = reason(await now(topology), "b")
            assert problem in text
            assert is_final
            await trio.sleep(300)
            assert stand.reads["run-1"] == 1


async def test_without_the_name_in_a_binding_the_run_says_which_story_it_has(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bindings = [stored_binding(step, revision="") for step in "ab"]
    run = {**stored_run(), "status": {"storyRevision": REVISION_NAME}}
    async with TopologyStand(bindings, {"run-1": run}).open() as topology:
        assert RUN in (await now(topology)).runs
    async with TopologyStand(bindings).open() as topology:
        assert "names the stored Story" in reason(await now(topology), "a")[0]
