"""The status of a Transport: its spec, the Stories that use it, and its bindings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import TRANSPORT, TRANSPORT_BINDING
from core.telemetry import metrics
from core.workloads.hub_lease import HubSilence
from reconcilers.runtime.controller import Key
from reconcilers.transport import MOST_NAMED, TransportReconciler, available
from tests.unit.reconcilers.reconciler_samples import Answering, RecordedEvents, clock, open_world, stored, story

SILENCE = HubSilence(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
GOOD = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
CARRIED = {"binary": {"direction": "bidirectional", "mimeTypes": ["application/json"]}}


def transport(**spec: Any) -> Object:
    return stored("Transport", "voice", namespace="", spec={**GOOD, **spec})


def binding(name: str, reason: str | None = None, message: str = "", *, ready: bool = False, **fields: Any) -> Object:
    """``reason``: of its condition ``Ready``; None: there is no condition."""
    condition = {"type": "Ready", "status": str(ready), "reason": reason, "message": message}
    if changed_at := fields.pop("changed_at", ""):
        condition["lastTransitionTime"] = changed_at
    status = {"conditions": [] if reason is None else [condition], **fields.pop("status", {})}
    spec = {"transportRef": "voice", "driver": "hub", "engramName": name, "stepName": "s", **CARRIED, **fields}
    return stored("TransportBinding", name, spec=spec, status=status)


class TransportTrial:
    """Transports, Stories and bindings in caches, and what their controller writes and reports."""

    def __init__(self, known: Object, *others: Object, times: int = 1, silence: HubSilence | None = None) -> None:
        self._known, self._others, self._times = known, others, times
        self._silence = silence
        self.server = Answering(known)
        self.events = RecordedEvents()

    async def status(self) -> Object:
        async with open_world(self.server) as (client, world):
            world.informer(TRANSPORT).remember(self._known)
            for each in self._others:
                (world.stories if each["kind"] == "Story" else world.informer(TRANSPORT_BINDING)).remember(each)
            for _ in range(self._times):
                reconciler = TransportReconciler(client, world, self.events, clock(), lambda: self._silence)
                await reconciler.reconcile(Key("", "voice"))
            [latest] = world.informer(TRANSPORT).list()
        found: Object = latest["status"]
        return found


def condition(status: Object, type_: str) -> tuple[str, str, str]:
    found = find_condition(status["conditions"], type_) or {}
    return found["status"], found["reason"], found["message"]


async def test_a_usable_transport_is_ready_and_is_written_once() -> None:
    trial = TransportTrial(transport(), times=2)
    status = await trial.status()

    assert (status["validationStatus"], status["observedGeneration"]) == ("valid", 1)
    assert condition(status, "Ready") == ("True", "ValidationPassed", "driver and capabilities are usable")
    assert condition(status, "BindingsReady") == ("True", "BindingsReady", "0 ready, 0 pending")
    assert (status["usageCount"], status["pendingBindings"]) == (0, 0)
    assert len(trial.server.patches) == 1
    assert trial.events.emitted == []


async def test_a_stored_transport_with_replay_that_does_not_exist_is_invalid() -> None:
    status = await TransportTrial(transport(streaming={"delivery": {"replay": {"mode": "durable"}}})).status()
    assert status["validationStatus"] == "invalid"
    assert status["validationErrors"][0].startswith("spec.streaming.delivery.replay.mode: durable is not built yet")


async def test_all_errors_of_the_spec_are_reported_at_once() -> None:
    spec = {
        "driver": " ",
        "supportedBinary": ["text"],
        "supportedAudio": [{"name": "opus"}, {"name": "Opus"}, {"name": "raw", "channels": -1}],
        "streaming": {"fanIn": {"mode": "quorum"}},
        "defaultSettings": {"env": {"BUBU_TRANSPORT_SECURITY_MODE": "none"}},
    }
    trial = TransportTrial(transport(**spec))
    status = await trial.status()

    assert status["validationStatus"] == "invalid"
    assert [error.partition(": ")[0] for error in status["validationErrors"]] == [
        "spec.driver",
        "spec.supportedAudio[2].channels",
        "spec.supportedBinary[0]",
        "spec.supportedAudio[1].name",
        "spec.streaming.fanIn.quorum",
        "spec.defaultSettings.env.BUBU_TRANSPORT_SECURITY_MODE",
    ]
    assert condition(status, "Ready")[:2] == ("False", "ValidationFailed")
    assert trial.events.emitted == [("voice", "Warning", "ValidationFailed")]


async def test_a_transport_without_capabilities_is_not_ready() -> None:
    status = await TransportTrial(transport(supportedBinary=[])).status()
    assert status["validationErrors"] == [
        "spec: supports no kind of data (give at least one of supportedAudio, supportedVideo, supportedBinary)"
    ]


async def test_stories_that_declare_it_are_counted_once_each() -> None:
    uses = {"transports": [{"name": "a", "transportRef": "voice"}, {"name": "b", "transportRef": "voice"}]}
    others = {"transports": [{"name": "a", "transportRef": "another"}]}
    status = await TransportTrial(
        transport(), story("one", **uses), story("two", **uses), story("x", **others)
    ).status()
    assert status["usageCount"] == 2


async def test_bindings_are_counted_by_what_their_condition_says() -> None:
    trial = TransportTrial(
        transport(),
        binding("a", "Connected", ready=True),
        binding("b", "Reconciling"),
        binding("c"),
        binding("d", "TransportFailed", "the hub is gone"),
    )
    status = await trial.status()

    assert status["pendingBindings"] == 2
    assert condition(status, "Ready")[0] == "True"
    assert condition(status, "BindingsReady") == ("False", "TransportFailed", "team/d: the hub is gone")
    assert trial.events.emitted == [("voice", "Warning", "TransportFailed")]


async def test_a_failure_is_reported_once() -> None:
    trial = TransportTrial(transport(driver=" "), binding("d", "TransportFailed", "the hub is gone"), times=3)
    await trial.status()
    assert len(trial.events.emitted) == 2


async def test_the_newest_change_of_a_binding_is_shown() -> None:
    times = ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z")
    bindings = [binding(f"b{at}", "Connected", ready=True, changed_at=at) for at in times]
    assert (await TransportTrial(transport(), *bindings, binding("c")).status())["lastHeartbeatTime"] == times[1]
    assert "lastHeartbeatTime" not in await TransportTrial(transport(), binding("c")).status()


async def test_bindings_that_wait_are_no_failure() -> None:
    status = await TransportTrial(transport(), binding("a"), binding("b", "Connected", ready=True)).status()
    assert condition(status, "BindingsReady") == ("False", "Reconciling", "1 ready, 1 pending")


async def test_a_few_of_many_failures_are_named() -> None:
    failed = [binding(f"b{number}", "TransportFailed", "gone") for number in range(MOST_NAMED + 2)]
    message = condition(await TransportTrial(transport(), *failed).status(), "BindingsReady")[2]
    assert message.startswith("team/b0: gone; team/b1: gone")
    assert message.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"driver": "other"}, "its driver is 'other', but the Transport has 'hub'"),
        (
            {"binary": {"direction": "publish", "mimeTypes": ["image/png"]}},
            "spec.binary.mimeTypes[0]: image/png is not supported by the Transport (it supports: application/json)",
        ),
        (
            {"audio": {"direction": "publish", "codecs": [{"name": "opus", "channels": 2}]}},
            "spec.audio.codecs[0]: opus (2 channels) is not supported by the Transport (it supports: none)",
        ),
    ],
)
async def test_a_binding_that_the_transport_no_longer_fits_has_failed_even_if_it_is_ready(
    fields: Object, why: str
) -> None:
    status = await TransportTrial(transport(), binding("a", "Connected", ready=True, **fields)).status()
    assert condition(status, "BindingsReady") == ("False", "TransportFailed", f"team/a: {why}")


def test_what_bindings_have_agreed_on_is_available_else_what_is_supported() -> None:
    opus, pcm = {"name": "opus", "channels": 2}, {"name": "pcm16"}
    offered = transport(supportedAudio=[opus, pcm])
    agreed = [binding(name, status={"negotiatedAudio": codec}) for name, codec in (("a", pcm), ("b", opus), ("c", pcm))]

    assert available(offered, agreed) == {
        "availableAudio": [opus, pcm],
        "availableVideo": None,
        "availableBinary": ["application/json"],
    }


async def test_direct_routing_is_accepted_and_the_status_says_that_the_hub_carries_it() -> None:
    status = await TransportTrial(transport(streaming={"routing": {"mode": "p2p"}})).status()
    assert "through the hub" in condition(status, "Ready")[2]


async def test_while_the_hub_is_silent_no_binding_is_ready_and_the_status_is_written_once() -> None:
    bindings = [binding("a", "TransportReady", ready=True), binding("b", "AwaitingTransport")]
    trial = TransportTrial(transport(), *bindings, silence=SILENCE, times=3)
    status = await trial.status()

    assert condition(status, "BindingsReady") == (
        "False",
        "HubSilent",
        "1 not served any more, 1 pending: no hub has renewed the Lease bobrapet-hub since 2026-01-02T03:04:05Z",
    )
    assert condition(status, "Ready")[0] == "True"
    assert status["pendingBindings"] == 1
    assert trial.events.emitted == [("voice", "Warning", "HubSilent")]
    assert len(trial.server.patches) == 1


async def test_a_silent_hub_says_nothing_about_a_transport_without_bindings() -> None:
    status = await TransportTrial(transport(), silence=SILENCE).status()
    assert condition(status, "BindingsReady") == ("True", "BindingsReady", "0 ready, 0 pending")


async def test_a_stream_that_has_finished_is_not_missed_while_the_hub_is_silent() -> None:
    over = binding("a", "TransportReady", ready=True)
    over["metadata"]["annotations"] = {keys.ANNOTATION_STREAM_FINISHED: "true"}
    status = await TransportTrial(transport(), over, silence=SILENCE).status()
    assert condition(status, "BindingsReady")[2].startswith("0 not served any more, 1 pending")


async def test_what_cannot_work_is_named_before_the_silence_of_the_hub() -> None:
    bindings = [binding("a", "TransportReady", ready=True), binding("d", "TransportFailed", "gone")]
    found = condition(await TransportTrial(transport(), *bindings, silence=SILENCE).status(), "BindingsReady")
    assert found[1] == "TransportFailed"
    assert found[2].startswith("team/d: gone; 1 not served any more, 0 pending: ")


async def test_what_the_next_hub_has_corrected_counts_at_once() -> None:
    back = replace(SILENCE, back_at=datetime(2026, 1, 2, 3, 9, tzinfo=UTC))
    old, new = ({"stream": {"observedAt": f"2026-01-02T03:0{minute}:30Z"}} for minute in (3, 9))
    bindings = [binding(name, "TransportReady", ready=True, status=status) for name, status in (("a", new), ("b", old))]
    both = await TransportTrial(transport(), *bindings, binding("c"), silence=back).status()
    assert condition(both, "BindingsReady")[1] == "HubSilent"
    corrected = await TransportTrial(transport(), bindings[0], binding("c"), silence=back).status()
    assert condition(corrected, "BindingsReady")[1:] == ("Reconciling", "1 ready, 1 pending")


def shown(recorder: metrics.Recorder) -> dict[str, float | None]:
    names = ("total", "ready", "pending", "failed")
    value = recorder.registry.get_sample_value
    return {name: value(f"bobrapet_transport_bindings_{name}", {"transport": "voice"}) for name in names}


@pytest.mark.parametrize(
    ("hub_lost", "counts"),
    [
        (False, {"total": 4, "ready": 2, "pending": 1, "failed": 1}),
        (True, {"total": 4, "ready": 0, "pending": 1, "failed": 3}),
    ],
)
async def test_gauges_show_the_counts_of_a_transport_until_it_is_gone(
    hub_lost: bool, counts: dict[str, float | None]
) -> None:
    bindings = [binding(name, "TransportReady", ready=True) for name in "ab"]
    bindings += [binding("c"), binding("d", "TransportFailed", "gone")]
    trial = TransportTrial(transport(), *bindings, silence=SILENCE if hub_lost else None)
    with metrics.recording() as recorder:
        await trial.status()
        assert shown(recorder) == counts
        async with open_world(trial.server) as (client, world):
            await TransportReconciler(client, world, trial.events, clock()).reconcile(Key("", "voice"))
        assert shown(recorder) == dict.fromkeys(counts, None)
