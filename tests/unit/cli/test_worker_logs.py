"""Which lines in the log of a warm worker are of which step of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.step_logs import LogWish
from cli.worker_logs import StepsInWorkers, WarmLog
from core.api.objects import Object

AT = datetime(2026, 1, 1, tzinfo=UTC)


def step_run(name: str, step: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"stepId": step}}


def line(run: str, name: str, attempt: object = 1, **fields: Any) -> str:
    return json.dumps({"msg": "m", "storyRun": run, "step": "s", "stepRun": name, "attempt": attempt, **fields})


class Shown:
    def __init__(self) -> None:
        self.lines: list[tuple[str, int, str]] = []

    def __call__(self, step: str, attempt: int, at: datetime | None, text: str) -> None:
        assert at == AT
        self.lines.append((step, attempt, text))


def test_lines_of_other_runs_and_of_the_worker_itself_are_left_out() -> None:
    steps, shown = StepsInWorkers("run"), Shown()
    steps.learn([step_run("run-a", "a")], shown)
    own = [line("run", "run-a"), line("run", "run-a", 2, logger="output")]
    foreign = [line("other", "run-a"), line("run", "run-a", "1"), "plain", "[1]", "{", '{"worker": "w"}']

    for text in (foreign[0], own[0], *foreign[1:], own[1]):
        steps.take(AT, text, shown)

    assert shown.lines == [("a", 1, own[0]), ("a", 2, own[1])]


def test_lines_wait_for_their_step_run() -> None:
    steps, shown = StepsInWorkers("run"), Shown()
    steps.take(AT, line("run", "run-a"), shown)
    assert shown.lines == []

    steps.learn([step_run("run-a", "a")], shown)
    steps.learn([step_run("run-a", "a")], shown)

    assert shown.lines == [("a", 1, line("run", "run-a"))]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (LogWish(), [1, 2]),
        (LogWish(attempt=2), [2]),
        (LogWish(failed=True), [1]),
        (LogWish(previous=True), [1]),
        (LogWish(steps=("b",)), []),
    ],
)
def test_wishes_choose_among_attempts(wish: LogWish, expected: list[int]) -> None:
    logs = [WarmLog("a", 1, True, True, ()), WarmLog("a", 2, False, False, ())]

    assert [log.attempt for log in logs if wish.takes_warm(log)] == expected
