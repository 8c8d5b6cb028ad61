"""Backfill: the starts of a range, with the keys of the schedule. (cron/backfill.py)"""

from __future__ import annotations

from typing import Any

import pytest

from bubu_impulses.cron import __main__ as program
from bubu_impulses.cron import backfill, config
from bubu_impulses.cron.backfill import BackfillError, Range
from bubu_impulses.cron.config import CronConfig
from bubu_impulses.cron.schedule import Schedule
from bubu_sdk import decode
from bubu_sdk.kube import ENGRAMS_API
from bubu_sdk.testing import ImpulseEnvironment, InMemoryCluster, Rejection

CONFIG: dict[str, Any] = {
    "timeZone": "Europe/Berlin",
    "schedules": [
        {"name": "nightly", "cron": "30 2 * * *", "inputs": {"day": "{{ start.date }}"}},
        {"name": "noon", "cron": "0 12 * * *"},
    ],
}


def schedules() -> list[Schedule]:
    decoded: CronConfig = decode.decode(CONFIG, CronConfig, "config")
    return config.schedules(decoded, "impulse")


def keys(wanted: Range) -> list[str]:
    return [start.key for start in backfill.starts(schedules(), wanted)]


def test_a_range_has_its_first_instant_but_not_its_last() -> None:
    assert keys(Range("2026-01-01T02:30", "2026-01-03T02:30", ("nightly",))) == [
        "impulse/nightly@2026-01-01T01:30:00Z",
        "impulse/nightly@2026-01-02T01:30:00Z",
    ]


def test_starts_of_all_schedules_are_in_order_of_time() -> None:
    assert keys(Range("2026-01-01", "2026-01-02")) == [
        "impulse/nightly@2026-01-01T01:30:00Z",
        "impulse/noon@2026-01-01T11:00:00Z",
    ]
    assert keys(Range("2026-01-01T11:00:00Z", "2026-01-01T11:00:01Z")) == ["impulse/noon@2026-01-01T11:00:00Z"]


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        (Range("2026-01-02", "2026-01-01"), "after --from"),
        (Range("yesterday", "2026-01-01"), "'yesterday'"),
        (Range("2026-01-01", "2026-01-02", ("daily",)), "there are nightly, noon"),
        (Range("2020-01-01", "2026-01-01"), "more than 1000"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(wanted: Range, named: str) -> None:
    with pytest.raises(BackfillError, match=named):
        backfill.starts(schedules(), wanted)


def test_what_was_made_before_is_not_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    environment = ImpulseEnvironment(config=CONFIG)
    wanted = Range("2026-01-01", "2026-01-04", ("nightly",))

    codes = [environment.run(program.backfill_of(wanted)).exit_code for _ in range(2)]

    assert codes == [0, 0]
    assert len(environment.story_runs) == 3
    assert [trigger["spec"]["inputs"] for trigger in environment.triggers] == [
        {"day": f"2026-01-0{day}"} for day in (1, 2, 3)
    ]
    assert capsys.readouterr().out.count("3 of 3 starts are submitted") == 2


def test_a_failure_does_not_keep_back_the_next_start(capsys: pytest.CaptureFixture[str]) -> None:
    environment = ImpulseEnvironment(config=CONFIG)
    environment.operator.rejects = lambda trigger: (
        Rejection(message="no") if trigger["spec"]["inputs"] == {"day": "2026-01-01"} else None
    )

    outcome = environment.run(program.backfill_of(Range("2026-01-01", "2026-01-03", ("nightly",))))

    assert outcome.exit_code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "impulse/nightly@2026-01-01T01:30:00Z: failed: no"
    assert "Created" in lines[1]
    assert lines[2] == "1 of 2 starts are submitted"


def test_a_dry_run_prints_keys_and_submits_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    environment = ImpulseEnvironment(config=CONFIG)

    outcome = environment.run(program.backfill_of(Range("2026-01-01", "2026-01-02", dry_run=True)))

    assert (outcome.exit_code, environment.triggers) == (0, [])
    assert capsys.readouterr().out.splitlines() == [
        "impulse/nightly@2026-01-01T01:30:00Z",
        "impulse/noon@2026-01-01T11:00:00Z",
    ]


def test_a_wrong_range_is_an_error_of_its_own() -> None:
    outcome = ImpulseEnvironment(config=CONFIG).run(program.backfill_of(Range("x", "y")))

    assert outcome.exit_code == 2


def test_the_command_line_is_read() -> None:
    arguments = ["--from", "2026-01-01", "--to", "2026-02-01", "--schedule", "a", "--schedule", "b", "--limit", "5"]

    assert backfill.parse([*arguments, "--dry-run"]) == Range("2026-01-01", "2026-02-01", ("a", "b"), True, 5)
    elsewhere = backfill.parse([*arguments, "--impulse", "cron", "--namespace", "team"])
    assert (elsewhere.impulse, elsewhere.namespace) == ("cron", "team")


@pytest.mark.parametrize("arguments", [["unknown"], ["backfill"], ["backfill", "--from", "2026-01-01"]])
def test_a_wrong_command_line_ends_the_program(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.command(arguments)
    assert ended.value.code != 0


def test_outside_of_the_container_the_impulse_is_read() -> None:
    cluster = InMemoryCluster()
    cluster.add(
        f"{ENGRAMS_API}/namespaces/team/impulses/cron",
        {"spec": {"storyRef": {"name": "report"}, "with": {"schedules": []}}},
    )
    environ = {"KUBECONFIG": "/home/me/.kube/config"}

    backfill.adopt(environ, cluster, Range("a", "b", impulse="cron", namespace="team"))

    assert environ == {
        "KUBECONFIG": "/home/me/.kube/config",
        "BUBU_IMPULSE_NAME": "cron",
        "BUBU_IMPULSE_NAMESPACE": "team",
        "BUBU_TARGET_STORY_NAME": "report",
        "BUBU_TARGET_STORY_NAMESPACE": "team",
        "BUBU_STEP_CONFIG": '{"schedules":[]}',
    }
