"""The streams of a realtime run at the API server: read, followed, asked for news. (cli/streams.py)"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from bubu_contract.identity import compose, label_value
from bubu_contract.instants import format_instant, parse_instant
from cli.embedded.folder import EmbeddedCluster
from cli.runs import look_at, open_following, run_manifest, start_run
from cli.session import Session
from cli.streams import ask_for_news, bindings_of, with_streams
from cli.watching import Watched
from core.api import keys
from core.api.objects import Object
from core.api.resource import STORY, TRANSPORT_BINDING
from core.engine.clock import system_now
from tests.unit.cli.conftest import Server


async def realtime_run(session: Session, *steps: str) -> Object:
    """A run of a realtime Story whose steps have bindings, as the operator makes them."""
    declared = [{"name": step, "ref": {"name": "worker"}} for step in steps]
    story = {"metadata": {"name": "live"}, "spec": {"pattern": "realtime", "steps": declared}}
    await session.client.create(
        STORY, {"apiVersion": STORY.api_version, "kind": STORY.kind, **story}, namespace="default"
    )
    run = await start_run(session, run_manifest("live", "default", {}, name="live-1"))
    for step in steps:
        await session.client.create(TRANSPORT_BINDING, binding(run, step), namespace="default")
    return run


def binding(run: Object, step: str) -> Object:
    name = run["metadata"]["name"]
    labels = {keys.LABEL_STORY_RUN: label_value(name), keys.LABEL_STEP: label_value(step)}
    return {
        "apiVersion": TRANSPORT_BINDING.api_version,
        "kind": TRANSPORT_BINDING.kind,
        "metadata": {"name": compose(name, step, "transport"), "labels": labels},
        "spec": {
            "driver": "hub",
            "transportRef": "hub",
            "engramName": compose(name, step),
            "stepName": step,
            "binary": {"direction": "bidirectional"},
            "storyRunRef": {"name": name, "namespace": "default", "uid": run["metadata"]["uid"]},
        },
    }


async def hub_says(session: Session, step: str, **stream: int | bool) -> None:
    name, status = compose("live-1", step, "transport"), {"stream": stream}
    await session.client.patch(TRANSPORT_BINDING, name, {"status": status}, namespace="default", subresource="status")


async def watched_until(session: Session, step: str) -> str:
    stored = await session.client.get(TRANSPORT_BINDING, compose("live-1", step, "transport"), "default")
    return str((stored["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STREAM_WATCHED_UNTIL) or "")


async def test_a_run_is_looked_at_with_its_streams(session: Session) -> None:
    run = await realtime_run(session, "emit", "sink")
    await hub_says(session, "emit", connected=True, received=7)

    flows = {step.name: step.flow for step in (await look_at(session, run)).steps}
    assert flows["emit"] is not None
    assert (flows["emit"].received, flows["emit"].is_connected) == (7, True)
    document = await with_streams(session, run)
    assert document["streams"] == {"emit": {"connected": True, "received": 7}, "sink": None}
    assert {name: value for name, value in document.items() if name != "streams"} == run


async def test_a_batch_run_is_shown_as_it_is_stored(session: Session) -> None:
    run = await start_run(session, run_manifest("story", "default", {}, name="mine"))

    assert await with_streams(session, run) == run


async def test_changes_of_the_streams_are_followed(session: Session) -> None:
    run = await realtime_run(session, "emit")
    async with open_following(session, run) as following:
        with trio.fail_after(5):
            await hub_says(session, "emit", received=41)
            while (flow := following.view().steps[0].flow) is None or flow.received != 41:
                changed = following.changed
                with trio.move_on_after(0.2):
                    await changed.wait()


async def test_the_hub_is_asked_for_news_once_in_a_while(session: Session) -> None:
    run = await realtime_run(session, "emit", "sink")
    bindings = await bindings_of(session, run)
    soon = format_instant(system_now() + timedelta(seconds=80))
    bindings[1]["metadata"]["annotations"] = {keys.ANNOTATION_STREAM_WATCHED_UNTIL: soon}

    with trio.move_on_after(0.5):
        await ask_for_news(session, lambda: bindings)

    asked = parse_instant(await watched_until(session, "emit")) - system_now()
    assert timedelta(seconds=80) < asked <= timedelta(seconds=90)
    assert await watched_until(session, "sink") == "", "another watcher has asked already"


async def test_who_may_not_ask_sees_the_same_later(session: Session, server: Server) -> None:
    run = await realtime_run(session, "emit")
    bindings = await bindings_of(session, run)

    async with server.session_as("stranger") as other:
        with trio.fail_after(5):
            await ask_for_news(other, lambda: bindings)
        assert await bindings_of(other, run) == []

    assert await watched_until(session, "emit") == ""


@pytest.mark.parametrize(
    ("on_demand", "words"),
    [
        (True, "its containers stop with this cluster, and start again when it is up: bobrapet up && bobrapet watch"),
        (False, "its streams continue until their sources end or it is canceled: bobrapet watch live-1"),
    ],
)
async def test_who_leaves_a_realtime_run_is_told_what_becomes_of_it(
    session: Session, on_demand: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    cluster = EmbeddedCluster(tmp_path, "http://cluster", tmp_path / "kubeconfig", 1, "", on_demand)
    watched = Watched(replace(session, embedded=cluster), ("live-1",), streams=True)

    assert words in watched.farewell()
    assert "cancel it with: " in watched.farewell()
