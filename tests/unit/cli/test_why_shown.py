"""How ``why`` shows its answer, to users and to programs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cli.render.why import lines_of
from views.trace_view import TraceView
from views.why.cause import Cause, CauseKind, Explanation
from views.why.document import document_of

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
BEGAN = datetime(2026, 1, 2, 11, 59, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 13, 0, tzinfo=UTC)
GATE = Cause(
    CauseKind.GATE,
    "team",
    "release-1",
    "approve",
    "waits for approval",
    since=BEGAN,
    until=LATER,
    then="the step is skipped",
    who="whoever may",
    commands=("bobrapet approve release-1 approve", "bobrapet reject release-1 approve"),
)


def explanation(*causes: Cause, **more: Any) -> Explanation:
    plain = Explanation("team", "release-1", "", "release", "Running", "", BEGAN, None, causes, (), ())
    return replace(plain, **more)


def shown(told: Explanation, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    return [line for line, _ in lines_of(told, NOW, width=width, ascii_only=ascii_only)]


def test_a_cause_tells_since_when_until_when_who_and_what_to_type() -> None:
    assert shown(explanation(GATE, later=(("publish", ("approve", "fan")),))) == [
        "release-1  Running  since 2026-01-02T11:59:00Z",
        "",
        "step approve waits for approval",
        "  since   2026-01-02T11:59:00Z (1m00s ago)",
        "  until   2026-01-02T13:00:00Z (in 1h00m), then the step is skipped",
        "  who     whoever may",
        "  do      bobrapet approve release-1 approve",
        "          bobrapet reject release-1 approve",
        "",
        "later: publish needs approve, fan",
    ]


def test_the_trace_is_shown_where_there_is_one() -> None:
    trace = TraceView("ab" * 16, "cd" * 8, sampled=True)

    assert shown(explanation(GATE, trace=trace))[-2:] == ["", f"trace {'ab' * 16}"]
    assert document_of(explanation(GATE, trace=trace))["trace"] == trace.document()
    assert document_of(explanation(GATE))["trace"] is None


def test_a_failure_tells_its_error_and_its_last_words() -> None:
    failed = replace(
        GATE,
        kind=CauseKind.FAILED,
        text="ended Failed: exit 3",
        facts=(("type", "execution_error"),),
        last_lines=("a", "b"),
    )

    lines = shown(explanation(failed))

    assert "  error   type: execution_error" in lines
    assert lines[lines.index("  | a") : lines.index("  | a") + 2] == ["  | a", "  | b"]


def test_text_keeps_to_the_width_but_never_breaks_a_command() -> None:
    long = replace(GATE, text="waits " + "for something " * 20, commands=("bobrapet " + "x" * 90,))

    lines = shown(explanation(long), ascii_only=True)

    assert [line for line in lines if len(line) > 80] == ["  do      bobrapet " + "x" * 90]
    assert all(line.isascii() for line in lines)


def test_of_very_many_causes_the_first_ones_are_shown_and_the_rest_counted() -> None:
    lines = shown(explanation(*(replace(GATE, step=f"s{number}") for number in range(25))))

    assert sum(line.endswith("waits for approval") for line in lines) == 20
    assert "and 5 more; all of them with --output json" in lines


def test_the_way_to_a_child_run_is_told() -> None:
    cause = replace(GATE, run="release-1-deploy", via=("release-1/later", "release-1/deploy"))

    assert "  through later → deploy → run release-1-deploy" in shown(explanation(cause))
    assert "  through later -> deploy -> run release-1-deploy" in shown(explanation(cause), ascii_only=True)


def test_where_there_is_nothing_to_wait_for_one_line_says_so() -> None:
    told = explanation(phase="Succeeded", summary="has ended Succeeded; it waits for nothing")

    assert shown(told)[1:] == ["release-1 has ended Succeeded; it waits for nothing"]


def test_what_one_may_not_see_is_named() -> None:
    line = "this answer may be incomplete: you may not read Pods"

    assert shown(explanation(GATE, unseen=("Pods",)))[-1] == line


def test_as_data_it_holds_everything() -> None:
    document = document_of(explanation(GATE, later=(("publish", ("approve",)),)))

    cause = document["causes"][0]
    assert (cause["kind"], cause["since"], cause["until"]) == ("gate", "2026-01-02T11:59:00Z", "2026-01-02T13:00:00Z")
    assert (document["until"], document["later"]) == (None, [{"step": "publish", "needs": ["approve"]}])
    assert json.loads(json.dumps(document)) == document
