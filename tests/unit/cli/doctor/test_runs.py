from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cli.doctor.runs import of_explanations
from views.doctor.diagnosis import Diagnosis, Health
from views.why.cause import Cause, CauseKind, Explanation

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def command(namespace: str, verb: str, *arguments: str) -> str:
    return " ".join(("bobrapet", verb, *arguments, "-n", namespace))


def diagnosed(kind: CauseKind, minutes: float) -> Diagnosis:
    since = NOW - timedelta(minutes=minutes)
    cause = Cause(kind, "team", "run", "step", "waits", since)
    explanation = Explanation("team", "run", "", "story", "Running", "", since, None, (cause,), (), ())
    (found,) = of_explanations([explanation], 1, NOW, command)
    return found


def test_a_run_whose_image_does_not_come_is_stuck_after_a_while() -> None:
    assert diagnosed(CauseKind.IMAGE, 1).health is Health.OK

    stuck = diagnosed(CauseKind.IMAGE, 3)

    assert (stuck.health, stuck.text) == (Health.WARNING, "run team/run: step step waits")
    assert stuck.commands == ("bobrapet why run -n team",)


def test_an_operator_that_does_not_react_is_a_problem_sooner() -> None:
    assert diagnosed(CauseKind.OPERATOR, 0.2).health is Health.OK
    assert diagnosed(CauseKind.OPERATOR, 1).health is Health.PROBLEM


def test_a_run_may_wait_for_people_time_and_its_steps_as_long_as_it_likes() -> None:
    for kind in (CauseKind.GATE, CauseKind.SLEEP, CauseKind.RUNNING, CauseKind.CHILD):
        assert diagnosed(kind, 10_000).health is Health.OK


def test_the_number_of_runs_is_said() -> None:
    (none,) = of_explanations([], 0, NOW, command)
    (some,) = of_explanations([], 3, NOW, command)

    assert none.text == "no run is under way"
    assert some.text == "3 runs are under way, 0 of them looked into; none is stuck"
