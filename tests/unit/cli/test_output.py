"""Structured output, tables, graphs, durations and exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from ruamel.yaml import YAML

from cli.exit_code import ExitCode, of_phase, worst
from cli.problem import UsageError
from cli.render.output import jsonpath, render, yaml_text
from cli.render.table import table
from cli.render.time import age, short_duration
from core.api.phases import TERMINAL_PHASES, Phase
from core.graph.needs import Declared, build_graph
from views.graph import Drawing, draw, layers
from views.text import visible

OBJECT = {"kind": "StoryRun", "metadata": {"name": "r"}, "status": {"steps": [{"n": "a"}, {"n": "b"}], "odd.key": 1}}
DIAMOND = build_graph(
    [Declared("a"), Declared("b", ("a",)), Declared("c", ("a",)), Declared("d", ("b",), frozenset({"c"}))]
)
KINDS = {"a": "engram", "b": "engram", "c": "sleep", "d": "engram"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{.metadata.name}", "r"),
        (".metadata.name", "r"),
        ("{.status.steps[1].n}", "b"),
        ("{.status.steps[*].n}", "a b"),
        ("name={.metadata.name}!", "name=r!"),
        ("{.status['odd.key']}", "1"),
        ("{.missing}", ""),
    ],
)
def test_jsonpath_reads_the_everyday_subset(path: str, expected: str) -> None:
    assert jsonpath(OBJECT, path) == expected


def test_jsonpath_that_cannot_be_read_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        jsonpath(OBJECT, "{.a[?(@.b)]}")


def test_a_single_object_is_not_wrapped_and_several_are() -> None:
    assert json.loads(render([OBJECT], "json", single=True)) == OBJECT
    assert json.loads(render([OBJECT], "json", single=False))["items"] == [OBJECT]
    assert render([OBJECT, OBJECT], "name", single=False) == "storyrun/r\nstoryrun/r"
    assert [json.loads(line) for line in render([OBJECT, OBJECT], "jsonl", single=False).splitlines()] == [OBJECT] * 2


def test_yaml_of_a_scalar_has_no_document_end() -> None:
    assert yaml_text(3) == "3"
    assert yaml_text({"a": [1]}) == "a:\n- 1"


def test_an_unknown_format_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="xml"):
        render([OBJECT], "xml", single=True)


def test_a_table_aligns_columns_and_can_drop_its_headers() -> None:
    assert table(["A", "LONG"], [["xyz", "1"]]) == "A     LONG\nxyz   1"
    assert table(["A", "LONG"], [["xyz", "1"]], no_headers=True) == "xyz   1"
    assert table(["A"], [], no_headers=True) == ""


def test_layers_follow_the_longest_path() -> None:
    assert layers(DIAMOND) == [["a"], ["b", "c"], ["d"]]


def test_a_cycle_is_drawn_last_instead_of_hanging() -> None:
    graph = build_graph([Declared("a"), Declared("b", ("c",)), Declared("c", ("b",))])

    assert layers(graph) == [["a"], ["b", "c"]]


def test_the_text_drawing_names_needs_kinds_and_phases() -> None:
    text = draw(Drawing("story", DIAMOND, KINDS, {"a": Phase.SUCCEEDED}), "ascii", ascii_only=True)

    assert [line.split() for line in text.splitlines()] == [
        ["story"],
        ["1", "Succeeded", "a"],
        ["2", "Pending", "b", "<-", "a"],
        ["Pending", "c", "(sleep)", "<-", "a"],
        ["3", "Pending", "d", "<-", "b,", "c"],
    ]


@pytest.mark.parametrize(("form", "edge"), [("mermaid", "s0 --> s1"), ("dot", '"a" -> "b";'), ("svg", "<path")])
def test_every_graph_format_has_its_edges(form: str, edge: str) -> None:
    assert edge in draw(Drawing("story", DIAMOND, KINDS), form)


def test_a_realtime_run_has_the_rates_on_its_edges() -> None:
    drawing = Drawing("run", DIAMOND, KINDS, {}, {("a", "b"): "200/s", ("b", "d"): "4.1/s"})

    assert [line.split("<- ")[-1] for line in draw(drawing, "ascii", ascii_only=True).splitlines()[2:]] == [
        "a 200/s",
        "a",
        "b 4.1/s, c",
    ]
    assert "s0 -->|200/s| s1" in draw(drawing, "mermaid")
    assert '"a" -> "b" [label="200/s"];' in draw(drawing, "dot")
    assert draw(drawing, "svg").count("/s</text>") == 2


def test_svg_escapes_what_users_write() -> None:
    graph = build_graph([Declared("<b>")])

    assert "<b>" not in draw(Drawing("s", graph, {"<b>": "engram"}), "svg")


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.12, "4.1s"), (59.9, "59s"), (72, "1m12s"), (11100, "3h05m"), (187200, "2d4h")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert short_duration(timedelta(seconds=seconds)) == text


def test_ages_read_as_kubectl_words_them() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)

    assert [age(now - timedelta(minutes=m), now) for m in (0, 3, 150, 4000)] == ["0s", "3m", "2h", "2d"]
    assert age(None, now) == "<unknown>"
    assert age(now, now, iso=True) == "2026-01-02T00:00:00Z"


def test_every_terminal_phase_has_an_exit_code() -> None:
    assert {phase: of_phase(phase) for phase in TERMINAL_PHASES} == {
        Phase.SUCCEEDED: ExitCode.DONE,
        Phase.SKIPPED: ExitCode.DONE,
        Phase.FAILED: ExitCode.RUN_FAILED,
        Phase.COMPENSATED: ExitCode.RUN_FAILED,
        Phase.TIMEOUT: ExitCode.RUN_TIMED_OUT,
        Phase.CANCELED: ExitCode.RUN_CANCELED,
        Phase.FINISHED: ExitCode.RUN_CANCELED,
        Phase.ABORTED: ExitCode.RUN_CANCELED,
    }


def test_the_worst_code_wins() -> None:
    assert worst([ExitCode.DONE, ExitCode.RUN_CANCELED, ExitCode.RUN_TIMED_OUT]) is ExitCode.RUN_TIMED_OUT
    assert worst([ExitCode.RUN_TIMED_OUT, ExitCode.RUN_FAILED]) is ExitCode.RUN_FAILED
    assert worst([]) is ExitCode.DONE


@pytest.mark.parametrize("hostile", ["a\x1b[2J", "b\x85\x9b1A", "x: \u202eyes # no", "\u2028- \ufeff", "\U000e0001"])
def test_yaml_has_no_character_that_a_terminal_obeys(hostile: str) -> None:
    value = {"plain": "é 日本\u3000", "list": [{hostile: hostile}], "lines": f"a\n{hostile}\n"}

    text = yaml_text(value)

    assert YAML(typ="safe", pure=True).load(text) == value
    assert visible(text) == text
    assert "plain: é 日本" in text


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_json_has_no_character_that_a_terminal_obeys(output: str) -> None:
    hostile = "a\x1b[2J\x07\x7f\x85\x9b1A\u202eb\u2028\u200bc é 日本 \U000e0001"
    text = render([{"name": hostile}], output, single=True)

    assert json.loads(text) == {"name": hostile}
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "é 日本" in text
