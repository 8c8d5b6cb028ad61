"""Packets of a stream start StoryRuns, on an API server that stores. Their ends are written as the operator would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.api import keys
from core.api.objects import Object
from core.api.resource import CONTROLLER_REVISION, STORY_RUN, TRANSPORT_BINDING
from tests.integration.hub_cluster import ALO, NAMESPACE_NAME, PATIENCE_SECONDS, HubCluster, open_hub_cluster
from tests.integration.operator_cluster import eventually
from tests.unit.hub.cluster_samples import (
    engram_step,
    pinned_revision,
    primitive_step,
    realtime_run,
    realtime_story,
    transport_binding,
)
from tests.unit.hub.modelled_client import EngramIO, Program, collecting

CALL = primitive_step("call", "emit", type_="executeStory") | {
    "with": {"storyRef": {"name": "child"}},
    "runtime": {"said": "{{ packet.metadata.said }}"},
}
MESSAGE_ID = "bubu.envelope.message_id"


def saying(*words: str) -> Program:
    async def program(io: EngramIO) -> None:
        for word in words:
            await io.emit(word, **{"said": word, MESSAGE_ID: f"m-{word}"})
        async for _ in io.incoming():
            pass

    return program


async def begin(
    cluster: HubCluster,
    timeout: str = "60s",
    step: Object = CALL,
    bindings: Mapping[str, Mapping[str, str]] = {"emit": {}, "sink": {}},
) -> None:
    """A run whose Story has ``step`` between its two engrams, with these annotations of its bindings."""
    between = {**step, "execution": {"timeout": timeout}}
    sink = engram_step("sink", between["name"])
    story = realtime_story(engram_step("emit"), between, sink, name="caller", namespace=NAMESPACE_NAME)
    revision = await cluster.client.create(CONTROLLER_REVISION, pinned_revision(story))
    run = await cluster.client.create(STORY_RUN, realtime_run("run-1", story="caller", namespace=NAMESPACE_NAME))
    cluster.uids["run-1"] = run["metadata"]["uid"]
    for name, marks in bindings.items():
        settings = {"run_uid": run["metadata"]["uid"], "revision": revision["metadata"]["name"], "settings": ALO}
        binding = transport_binding(name, namespace=NAMESPACE_NAME, **settings)
        binding["metadata"]["annotations"] |= marks
        stored = await cluster.client.create(TRANSPORT_BINDING, binding)
        cluster.uids[f"run-1/{name}"] = stored["metadata"]["uid"]


async def children(cluster: HubCluster) -> dict[str, Object]:
    """The StoryRuns that packets have started, by what they were told."""
    found = await cluster.client.list(STORY_RUN, NAMESPACE_NAME)
    runs = [each for each in found.items if each["metadata"]["name"] != "run-1"]
    return {each["spec"]["inputs"]["said"]: each for each in runs}


async def until_children(cluster: HubCluster, *said: str) -> dict[str, Object]:
    found: dict[str, Object] = {}

    async def are_there() -> bool:
        nonlocal found
        found = await children(cluster)
        return set(found) >= set(said)

    await eventually(are_there, seconds=PATIENCE_SECONDS)
    return found


async def end(cluster: HubCluster, run: Object, phase: str, **status: Any) -> None:
    patch = {"status": {"phase": phase, **status}}
    name = run["metadata"]["name"]
    await cluster.client.patch(STORY_RUN, name, patch, namespace=NAMESPACE_NAME, subresource="status")


async def test_outputs_go_on_in_order_and_a_failure_costs_its_own_packet(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await begin(cluster)
        await cluster.start_hub()
        cluster.engram("sink", collecting(received))
        cluster.engram("emit", saying("a", "b", "c", "d"))
        runs = await until_children(cluster, "a", "b", "c", "d")
        for said in "dba":
            await end(cluster, runs[said], "Failed" if said == "b" else "Succeeded", message="no", output={"got": said})
        await cluster.client.delete(STORY_RUN, runs["c"]["metadata"]["name"], NAMESPACE_NAME)

        async def arrived() -> bool:
            return len(received) == 2

        await eventually(arrived, seconds=PATIENCE_SECONDS)
        assert ['"got":"a"' in received[0], '"got":"d"' in received[1]] == [True, True], received
        assert len(await children(cluster)) == 3, "none was started again"


async def test_a_hub_that_starts_again_finds_the_run_of_a_packet_that_comes_again(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        await begin(cluster)
        await cluster.start_hub()
        cluster.engram("sink", collecting(received))
        cluster.engram("emit", saying("a"))
        [first] = (await until_children(cluster, "a")).values()
        await cluster.end("hub")
        await cluster.start_hub()  # the engram says everything again in its new session
        await end(cluster, first, "Succeeded", output={"got": "a"})

        async def arrived() -> bool:
            return len(received) >= 1

        await eventually(arrived, seconds=PATIENCE_SECONDS)
        [only] = (await children(cluster)).values()
        assert only["metadata"]["uid"] == first["metadata"]["uid"]


async def test_each_packet_of_a_step_that_runs_jobs_starts_a_run_whose_first_end_counts(tmp_path: Path) -> None:
    received: list[str] = []
    async with open_hub_cluster(tmp_path) as cluster:
        work = engram_step("work", "emit", runtime={"said": "{{ packet.metadata.said }}"})
        await begin(
            cluster, step=work, bindings={"emit": {}, "work": {keys.ANNOTATION_STREAM_JOBS: "true"}, "sink": {}}
        )
        await cluster.start_hub()
        cluster.engram("sink", collecting(received))
        cluster.engram("emit", saying("a", "b", "lost"))
        runs = await until_children(cluster, "a", "b", "lost")
        assert {run["metadata"]["annotations"][keys.ANNOTATION_PACKET_STEP] for run in runs.values()} == {"work"}
        assert {run["spec"]["storyRef"]["name"] for run in runs.values()} == {"caller"}

        async def stream_of_work() -> Object:
            binding = await cluster.client.get(TRANSPORT_BINDING, "run-1-work-transport", NAMESPACE_NAME)
            found: Object = (binding.get("status") or {}).get("stream") or {}
            return found

        async def is_lost() -> bool:
            return str((await stream_of_work()).get("trouble")).startswith("job: ")

        await end(cluster, runs["lost"], "Failed", message="no luck")
        await eventually(is_lost, seconds=PATIENCE_SECONDS)
        for said in ("lost", "b"):  # a retry, after the end and before it
            await end(cluster, runs[said], "Running", message=None)
            await end(cluster, runs[said], "Succeeded", output={"output": {"got": said}})
        await end(cluster, runs["a"], "Succeeded", output={"output": {"got": "a"}})

        async def arrived() -> bool:
            return len(received) == 2

        await eventually(arrived, seconds=PATIENCE_SECONDS)
        assert ['"got":"a"' in received[0], '"got":"b"' in received[1]] == [True, True], received

        async def is_counted() -> bool:
            stream = await stream_of_work()
            counts = [stream.get(count) for count in ("connected", "delivered", "received", "lost", "waiting")]
            return counts == [True, 3, 2, 1, 0]

        await eventually(is_counted, seconds=PATIENCE_SECONDS)
        assert len(received) == 2, "the stream has taken the packet as lost: nothing comes of a retry"


async def test_a_run_that_takes_too_long_is_given_up_by_name(tmp_path: Path) -> None:
    async with open_hub_cluster(tmp_path) as cluster:
        await begin(cluster, timeout="1s")
        await cluster.start_hub()
        cluster.engram("sink", collecting([]))
        cluster.engram("emit", saying("a"))
        await until_children(cluster, "a")

        async def is_told() -> bool:
            return "has not ended within 1 s" in cluster.hub_log

        await eventually(is_told, seconds=PATIENCE_SECONDS)
