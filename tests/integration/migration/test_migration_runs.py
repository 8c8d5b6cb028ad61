"""What the Go operator left in a cluster is taken over, and ends as its Story says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio

from bubu_contract.instants import parse_instant
from core.api import keys
from core.api.objects import Object, controller_of
from core.api.resource import IMPULSE
from tests.integration.migration.expectations import ENDS, UNTOUCHED
from tests.integration.migration.play import APPROVED, Objects, Played, play
from tests.integration.migration.recording import NAMES
from tests.integration.operator_cluster import status_of, step_phases

LATE = timedelta(seconds=60)
"""How much later than its instant something may happen on a busy machine. A new count would end later."""
PAGE = Path(__file__).parents[3] / "docs" / "coming-from-the-go-operator.md"
RUNS_IN_FLIGHT = [name for name in NAMES if name not in UNTOUCHED]


@pytest.fixture(scope="module")
def all_played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    return trio.run(play, tmp_path_factory.mktemp("migration"))


@pytest.fixture
def played(all_played: dict[str, Played], name: str) -> Played:
    return all_played[name]


def instant(obj: Object, *path: str) -> datetime:
    value = obj
    for part in path:
        value = value[part]
    return parse_instant(str(value))


def timer(run: Object, step: str, kind: str) -> datetime:
    return parse_instant(json.loads(run["metadata"]["annotations"][keys.ANNOTATION_STEP_TIMERS])[step][kind])


def uids(objects: Objects, kind: str) -> dict[str, str]:
    return {name: obj["metadata"]["uid"] for name, obj in objects[kind].items()}


def the_run(objects: Objects) -> Object:
    """The run of the recording that no other run has started; of two, the first."""
    return min((run for run in objects["StoryRun"].values() if controller_of(run) is None), key=_name)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def by_step(starts: Mapping[str, int], run: Object) -> Counter[str]:
    """Without the name of a run that a request has started."""
    name = _name(run)
    return Counter({key if name == "one" else key.removeprefix(f"{name}-"): count for key, count in starts.items()})


def without_uid(spec: Object) -> Object:
    """The server has given the Story of a called run another UID."""
    reference = spec.get("storyRef") or {}
    return {**spec, "storyRef": {key: value for key, value in reference.items() if key != "uid"}}


def without_instants(status: Object | None) -> Object | None:
    """Our admission adds to a decision on a gate when it was made."""
    if not status or "gates" not in status:
        return status
    gates = status["gates"].items()
    return {**status, "gates": {name: {key: gate[key] for key in gate if key != "updatedAt"} for name, gate in gates}}


def test_there_are_recordings_of_more_than_twenty_points() -> None:
    assert len(NAMES) > 20  # the page says how many
    assert f"killed at {len(NAMES)} points" in PAGE.read_text()
    assert set(NAMES) == {*ENDS, "being-deleted"}


@pytest.mark.parametrize("name", sorted(ENDS))
def test_a_run_ends_as_its_story_says(played: Played, name: str) -> None:
    run = the_run(played.ended)

    assert status_of(run)["phase"] == ENDS[name].phase
    assert step_phases(run) == ENDS[name].steps


@pytest.mark.parametrize("name", sorted(ENDS))
def test_no_more_containers_are_started_than_the_run_needs(played: Played, name: str) -> None:
    assert by_step(played.starts, the_run(played.ended)) == ENDS[name].starts


@pytest.mark.parametrize("name", NAMES)
def test_no_step_that_has_succeeded_runs_again(played: Played, name: str) -> None:
    succeeded = [
        step_run for step_run, obj in played.restored["StepRun"].items() if status_of(obj).get("phase") == "Succeeded"
    ]

    assert {step_run: played.starts[step_run] for step_run in succeeded} == dict.fromkeys(succeeded, 0)


@pytest.mark.parametrize(
    "name", [name for name in RUNS_IN_FLIGHT if name not in ("redrive-requested", "being-deleted")]
)
def test_step_runs_and_called_runs_are_adopted(played: Played, name: str) -> None:
    """A StepRun without a status is created again unless it is exactly what our operator creates."""
    for kind in ("StoryRun", "StepRun"):
        begun = [each for each, obj in played.restored[kind].items() if kind == "StoryRun" or "status" in obj]
        before, after = uids(played.restored, kind), uids(played.ended, kind)
        assert {each: after.get(each) for each in begun} == {each: before[each] for each in begun}


@pytest.mark.parametrize("name", ["child-runs", "effect-done", "first-step-runs", "parallel-runs", "queued", "tidying"])
def test_a_job_that_was_running_is_awaited_and_not_created_again(played: Played, name: str) -> None:
    before, after = uids(played.restored, "Job"), uids(played.ended, "Job")

    assert {job: after[job] for job in before} == before


@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_run_that_had_ended_stays_as_it_is(played: Played, name: str) -> None:
    before, after = played.restored["StoryRun"]["one"], played.ended["StoryRun"]["one"]

    assert after["status"] == before["status"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_deleted_is_gone_with_all_that_belongs_to_it(played: Played, name: str) -> None:
    left = {kind: sorted(found) for kind, found in played.cleaned.items() if found}
    pods = {pod for pod in left.pop("Pod", ()) if controller_of(played.cleaned["Pod"][pod]) is not None}

    assert left == {}
    assert pods == set(), "only Pods of attempts that the Go operator has orphaned have no owner"


# Instants that count from a start that the Go operator has recorded.


@pytest.mark.parametrize(
    ("name", "step", "kind"), [("sleeping", "nap", "sleepUntil"), ("waiting", "ready", "waitTimeoutAt")]
)
def test_a_timer_keeps_its_instant(played: Played, name: str, step: str, kind: str) -> None:
    due = timer(played.restored["StoryRun"]["one"], step, kind)
    ended = instant(the_run(played.ended), "status", "stepStates", step, "finishedAt")

    assert played.recorded.recorded_at < due <= ended < due + LATE


@pytest.mark.parametrize("name", ["time-nearly-over"])
def test_the_time_of_a_story_counts_from_the_start_of_the_run(played: Played, name: str) -> None:
    due = instant(played.restored["StoryRun"]["one"], "status", "startedAt") + timedelta(minutes=2)
    ended = instant(the_run(played.ended), "status", "finishedAt")

    assert played.recorded.recorded_at < due <= ended < due + LATE


@pytest.mark.parametrize("name", ["step-timeout-runs"])
def test_the_time_of_a_step_counts_from_the_start_of_its_job(played: Played, name: str) -> None:
    due = instant(played.restored["Job"]["one-a"], "status", "startTime") + timedelta(minutes=2)
    again = instant(played.ended["Job"]["one-a"], "metadata", "creationTimestamp")

    assert status_of(played.ended["StepRun"]["one-a"])["retries"] == 1
    assert played.recorded.recorded_at < due <= again < due + LATE


@pytest.mark.parametrize("name", ["retry-backs-off"])
def test_a_retry_comes_at_its_instant(played: Played, name: str) -> None:
    due = instant(played.restored["StepRun"]["one-a"], "status", "nextRetryAt")
    again = instant(played.ended["Job"]["one-a"], "metadata", "creationTimestamp")

    assert status_of(played.ended["StepRun"]["one-a"])["retries"] == 1
    assert played.recorded.recorded_at < due <= again < due + LATE


# What people and events have decided.


@pytest.mark.parametrize("name", ["gate-approved", "gate-rejected"])
def test_a_decision_that_was_made_meanwhile_counts(played: Played, name: str) -> None:
    message = {"gate-approved": "looks good", "gate-rejected": "not today"}[name]

    assert the_run(played.ended)["status"]["stepStates"]["approve"]["message"] == message


@pytest.mark.parametrize("name", sorted(APPROVED))
def test_a_gate_that_waits_can_be_approved(played: Played, name: str) -> None:
    assert the_run(played.restored)["status"]["stepStates"]["approve"]["phase"] == "Paused"
    assert the_run(played.ended)["status"]["stepStates"]["approve"]["phase"] == "Succeeded"


@pytest.mark.parametrize("name", ["triggered", "trigger-unanswered"])
def test_a_request_has_one_run(played: Played, name: str) -> None:
    [request] = played.ended["StoryTrigger"].values()
    [run] = played.ended["StoryRun"].values()

    assert status_of(request)["decision"] == "Created"
    assert status_of(request)["storyRunRef"]["name"] == _name(run)


@pytest.mark.parametrize("name", ["triggered", "trigger-unanswered"])
def test_an_impulse_keeps_its_listener(played: Played, name: str) -> None:
    before, after = uids(played.restored, "Deployment"), uids(played.ended, "Deployment")

    assert before == after
    assert status_of(played.ended[IMPULSE.kind]["orders"])["phase"] == "Running"


@pytest.mark.parametrize("name", NAMES)
def test_our_definitions_keep_every_field_of_that_operator(played: Played, name: str) -> None:
    kinds = {
        kind: found for kind, found in played.restored.items() if kind in ("StoryRun", "StepRun", "Story", "Impulse")
    }
    recorded = {(obj["kind"], _name(obj)): obj for obj in played.recorded.objects if obj["kind"] in kinds}

    for (kind, each), obj in recorded.items():
        stored = played.restored[kind][each]
        assert without_uid(stored["spec"]) == without_uid(obj["spec"])
        assert without_instants(stored.get("status")) == obj.get("status")
