"""How long finished runs and their children are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.phases import Phase
from core.policy.settings import JobSettings, OperatorSettings, RunSettings, TriggerSettings
from reconcilers.retention import Act, CleanUp, KeepUntil, Remove, child_ttl, next_act, retention, trigger_removal
from tests.unit.reconcilers.reconciler_samples import run, stored, story

FINISHED = datetime(2025, 1, 2, 3, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def settings(*, ttl: int = 3600, kept: int | None = None) -> OperatorSettings:
    return replace(
        OperatorSettings(), job=JobSettings(ttl_seconds_after_finished=ttl), runs=RunSettings(retention_seconds=kept)
    )


def of_job(**job: Any) -> dict[str, Any]:
    return story(policy={"execution": {"job": job}})


def act(
    after: float, *, ttl: int | None = None, kept: int | None = None, cleaned: bool = False, **operator: Any
) -> Act:
    """What a run needs ``after`` seconds after its end; ``ttl`` and ``kept`` are its Story's."""
    status = {"phase": "Succeeded", "finishedAt": "2025-01-02T03:00:00Z"}
    if cleaned:
        status["childrenCleanedAt"] = "2025-01-02T04:00:00Z"
    job = {"ttlSecondsAfterFinished": ttl, "storyRunRetentionSeconds": kept}
    return next_act(run(status=status), of_job(**job), settings(**operator), FINISHED + after * SECOND)


def test_the_job_of_a_packet_is_kept_for_minutes_whatever_its_story_says() -> None:
    finished = run(status={"phase": "Succeeded", "finishedAt": "2025-01-02T03:00:00Z"})
    finished["metadata"]["annotations"] = {"runs.bubustack.io/packet-step": "work"}
    for kept in (0, None, 3600):
        of_story = of_job(storyRunRetentionSeconds=kept, ttlSecondsAfterFinished=-1)
        before = next_act(finished, of_story, settings(), FINISHED + timedelta(minutes=10) - SECOND)
        assert before == KeepUntil(FINISHED + timedelta(minutes=10))
        assert next_act(finished, of_story, settings(), FINISHED + timedelta(minutes=10)) == Remove()
    short = of_job(storyRunRetentionSeconds=5, ttlSecondsAfterFinished=0)
    assert next_act(finished, short, settings(), FINISHED + 6 * SECOND) == Remove()


def wait(seconds: float) -> KeepUntil:
    return KeepUntil(FINISHED + seconds * SECOND)


@pytest.mark.parametrize(
    ("story_ttl", "operator_ttl", "seconds"),
    [(None, 3600, 3600), (None, 0, 0), (60, 3600, 60), (0, 3600, 0), (-1, 3600, None)],
)
def test_a_child_ttl_that_is_unset_is_not_zero(story_ttl: int | None, operator_ttl: int, seconds: int | None) -> None:
    expected = None if seconds is None else seconds * SECOND
    assert child_ttl(of_job(ttlSecondsAfterFinished=story_ttl), settings(ttl=operator_ttl)) == expected


@pytest.mark.parametrize(
    ("realtime", "job", "operator", "seconds"),
    [
        (None, None, None, None),
        (None, None, 60, 60),
        (None, 5, 60, 5),
        (7, 5, 60, 7),
        (0, 5, 60, 0),
        (-1, 5, 60, None),
    ],
)
def test_children_of_a_realtime_run_have_a_time_of_their_own_and_stay_without_one(
    realtime: int | None, job: int | None, operator: int | None, seconds: int | None
) -> None:
    story = of_job(ttlSecondsAfterFinished=job)
    story["spec"]["policy"]["execution"]["realtime"] = {"ttlSecondsAfterFinished": realtime}
    batch, story["spec"]["pattern"] = child_ttl(story, settings()), "realtime"
    chosen = replace(settings(), runs=RunSettings(realtime_ttl_seconds=operator))

    assert child_ttl(story, chosen) == (None if seconds is None else seconds * SECOND)
    assert batch == (3600 if job is None else job) * SECOND


@pytest.mark.parametrize(
    ("story_kept", "operator_kept", "kept"),
    [
        (None, None, DAY),
        (None, 60, 60 * SECOND),
        (None, 0, None),
        (None, -1, timedelta()),
        (30, 60, 30 * SECOND),
        (0, 60, None),
        (-5, 60, timedelta()),
    ],
)
def test_a_retention_that_is_unset_is_not_zero(
    story_kept: int | None, operator_kept: int | None, kept: timedelta | None
) -> None:
    assert retention(of_job(storyRunRetentionSeconds=story_kept), settings(kept=operator_kept)) == kept


def test_without_its_story_the_operators_values_count() -> None:
    assert child_ttl(None, settings(ttl=5)) == 5 * SECOND
    assert retention(None, settings(kept=6)) == 6 * SECOND


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"after": 0}, wait(3600), id="children-first"),
        pytest.param({"after": 3600}, CleanUp(), id="their-time-is-over"),
        pytest.param({"after": 3600, "cleaned": True}, wait(86400), id="then-the-run"),
        pytest.param({"after": 86400, "cleaned": True}, Remove(), id="its-time-is-over"),
        pytest.param({"after": 86400}, Remove(), id="both-after-a-long-absence"),
        pytest.param({"after": 0, "ttl": 0}, CleanUp(), id="children-at-once"),
        pytest.param({"after": 0, "ttl": -1}, wait(86400), id="children-stay-with-the-run"),
        pytest.param({"after": 0, "ttl": -1, "kept": 0}, KeepUntil(None), id="everything-stays"),
        pytest.param({"after": 1e9, "kept": 0, "cleaned": True}, KeepUntil(None), id="the-run-stays"),
        pytest.param({"after": 0, "kept": -1}, Remove(), id="run-at-once"),
        pytest.param({"after": 0, "kept": 60}, wait(3600), id="no-run-goes-before-its-children"),
        pytest.param({"after": 3599, "kept": 60}, wait(3600), id="still-not"),
        pytest.param({"after": 3600, "kept": 60}, Remove(), id="both-together"),
        pytest.param({"after": 60, "kept": 60, "ttl": -1}, Remove(), id="children-have-no-time-of-their-own"),
        pytest.param({"after": 10, "kept": 20, "ttl": 5, "cleaned": True}, wait(20), id="short-lived"),
    ],
)
def test_a_finished_run_is_kept_as_documented(given: dict[str, Any], expected: Act) -> None:
    assert act(**given) == expected


def test_of_a_run_that_is_needed_only_the_children_go() -> None:
    ended = {"phase": "Succeeded", "finishedAt": "2025-01-02T03:00:00Z"}
    long_after = FINISHED + 9 * DAY
    assert next_act(run(status=ended), None, settings(), long_after, is_needed=True) == CleanUp()
    cleaned = run(status=ended | {"childrenCleanedAt": "2025-01-02T04:00:00Z"})
    assert next_act(cleaned, None, settings(), long_after, is_needed=True) == KeepUntil(None)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.terminal])
def test_however_a_run_ended_it_is_kept_as_long(phase: Phase) -> None:
    ended = run(status={"phase": str(phase), "finishedAt": "2025-01-02T03:00:00Z"})
    assert next_act(ended, None, settings(), FINISHED) == wait(3600)
    assert next_act(ended, None, settings(), FINISHED + DAY) == Remove()


@pytest.mark.parametrize("finished", [None, "", "yesterday"])
def test_a_damaged_end_counts_from_creation(finished: str | None) -> None:
    old = run(status={"phase": "Failed", "finishedAt": finished}, meta={"creationTimestamp": "2025-01-01T03:00:00Z"})
    assert next_act(old, None, settings(), FINISHED) == Remove()


@pytest.mark.parametrize(
    ("kept", "of_story", "has_run", "run_is_there", "seconds"),
    [
        pytest.param(3600, 60, True, False, 3600, id="longer than the run"),
        pytest.param(3600, 7200, True, False, 7200, id="never shorter than the run"),
        pytest.param(3600, 0, True, False, 3600, id="the run was kept for ever, and a user deleted it"),
        pytest.param(3600, -1, True, False, 3600, id="the run was deleted at once"),
        pytest.param(3600, 7200, False, False, 3600, id="rejected"),
        pytest.param(3600, 60, True, True, None, id="the run is there"),
        pytest.param(0, 60, True, False, None, id="for ever"),
    ],
)
def test_an_answered_trigger_is_kept(
    kept: int, of_story: int, has_run: bool, run_is_there: bool, seconds: int | None
) -> None:
    status = {"completedAt": "2025-01-02T03:00:00Z", "storyRunRef": {"name": "one"} if has_run else None}
    trigger = stored("StoryTrigger", "t", status=status)
    chosen = replace(OperatorSettings(), triggers=TriggerSettings(retention_seconds=kept))
    its_run = run() if run_is_there else None
    removal = trigger_removal(trigger, its_run, of_job(storyRunRetentionSeconds=of_story), chosen)
    assert removal == (None if seconds is None else FINISHED + seconds * SECOND)


def test_an_answered_trigger_with_a_damaged_time_is_kept_from_its_creation_on() -> None:
    trigger = stored("StoryTrigger", "t", status={"completedAt": "yesterday"})
    assert trigger_removal(trigger, None, None, OperatorSettings()) == FINISHED + DAY
