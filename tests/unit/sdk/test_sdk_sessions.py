"""Sessions, and the StoryRuns behind them. (sessions.py, storyruns.py; Trigger contract 5.8 and 11)"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from bubu_sdk import (
    AsyncImpulseContext,
    ImpulseContext,
    SessionActiveError,
    SessionMissingError,
    TriggerRejectedError,
    impulse,
)
from bubu_sdk.kube import StatusError
from bubu_sdk.storyruns import ENDED
from bubu_sdk.testing import ImpulseEnvironment, Rejection
from core.api.phases import TERMINAL_PHASES

RUNS = "/apis/runs.bubustack.io/v1alpha1/namespaces/default/storyruns"


def run_path(ctx: ImpulseContext, session: str) -> str:
    found = ctx.sessions.get(session)
    assert found is not None
    return f"{RUNS}/{found.story_run}"


def test_a_session_has_one_run_until_it_is_stopped() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        started = ctx.sessions.start("room-1", inputs={"room": 1}, metadata={"caller": "Ada"})
        with pytest.raises(SessionActiveError):
            ctx.sessions.start("room-1", inputs={"room": 1})
        assert ctx.sessions.get("room-1") == started
        assert started.metadata == {"caller": "Ada"}
        assert len(environment.triggers) == 1

        path = run_path(ctx, "room-1")
        ctx.sessions.stop("room-1")

        assert environment.cluster.objects[path]["spec"]["cancelRequested"] is True
        assert environment.cluster.objects[path]["status"] == {"phase": "Running"}
        assert ctx.sessions.all() == []
        with pytest.raises(SessionMissingError):
            ctx.sessions.stop("room-1")


def test_a_start_that_fails_frees_the_session() -> None:
    environment = ImpulseEnvironment()
    environment.operator.rejects = lambda _: Rejection()
    with environment.context() as ctx:
        with pytest.raises(TriggerRejectedError):
            ctx.sessions.start("room-1")
        environment.operator.rejects = lambda _: None

        assert ctx.sessions.start("room-1").key == "room-1"


def test_a_stop_waits_for_a_start_in_progress() -> None:
    environment = ImpulseEnvironment()
    posted, go_on = threading.Event(), threading.Event()

    def hold(method: str, path: str, _: Any) -> None:
        if method == "POST":
            posted.set()
            go_on.wait(10)

    environment.cluster.before = hold
    with environment.context() as ctx:
        starter = threading.Thread(target=lambda: ctx.sessions.start("room-1"))
        starter.start()
        assert posted.wait(10)
        stopper = threading.Thread(target=lambda: ctx.sessions.stop("room-1"))
        stopper.start()
        assert ctx.sessions.get("room-1") is None
        assert not ctx.sessions.forget("room-1")
        go_on.set()
        starter.join(10)
        stopper.join(10)

        assert ctx.sessions.all() == []
    assert environment.story_runs[0]["spec"]["cancelRequested"] is True


def test_after_a_restart_the_sessions_of_active_runs_are_restored() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        for number in (1, 2, 3):
            ctx.sessions.start(f"room-{number}", key=f"k{number}", metadata={"n": str(number)})
        ctx.trigger(key="no-session")
        environment.end_story_run(run_path(ctx, "room-2").rpartition("/")[2])

    with environment.context() as ctx:
        ctx.sessions.start("room-3", key="k3", metadata={"n": "3"})
        restored = ctx.sessions.restore()

        assert [(one.key, one.metadata) for one in restored] == [("room-1", {"n": "1"})]
        assert [one.key for one in ctx.sessions.all()] == ["room-1", "room-3"]
        ctx.sessions.stop("room-1")
    assert [run["spec"].get("cancelRequested") for run in environment.story_runs] == [True, None, None, None]


def test_runs_of_other_impulses_and_runs_whose_request_is_gone_are_left_alone() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        for session in ("mine", "foreign", "forgotten"):
            ctx.sessions.start(session)
        paths = {session: run_path(ctx, session) for session in ("mine", "foreign", "forgotten")}
    environment.cluster.objects[paths["foreign"]]["spec"]["impulseRef"]["name"] = "another"
    trigger = environment.cluster.objects[paths["forgotten"]]["metadata"]["annotations"]
    name = trigger["storyrun.bubustack.io/trigger-request-name"]
    del environment.cluster.objects[f"{RUNS.replace('storyruns', 'storytriggers')}/{name}"]

    with environment.context() as ctx:
        assert [session.key for session in ctx.sessions.restore()] == ["mine"]
        assert len(ctx.active_runs()) == 2


def test_active_runs_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bubu_sdk.storyruns._PAGE", 2)
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        for number in range(5):
            ctx.trigger(key=f"k{number}")

        runs = ctx.active_runs()

    assert [run.key for run in runs] == ["k0", "k1", "k2", "k3", "k4"]
    assert [sent.path for sent in environment.cluster.requests if "?" in sent.path] == [
        f"{RUNS}?limit=2",
        f"{RUNS}?limit=2&continue=2",
        f"{RUNS}?limit=2&continue=4",
    ]


def test_the_phases_of_runs_that_have_ended_are_those_of_the_operator() -> None:
    assert {str(phase) for phase in TERMINAL_PHASES} == ENDED


@pytest.mark.parametrize("phase", sorted(ENDED))
def test_a_run_that_has_ended_is_not_stopped(phase: str) -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        name = ctx.trigger(key="k").story_run
        environment.end_story_run(name, phase)

        assert ctx.stop_run(name)
        found = ctx.find_run(name)

    assert found is not None
    assert found.has_ended
    assert [sent.method for sent in environment.cluster.requests if sent.path.startswith(RUNS)] == ["GET", "GET"]


def test_a_stop_asks_once_and_changes_nothing_else() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        name = ctx.trigger(key="k").story_run
        environment.cluster.fail(409, times=2)

        assert ctx.stop_run(name)
        assert ctx.stop_run(name)
        assert not ctx.stop_run("missing")
        assert ctx.find_run("missing") is None

    patches = [sent.body for sent in environment.cluster.requests if sent.method == "PATCH"]
    assert patches == [{"spec": {"cancelRequested": True}}] * 3


def test_a_session_stays_if_its_run_could_not_be_stopped() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        ctx.sessions.start("room-1")
        environment.cluster.fail(403, times=1)
        with pytest.raises(StatusError):
            ctx.sessions.stop("room-1")
        assert ctx.sessions.get("room-1") is not None

        path = run_path(ctx, "room-1")
        del environment.cluster.objects[path]
        with pytest.raises(SessionMissingError):
            ctx.sessions.stop("room-1")
        assert ctx.sessions.get("room-1") is None


def test_async_functions_have_the_same_sessions() -> None:
    environment = ImpulseEnvironment()

    @impulse
    async def main(ctx: AsyncImpulseContext) -> None:
        await trio.lowlevel.checkpoint()
        await ctx.sessions.start("room-1")
        assert ctx.sessions.get("room-1") is not None
        assert await ctx.sessions.restore() == []
        assert len(await ctx.active_runs()) == 1
        await ctx.sessions.stop("room-1")
        assert ctx.sessions.all() == []
        assert not ctx.sessions.forget("room-1")

    assert environment.run(main).exit_code == 0
