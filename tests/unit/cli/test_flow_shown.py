"""How the traffic of a realtime run is shown. (cli/render/flow.py, cli/render/progress.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.render.flow import FlowLines, edge_rates, rate_text
from cli.render.progress import transitions, tree
from core.api.objects import Object
from core.graph.needs import Declared, build_graph
from tests.unit.views import stream_samples as samples
from views.run_view import RunView, view_run

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def view(*bindings: Object, **given: Any) -> RunView:
    step_runs = [samples.step_run(step) for step in samples.NEEDS]
    return view_run(samples.run(**given), samples.story(), step_runs, (), bindings)


def flowing(**of_days: Any) -> RunView:
    return view(
        samples.binding("replay", received=2096, receivedPerMinute=12000),
        samples.binding(
            "days", delivered=2090, deliveredPerMinute=12000, received=43, receivedPerMinute=245, **of_days
        ),
        samples.binding("page", delivered=43, deliveredPerMinute=20),
    )


@pytest.mark.parametrize(
    ("per_minute", "text"), [(0, ""), (1, "1/min"), (59, "59/min"), (60, "1.0/s"), (246, "4.1/s"), (90_000, "1,500/s")]
)
def test_rates_have_the_unit_that_suits_them(per_minute: int, text: str) -> None:
    assert rate_text(per_minute) == text


def test_the_tree_shows_traffic_in_columns() -> None:
    lines = [line for line, _ in tree(flowing(waiting=12, waitingPct=3, lost=2), NOW, width=120, ascii_only=True)]

    assert lines == [
        "buoy-1  Running  3/3 connected  1m00s",
        "replay  Running      1m00s                   out 2,096 200/s",
        "days    Running      1m00s  in 2,090  200/s  out 43    4.1/s  12 waiting (3 % full), 2 lost",
        "page    Running      1m00s  in 43    20/min",
    ]


def test_a_step_that_is_held_up_says_by_whom() -> None:
    lines = [line for line, _ in tree(flowing(pausedBy=["page"]), NOW, width=120)]

    assert lines[2].endswith("blocked by page")


def test_a_step_that_is_not_connected_shows_both_its_counts_and_why() -> None:
    states = {"page": {"phase": "Paused", "startedAt": samples.BEGAN, "message": "no client serves the step now"}}
    seen = view(samples.binding("page", connected=False, delivered=7), states=states)

    assert tree(seen, NOW, width=120)[3][0].endswith("in 7  no client serves the step now")


def test_steps_that_a_dead_hub_has_left_as_connected_do_not_count_as_connected() -> None:
    states = {name: {"phase": "Paused", "startedAt": samples.BEGAN, "message": "no hub"} for name in samples.NEEDS}

    assert tree(view(samples.binding("page"), states=states), NOW, width=120)[0][0].startswith(
        "buoy-1  Running  0/3 connected"
    )


def test_a_pipe_gets_a_line_for_each_step_that_has_changed_every_ten_seconds_at_most() -> None:
    lines = FlowLines()

    assert lines.lines(flowing(), NOW) == [
        "2026-01-02T12:00:00Z buoy-1 replay out 2,096 (200/s)",
        "2026-01-02T12:00:00Z buoy-1 days in 2,090 (200/s), out 43 (4.1/s)",
        "2026-01-02T12:00:00Z buoy-1 page in 43 (20/min)",
    ]
    assert lines.lines(flowing(lost=1), NOW + timedelta(seconds=9)) == []
    assert lines.lines(flowing(lost=2), NOW + timedelta(seconds=10)) == [
        "2026-01-02T12:00:10Z buoy-1 days in 2,090 (200/s), out 43 (4.1/s), 2 lost"
    ]
    assert lines.lines(flowing(lost=2), NOW + timedelta(minutes=10)) == [], "nothing has changed"


def test_a_stream_without_traffic_makes_no_line() -> None:
    assert FlowLines().lines(view(*(samples.binding(step) for step in samples.NEEDS)), NOW) == []


def test_the_end_of_a_stream_tells_its_totals() -> None:
    states = {name: {"phase": "Succeeded", "startedAt": samples.BEGAN} for name in samples.NEEDS}
    bindings = [samples.binding("days", delivered=2090, received=43, receivedPerMinute=245, connected=False)]
    step_runs = [samples.step_run(step, phase="Succeeded") for step in samples.NEEDS]
    after = view_run(samples.run(states=states), samples.story(), step_runs, (), bindings)

    assert "2026-01-02T12:00:00Z buoy-1 days Running→Succeeded  in 2,090, out 43" in transitions(flowing(), after, NOW)


def test_an_edge_has_the_rate_of_what_arrives_or_with_several_needs_of_what_is_sent() -> None:
    line = build_graph([Declared("replay"), Declared("days", ("replay",)), Declared("page", ("days", "replay"))])

    assert edge_rates(flowing(), line) == {
        ("replay", "days"): "200/s",
        ("days", "page"): "4.1/s",
        ("replay", "page"): "200/s",
    }
