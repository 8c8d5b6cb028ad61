"""Trigger contract 11 and 15: an Impulse asks, by the SDK, that a run is stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bubu_sdk.errors import Object as Body
from bubu_sdk.kube import Cluster
from bubu_sdk.storyruns import StoryRuns
from bubu_sdk.storytrigger import Origin
from core.api.objects import Object
from core.api.resource import STORY, STORY_RUN
from tests.acceptance.acceptance_stand import (
    HANGS,
    SdkSide,
    Stand,
    condition,
    ended,
    engram,
    reached,
    scenario,
    status_of,
)

RUN: Object = {"storyRef": {"name": "story"}, "inputs": {"city": "Bern"}}
CANCEL: Object = {"spec": {"cancelRequested": True}}


@dataclass
class Recorded:
    """A connection that records method and body of each request."""

    cluster: Cluster
    sent: list[tuple[str, Any]] = field(default_factory=list)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Body:
        self.sent.append((method, body))
        return self.cluster.request(method, path, body, content_type=content_type, timeout_seconds=timeout_seconds)


async def stop(stand: Stand) -> list[tuple[str, Any]]:
    """Stop the run; returns the requests of the SDK."""

    def work(side: SdkSide) -> list[tuple[str, Any]]:
        recorded = Recorded(side.cluster)
        origin = Origin.of({"BUBU_IMPULSE_NAMESPACE": stand.namespace})
        assert StoryRuns(recorded, origin, timeout_seconds=30.0).stop("run")
        return recorded.sent

    return await stand.sdk(work)


async def a_run_at_work(stand: Stand) -> Object:
    """A run whose step does not end by itself."""
    stand.scripts["a"] = HANGS
    policy = {"timeouts": {"gracefulShutdownTimeout": "1s"}}
    await stand.create(STORY, "story", {"steps": [engram("a")], "policy": policy})
    await stand.create(STORY_RUN, "run", RUN, labels={"team": "one"}, annotations={"note": "two"})
    await reached(stand, "a", "Running")
    return await stand.read(STORY_RUN, "run")


@scenario()
async def test_15_10_1_a_stop_does_nothing_to_a_run_that_has_ended(stand: Stand) -> None:
    await stand.create(STORY, "story", {"steps": [engram("a")]})
    await stand.create(STORY_RUN, "run", RUN)
    await ended(stand)
    assert await stop(stand) == [("GET", None)]
    await stand.patch(STORY_RUN, "run", CANCEL)  # a client that does not look first
    await stand.until(lambda: (stand.find(STORY_RUN, "run") or {})["spec"].get("cancelRequested"), "it was asked")
    await stand.pause(0.3)
    run = await stand.read(STORY_RUN, "run")
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Succeeded", ("True", "Completed"))


@scenario()
async def test_15_10_2_a_repeated_stop_does_nothing(stand: Stand) -> None:
    await a_run_at_work(stand)
    assert [method for method, _ in await stop(stand)] == ["GET", "PATCH"]
    assert await stop(stand) == [("GET", None)]
    run = await ended(stand)
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Finished", ("False", "Canceled"))
    assert await stop(stand) == [("GET", None)]


@scenario()
async def test_15_10_3_a_stop_changes_nothing_but_the_request(stand: Stand) -> None:
    before = await a_run_at_work(stand)
    assert await stop(stand) == [("GET", None), ("PATCH", CANCEL)]
    after = await ended(stand)
    assert after["spec"] == {**before["spec"], "cancelRequested": True}
    kept = ("labels", "uid", "creationTimestamp", "ownerReferences")
    assert {name: after["metadata"].get(name) for name in kept} == {name: before["metadata"].get(name) for name in kept}
    assert after["metadata"]["annotations"].items() >= before["metadata"]["annotations"].items()
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
