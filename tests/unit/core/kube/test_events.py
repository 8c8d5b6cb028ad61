"""Recording Events never delays the caller. Equal Events are counted. Virtual time throughout."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
import trio
import trio.testing

from core.kube import events as module
from core.kube.events import EventRecorder
from core.telemetry import metrics
from tests.unit.core.kube.scripted_server import ScriptedServer, ok, refusal, widget

START = datetime(2026, 1, 1, tzinfo=UTC)


def now() -> datetime:
    return START + timedelta(seconds=trio.current_time())


def echo(request: httpx.Request) -> httpx.Response:
    return ok(orjson.loads(request.content), 201)


def writes(server: ScriptedServer) -> list[tuple[str, str, Any]]:
    return [(request.method, request.url.path, orjson.loads(request.content)) for request in server.requests]


async def test_an_event_carries_the_fields_of_the_contract(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now, instance="pod-1")
        recorder.record(
            widget("a", 5), "Warning", "JobRestarted", "it vanished", reporting_controller="steprun-controller"
        )
        await nursery.start(recorder.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    [(method, path, event)] = writes(server)
    assert (method, path) == ("POST", "/apis/events.k8s.io/v1/namespaces/team/events")
    assert event["metadata"].pop("name").startswith("a.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "team"},
        "type": "Warning",
        "reason": "JobRestarted",
        "note": "it vanished",
        "action": "Reconcile",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "steprun-controller",
        "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "example.io/v1",
            "kind": "Widget",
            "name": "a",
            "namespace": "team",
            "uid": "uid-a",
            "resourceVersion": "5",
        },
    }


async def test_a_labelled_event_is_a_core_event(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        recorder.record_labelled(
            widget("a", 5),
            "Normal",
            "JobCompleted",
            "done",
            labels={"bubustack.io/step": "s"},
            component="steprun-controller",
        )
        await nursery.start(recorder.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    [(_, path, event)] = writes(server)
    assert path == "/api/v1/namespaces/team/events"
    assert event["metadata"]["name"].startswith("a-")
    assert event["metadata"]["labels"] == {"bubustack.io/step": "s"}
    assert (event["message"], event["count"], event["source"]) == ("done", 1, {"component": "steprun-controller"})
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["involvedObject"]["uid"] == "uid-a"


class Watched(dict[str, Any]):
    """An object to which a weak reference is possible."""


async def test_a_series_does_not_keep_what_its_events_are_about(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        await nursery.start(recorder.run)
        regarding = Watched(widget("a", 5), status=Watched(output="x" * 100_000))
        kept = [weakref.ref(regarding), weakref.ref(regarding["status"])]
        recorder.record(regarding, "Normal", "Completed", "done")
        recorder.record_labelled(regarding, "Normal", "JobCompleted", "done", labels={})
        del regarding
        gc.collect()
        assert [reference() for reference in kept] == [None, None]
        await trio.sleep(1)
        assert [event["reason"] for _, _, event in writes(server)] == ["Completed", "JobCompleted"]
        nursery.cancel_scope.cancel()


async def test_alike_events_become_one_series_written_at_most_every_ten_seconds(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        await nursery.start(recorder.run)
        for _ in range(300):
            recorder.record(widget("a", 5), "Warning", "Stuck", "still stuck")
            await trio.sleep(0.1)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()

    first, *later = writes(server)
    assert first[0] == "POST"
    assert {method for method, _, _ in later} == {"PATCH"}
    assert 2 <= len(later) <= 4
    assert later[-1][2]["series"]["count"] == 300


async def test_a_different_message_or_object_is_another_event(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        for name, message in (("a", "x"), ("a", "y"), ("b", "x"), ("b", "x")):
            recorder.record(widget(name, 5), "Normal", "R", message)
        recorder.record(widget("a", 5), "Normal", "R", "")
        await nursery.start(recorder.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    assert [event["regarding"]["name"] + event["note"] for _, _, event in writes(server)] == ["ax", "ay", "bx"]


async def test_recording_never_waits_and_a_full_queue_drops_with_a_count(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer(answer=echo)
    with metrics.recording():
        async with server.client() as client:
            recorder = EventRecorder(client, now=now)
            for number in range(module.MAX_WAITING + 7):
                recorder.record(widget("a", 5), "Normal", "R", f"message {number}")
        assert metrics.sample("bobrapet_events_total", outcome="dropped") == 7


async def test_a_sick_server_is_tried_again_under_the_same_name(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    answers = [refusal("InternalError"), refusal("AlreadyExists")]
    server = ScriptedServer(answer=lambda request: answers.pop(0) if answers else echo(request))
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        recorder.record(widget("a", 5), "Normal", "R", "m")
        await nursery.start(recorder.run)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()

    assert len({event["metadata"]["name"] for _, _, event in writes(server)}) == 1
    assert len(server.requests) == 2


async def test_a_refused_event_is_counted_and_the_next_one_is_written(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    answers = [refusal("Forbidden")]
    server = ScriptedServer(answer=lambda request: answers.pop(0) if answers else echo(request))
    with metrics.recording():
        async with server.client() as client:
            recorder = EventRecorder(client, now=now)
            recorder.record(widget("a", 5), "Normal", "R", "m")
            recorder.record(widget("b", 5), "Normal", "R", "m")
            await nursery.start(recorder.run)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert metrics.sample("bobrapet_events_total", outcome="refused") == 1
        assert metrics.sample("bobrapet_events_total", outcome="written") == 1


async def test_a_series_whose_event_has_run_out_begins_anew(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=lambda request: refusal("NotFound") if request.method == "PATCH" else echo(request))
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        await nursery.start(recorder.run)
        recorder.record(widget("a", 5), "Normal", "R", "m")
        await trio.sleep(1)
        recorder.record(widget("a", 5), "Normal", "R", "m")
        await trio.sleep(30)
        nursery.cancel_scope.cancel()

    assert [method for method, _, _ in writes(server)] == ["POST", "PATCH", "POST"]
    assert writes(server)[-1][2]["series"]["count"] == 2


async def test_what_still_waits_is_written_on_the_way_out(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await trio.sleep(1)
        return echo(request)

    server = ScriptedServer(answer=slow)
    async with server.client() as client, trio.open_nursery() as inner:
        recorder = EventRecorder(client, now=now)
        await inner.start(recorder.run)
        for name in ("a", "b", "c"):
            recorder.record(widget(name, 5), "Normal", "R", "m")
        await trio.sleep(0.5)
        inner.cancel_scope.cancel()

    assert {event["regarding"]["name"] for _, _, event in writes(server)} == {"a", "b", "c"}


async def test_a_server_that_is_gone_holds_nobody_up_on_the_way_out(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=lambda request: refusal("ServiceUnavailable"))
    async with server.client() as client, trio.open_nursery() as inner:
        recorder = EventRecorder(client, now=now)
        await inner.start(recorder.run)
        for number in range(500):
            recorder.record(widget(f"w-{number}", 5), "Normal", "R", "m")
        await trio.sleep(0.1)
        inner.cancel_scope.cancel()

    assert trio.current_time() <= 1
    assert len(server.requests) <= 5, "at most three within the first 0.1 s, and two on the way out"


@pytest.mark.parametrize("message", ["x" * 5000, "ü" * 5000])
async def test_a_long_message_is_cut_to_what_the_server_takes(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, message: str
) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        recorder.record(widget("a", 5), "Normal", "R", message)
        await nursery.start(recorder.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    note = writes(server)[0][2]["note"]
    assert len(note.encode()) <= 1024
    assert note.endswith("…")


async def test_an_event_that_falls_due_while_it_is_written_is_not_written_again(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await trio.sleep(25)
        return echo(request)

    server = ScriptedServer(answer=slow)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        await nursery.start(recorder.run)
        recorder.record(widget("a", 5), "Normal", "R", "m")
        await trio.sleep(120)
        assert [method for method, _, _ in writes(server)] == ["POST"]


async def test_a_flood_of_one_namespace_drops_none_of_another(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = ScriptedServer(answer=echo)
    async with server.client() as client:
        recorder = EventRecorder(client, now=now)
        for number in range(module.MAX_WAITING + 100):
            recorder.record(widget(f"a{number}", 1), "Normal", "Started", "it began")
        quiet = widget("quiet", 1)
        quiet["metadata"]["namespace"] = "other"
        recorder.record(quiet, "Normal", "Started", "it began")
        await nursery.start(recorder.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    paths = [path for _, path, _ in writes(server)]
    assert len(paths) == module.MAX_WAITING
    assert paths.index("/apis/events.k8s.io/v1/namespaces/other/events") == 1
