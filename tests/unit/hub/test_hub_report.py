"""When statuses are written, and when not. Virtual time. (hub/report.py)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
import trio
import trio.testing

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import NamespacedName, Object
from core.api.resource import TRANSPORT_BINDING
from core.kube.informer import Informer
from hub.attendance import NOBODY, Attendance
from hub.binding_status import StepTraffic, StreamState
from hub.bindings import trimmed
from hub.report import StatusReporter
from hub.topology import Client
from kubewire import apply_merge_patch
from tests.unit.core.kube.scripted_server import ScriptedServer, listing, ok, refusal
from tests.unit.hub.cluster_samples import transport_binding

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HERE = StreamState(attendance=Attendance(is_connected=True, client=Client(1), connected_at=NOW), traffic=StepTraffic())
NONE = StreamState(waits_for="no client serves the step yet", attendance=NOBODY, traffic=StepTraffic())


@dataclass
class Views:
    """What the hub sees, as a test says it."""

    seen: dict[str, StreamState] = field(default_factory=dict)
    may_drain: list[NamespacedName] = field(default_factory=list)
    forgotten: list[NamespacedName] = field(default_factory=list)

    def of(self, name: NamespacedName, uid: str) -> StreamState:
        return self.seen.get(name.name, NONE)

    def draining(self) -> list[NamespacedName]:
        return self.may_drain

    def forget(self, name: NamespacedName) -> None:
        self.forgotten.append(name)


@dataclass
class ReportStand:
    """A reporter, and an API server that stores bindings."""

    steps: tuple[str, ...]
    refuse: Callable[[httpx.Request], httpx.Response | None] = field(default=lambda request: None)
    delay: float = 0.0

    def __post_init__(self) -> None:
        self.views = Views()
        self.server = ScriptedServer(self._answer)
        self.stored = {
            (obj := transport_binding(step, uid=f"uid-{step}"))["metadata"]["name"]: obj for step in self.steps
        }
        self.patches: list[tuple[float, str, Object]] = []
        self.version = 10
        self.at_once = self.most_at_once = 0

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return listing(*self.stored.values(), version=self.version)
        name = request.url.path.split("/")[-2]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.patches.append((trio.current_time(), name, orjson.loads(request.content)))
        await trio.sleep(self.delay)
        self.at_once -= 1
        if (refused := self.refuse(request)) is not None:
            return refused
        assert request.url.params["fieldManager"] == "bobrapet-hub"
        assert request.url.path.endswith("/status")
        self.version += 1
        changed: Any = apply_merge_patch(self.stored[name], self.patches[-1][2])
        changed["metadata"]["resourceVersion"] = str(self.version)
        self.stored[name] = changed
        return ok(changed)

    def writes_of(self, step: str) -> list[float]:
        """When the binding of a step was written."""
        return [at for at, name, _ in self.patches if name == name_of(step).name]

    def see(self, step: str, view: StreamState) -> None:
        self.views.seen[name_of(step).name] = view
        self.reporter.look_at(name_of(step))

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=trio.current_time() - self.began_at)

    def annotated(self, step: str, until: str) -> None:
        """A user writes the annotation, and the watch tells."""
        self.version += 1
        name = name_of(step).name
        stored = self.stored[name]
        annotations = {**stored["metadata"]["annotations"], keys.ANNOTATION_STREAM_WATCHED_UNTIL: until}
        metadata = {**stored["metadata"], "annotations": annotations, "resourceVersion": str(self.version)}
        self.stored[name] = {**stored, "metadata": metadata}
        self.watch.push("MODIFIED", self.stored[name])

    def watched(self, step: str, *, seconds: float) -> None:
        self.annotated(step, format_instant(self.clock() + timedelta(seconds=seconds)))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ReportStand]:
        async with self.server.client() as client, trio.open_nursery() as nursery:
            self.informer = Informer(client, TRANSPORT_BINDING, trim=trimmed)
            self.began_at = trio.current_time()
            self.reporter = StatusReporter(client, self.informer, self.views, self.clock)
            self.informer.add_handler(lambda change: self.reporter.look_at(key(change.object)))
            await nursery.start(self.informer.run)
            self.watch = await self.server.next_watch()
            nursery.start_soon(self.reporter.run)
            yield self
            nursery.cancel_scope.cancel()


def key(binding: Object) -> NamespacedName:
    return NamespacedName(binding["metadata"]["namespace"], binding["metadata"]["name"])


def name_of(step: str) -> NamespacedName:
    return NamespacedName("team", f"run-1-{step}-transport")


async def test_edges_are_written_at_once_and_counts_every_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ReportStand(("a",)).open() as stand:
        began = trio.current_time()
        await trio.sleep(5)
        stand.see("a", HERE)
        await trio.sleep(1)
        assert [at - began for at in stand.writes_of("a")] == pytest.approx([0.2, 5], abs=0.2)
        for number in range(300):
            stand.see("a", replace(HERE, traffic=StepTraffic(received=number)))
            await trio.sleep(0.1)
        later = [at - began for at in stand.writes_of("a")][2:]
        assert 2 <= len(later) <= 4
        assert all(second - first >= 10 for first, second in zip([5.0, *later], later, strict=False))
        await trio.sleep(60)
        written = stand.stored[name_of("a").name]["status"]["stream"]
        assert written["received"] == 299
        count = len(stand.patches)
        await trio.sleep(600)
        assert len(stand.patches) == count, "nothing changes, so nothing is written"


async def test_what_a_new_run_waits_for_is_written_once_it_has_settled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ReportStand(("a",)).open() as stand:
        stand.see("a", StreamState(waits_for="the run waits for the bindings of b"))
        await trio.sleep(0.1)
        stand.see("a", NONE)
        await trio.sleep(5)
        assert len(stand.writes_of("a")) == 1


async def test_counts_that_nobody_has_announced_are_found(autojump_clock: trio.testing.MockClock) -> None:
    async with ReportStand(("a",)).open() as stand:
        await trio.sleep(1)
        stand.views.seen[name_of("a").name] = replace(NONE, traffic=StepTraffic(received=3))
        await trio.sleep(21)
        assert stand.stored[name_of("a").name]["status"]["stream"]["received"] == 3


async def test_a_client_that_comes_and_goes_costs_a_write_a_second(autojump_clock: trio.testing.MockClock) -> None:
    async with ReportStand(("a",)).open() as stand:
        await trio.sleep(2)
        for number in range(200):
            stand.see("a", (HERE, NONE)[number % 2])
            await trio.sleep(0.05)
        await trio.sleep(2)
        assert len(stand.writes_of("a")) <= 14
        assert stand.stored[name_of("a").name]["status"]["stream"]["connected"] is False


async def test_a_client_that_comes_soon_after_its_binding_is_shown_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ReportStand(("a",)).open() as stand:
        await trio.sleep(0.5)
        assert len(stand.writes_of("a")) == 1, "it waits for a client"
        came_at = trio.current_time()
        stand.see("a", HERE)
        await trio.sleep(0.3)
        left_at = trio.current_time()
        stand.see("a", NONE)
        await trio.sleep(0.3)
        assert stand.writes_of("a")[1:] == pytest.approx([came_at, left_at], abs=0.15)
        stand.see("a", HERE)
        await trio.sleep(2)
        first, _, _, fourth = stand.writes_of("a")
        assert fourth - first >= 1, "later ones come once a second"


async def test_a_step_that_may_be_drained_is_looked_at_without_an_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ReportStand(("a", "b")).open() as stand:
        await trio.sleep(5)
        stand.views.may_drain.append(name_of("b"))
        stand.reporter.look_at(name_of("b"))
        await trio.sleep(1)
        stand.views.seen[name_of("b").name] = replace(NONE, is_drained=True)
        stand.views.may_drain.clear()
        stand.views.may_drain.append(name_of("b"))
        began = trio.current_time()
        await trio.sleep(1)
        assert stand.writes_of("b")[-1] - began < 0.3
        assert len(stand.writes_of("b")) == 2


async def test_a_thousand_bindings_are_written_by_few(autojump_clock: trio.testing.MockClock) -> None:
    steps = tuple(f"s{number}" for number in range(1_000))
    async with ReportStand(steps, delay=0.01).open() as stand:
        await trio.sleep(20)
        assert len(stand.patches) == 1_000
        assert stand.most_at_once <= 8
        assert stand.patches[-1][0] - stand.patches[0][0] < 5


@pytest.mark.parametrize("reason", ["Conflict", "NotFound", "Gone", "Invalid"])
async def test_a_refusal_for_good_is_not_repeated_before_the_watch_tells(
    autojump_clock: trio.testing.MockClock, reason: str
) -> None:
    code = {"Gone": 410}.get(reason)
    stand = ReportStand(("a",), refuse=lambda request: refusal(reason, code=code))
    async with stand.open():
        await trio.sleep(9)
        assert len(stand.writes_of("a")) == 1


async def test_an_error_of_the_server_is_tried_again_with_growing_pauses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand = ReportStand(("a",), refuse=lambda request: refusal("InternalError", code=500))
    async with stand.open():
        await trio.sleep(60)
        assert 4 <= len(stand.writes_of("a")) <= 20
        stand.refuse = lambda request: None
        await trio.sleep(60)
        assert stand.stored[name_of("a").name]["status"]["stream"]["connected"] is False
        count = len(stand.patches)
        await trio.sleep(60)
        assert len(stand.patches) == count


async def test_a_lost_answer_does_no_harm(autojump_clock: trio.testing.MockClock) -> None:
    stand = ReportStand(("a",))
    lost: list[str] = []

    def lose(request: httpx.Request) -> httpx.Response | None:
        if lost:
            return None
        lost.append("answer")
        name = request.url.path.split("/")[-2]
        stand.stored[name] = apply_merge_patch(stand.stored[name], orjson.loads(request.content))
        raise httpx.ReadError("connection reset by peer", request=request)

    stand.refuse = lose
    async with stand.open():
        await trio.sleep(30)
        assert stand.stored[name_of("a").name]["status"]["stream"]["connected"] is False
        assert len(stand.writes_of("a")) == 2


async def test_a_binding_that_is_gone_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with ReportStand(("a",)).open() as stand:
        await trio.sleep(1)
        gone = stand.stored[name_of("a").name]
        stand.watch.push("DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": "99"}})
        await trio.sleep(1)
        assert name_of("a") in stand.views.forgotten


async def test_while_somebody_watches_counts_are_written_every_second(autojump_clock: trio.testing.MockClock) -> None:
    async with ReportStand(("a", "b")).open() as stand:
        await trio.sleep(5)
        stand.watched("a", seconds=30)
        began = trio.current_time()
        for number in range(60):
            for step in ("a", "b"):
                stand.views.seen[name_of(step).name] = replace(NONE, traffic=StepTraffic(received=number))
            await trio.sleep(1)
        fast = [at for at in stand.writes_of("a") if began < at <= began + 30]
        slow = [at for at in stand.writes_of("a") if at > began + 31]
        assert 25 <= len(fast) <= 31
        assert len(slow) <= 4, "nobody watches any more"
        assert len([at for at in stand.writes_of("b") if at > began]) <= 7
        count = len(stand.patches)
        await trio.sleep(600)
        assert len(stand.patches) <= count + 2, "nothing changes, so nothing is written"


async def test_many_that_are_watched_share_twenty_writes_a_second(autojump_clock: trio.testing.MockClock) -> None:
    steps = tuple(f"s{number}" for number in range(100))
    async with ReportStand(steps).open() as stand:
        await trio.sleep(15)
        for step in steps:
            stand.watched(step, seconds=120)
        await trio.sleep(15)
        began, count = trio.current_time(), len(stand.patches)
        for number in range(30):
            for step in steps:
                stand.views.seen[name_of(step).name] = replace(NONE, traffic=StepTraffic(received=number))
            await trio.sleep(1)
        rate = (len(stand.patches) - count) / (trio.current_time() - began)
        assert 10 < rate <= 22


@pytest.mark.parametrize("until", ["", "soon", "2026-01-02T03:04:00Z", "2026-01-02T04:04:05Z"])
async def test_an_instant_that_is_over_or_far_away_changes_nothing(
    autojump_clock: trio.testing.MockClock, until: str
) -> None:
    async with ReportStand(("a",)).open() as stand:
        await trio.sleep(5)
        stand.annotated("a", until)
        began = trio.current_time()
        for number in range(30):
            stand.views.seen[name_of("a").name] = replace(NONE, traffic=StepTraffic(received=number))
            await trio.sleep(1)
        assert len([at for at in stand.writes_of("a") if at > began]) <= 3
