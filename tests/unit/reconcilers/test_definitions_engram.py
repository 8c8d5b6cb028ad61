"""How often an Engram was executed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract.instants import format_instant
from core.api.objects import Object
from reconcilers.engram import EngramReconciler, executions
from reconcilers.runtime.controller import Key
from tests.unit.reconcilers.reconciler_samples import NOW, Answering, RecordedEvents, clock, open_world, stored


def finished(seconds_ago: float, phase: str = "Succeeded", *, recorded: bool = True) -> Object:
    """A StepRun that ended. ``recorded`` says whether the operator has recorded the end."""
    ready = "True" if phase == "Succeeded" else "False"
    degraded = "True" if phase in ("Failed", "Timeout", "Aborted") else "False"
    conditions = [
        {"type": "Ready", "status": ready},
        {"type": "Progressing", "status": "False"},
        {"type": "Degraded", "status": degraded},
    ]
    at = format_instant(NOW - timedelta(seconds=seconds_ago))
    return {"status": {"phase": phase, "finishedAt": at, "conditions": conditions if recorded else []}}


RUNNING: Object = {"status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("stored_status", "step_runs", "counts", "more"),
    [
        pytest.param({}, [], (0, 0, 0, None), False, id="never-used"),
        pytest.param({}, [RUNNING, {}], (2, 0, 0, None), False, id="running"),
        pytest.param(
            {},
            [finished(60), finished(50, "Failed"), finished(40, "Timeout"), RUNNING],
            (4, 3, 1, "2025-01-02T03:03:25Z"),
            False,
            id="ended",
        ),
        pytest.param(
            {"totalExecutions": 5, "failedExecutions": 2, "triggers": 9, "lastExecutionTime": "2025-01-02T03:03:15Z"},
            [finished(60), finished(50), finished(40, "Failed")],
            (9, 6, 3, "2025-01-02T03:03:25Z"),
            False,
            id="only-what-is-new",
        ),
        pytest.param(
            {"totalExecutions": 5, "lastExecutionTime": "2025-01-02T03:03:25Z", "triggers": 5},
            [finished(40)],
            (5, 5, 0, "2025-01-02T03:03:25Z"),
            False,
            id="nothing-twice",
        ),
        pytest.param({}, [finished(0.5)], (1, 0, 0, None), True, id="this-second-is-not-over"),
        pytest.param({}, [finished(-30)], (1, 0, 0, None), True, id="a-clock-that-is-ahead"),
        pytest.param({}, [finished(60, "Failed", recorded=False)], (1, 0, 0, None), False, id="may-still-be-retried"),
        pytest.param({"triggers": 7}, [], (7, 0, 0, None), False, id="deleted-runs-are-remembered"),
    ],
)
def test_executions_are_counted_once(
    stored_status: Object, step_runs: list[Object], counts: tuple[Any, ...], more: bool
) -> None:
    count = executions(stored_status, step_runs, NOW)
    assert tuple(count.status.values()) == counts
    assert list(count.status) == ["triggers", "totalExecutions", "failedExecutions", "lastExecutionTime"]
    assert count.more_to_come is more


@given(
    st.lists(st.integers(0, 40), max_size=30),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 60)), min_size=1, max_size=12),
)
def test_however_often_it_is_counted_every_execution_counts_once(ends: list[int], looks: list[tuple[int, int]]) -> None:
    """StepRuns end at ``ends`` (seconds).

    The counter looks at later and later instants, and last long after all ends. Each time its cache may lag behind, and
    has some of what is newer than that, but not all.
    """
    status: Object = {}
    at = current = 0.0
    for pause, lag in [*looks, (1000, 0)]:
        at += pause + 0.4
        current = max(current, at - lag)
        visible = [finished(-end) for end in ends if end <= current or (end <= at and end % 2)]
        count = executions(status, visible, NOW + timedelta(seconds=current))
        status = {key: value for key, value in count.status.items() if value is not None}
    assert status["totalExecutions"] == len(ends)
    assert not executions(status, [finished(-end) for end in ends], NOW + timedelta(hours=1)).more_to_come


def test_what_was_counted_long_ago_is_not_looked_into_again() -> None:
    class Unread(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            assert key == "finishedAt"
            return super().get(key, default)

    old = [{"status": Unread(finished(seconds)["status"])} for seconds in (60, 50, 40)]
    stored_status = {"totalExecutions": 3, "triggers": 3, "lastExecutionTime": "2025-01-02T03:03:25Z"}
    count = executions(stored_status, [*old, finished(30), RUNNING], NOW)
    assert (count.status["totalExecutions"], count.status["triggers"]) == (4, 5)


async def test_only_the_step_runs_since_the_last_count_are_looked_at() -> None:
    def of_engram(name: str, seconds: float) -> Object:
        status = finished(seconds)["status"]
        return stored("StepRun", name, spec={"engramRef": {"name": "http"}}, status=status)

    last = format_instant(NOW - timedelta(minutes=10))
    counters = {"totalExecutions": 5, "triggers": 5, "lastExecutionTime": last}
    engram = stored("Engram", "http", spec={"templateRef": {"name": "http"}}, status=counters)
    times = {"long-ago": 3600, "before": 611, "after": 590, "now": 5}
    async with open_world(Answering(engram)) as (client, world):
        world.engrams.remember(engram)
        world.engram_templates.remember(stored("EngramTemplate", "http", namespace="", spec={}))
        for name, seconds in {**times, **{f"old-{number}": 3000 + number for number in range(200)}}.items():
            world.step_runs.remember(of_engram(name, seconds))
        spec = {"engramRef": {"name": "http"}}
        world.step_runs.remember(stored("StepRun", "running", spec=spec, status={"phase": "Running"}))
        reconciler = EngramReconciler(client, world, RecordedEvents(), clock())
        looked_at = {one["metadata"]["name"] for one in reconciler._possibly_new(Key("team", "http"), counters)}
        await reconciler.reconcile(Key("team", "http"))
        [known] = world.engrams.list()

    assert looked_at == {"after", "now", "running"}
    assert (known["status"]["totalExecutions"], known["status"]["triggers"]) == (7, 8)


async def test_of_few_step_runs_or_after_a_long_pause_all_are_looked_at() -> None:
    async with open_world() as (client, world):
        for name, days in (("old", 3), ("older", 30)):
            step_run = finished(days * 86400)
            spec = {"engramRef": {"name": "http"}}
            world.step_runs.remember(stored("StepRun", name, spec=spec, status=step_run["status"]))
        reconciler = EngramReconciler(client, world, RecordedEvents(), clock())
        for last in ({}, {"lastExecutionTime": format_instant(NOW - timedelta(days=2))}):
            assert len([*reconciler._possibly_new(Key("team", "http"), last)]) == 2


async def test_an_engram_without_a_template_name_is_told_what_is_missing() -> None:
    events = RecordedEvents()
    engram = stored("Engram", "http", spec={"templateRef": {"name": " "}})
    async with open_world(Answering(engram)) as (client, world):
        world.engrams.remember(engram)
        await EngramReconciler(client, world, events, clock()).reconcile(Key("team", "http"))
        [known] = world.engrams.list()
        await EngramReconciler(client, world, events, clock()).reconcile(Key("team", "http"))
    assert known["status"]["validationStatus"] == "invalid"
    assert known["status"]["validationErrors"] == ["spec.templateRef.name: is empty; name an EngramTemplate"]
    assert {condition["type"]: condition["status"] for condition in known["status"]["conditions"]} == {
        "TemplateResolved": "False",
        "Ready": "False",
    }
    assert events.emitted == [("http", "Warning", "TemplateRefInvalid")]


async def test_a_valid_engram_is_written_once() -> None:
    events = RecordedEvents()
    engram = stored("Engram", "http", spec={"templateRef": {"name": "http"}})
    server = Answering(engram)
    async with open_world(server) as (client, world):
        world.engrams.remember(engram)
        world.engram_templates.remember(stored("EngramTemplate", "http", namespace="", spec={}))
        for seconds in (0, 5, 10):
            now: datetime = NOW + timedelta(seconds=seconds)
            await EngramReconciler(client, world, events, clock(now)).reconcile(Key("team", "http"))
        [known] = world.engrams.list()
    assert len(server.patches) == 1
    assert known["status"]["validationStatus"] == "valid"
    assert (known["status"]["usageCount"], known["status"]["triggers"]) == (0, 0)
    assert events.emitted == []
