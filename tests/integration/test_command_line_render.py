"""``render``: expressions evaluated on the command line, from a file, from the cluster, and line by line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, MANIFESTS, CommandLine

STORY = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: report}
spec:
  inputsSchema: {type: object, properties: {limit: {type: integer, default: 5}}}
  steps:
    - name: fetch
      ref: {name: worker}
      with: {url: "https://example.org/{{ inputs.city }}", limit: "{{ inputs.limit }}"}
    - name: send
      ref: {name: worker}
      if: steps.fetch.output.count > 0
      with:
        items: "{{ steps.fetch.output.items }}"
        title: "{{ upper inputs.limit }}"
"""
SOUND = STORY.replace("upper inputs.limit", "upper inputs.city")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """A command line without a cluster. A cluster that a command starts must be gone at the end."""
    line = CommandLine(tmp_path)
    line.file("report.yaml", MANIFESTS + "---\n" + SOUND)
    yield line
    assert not line.processes()


def test_a_story_in_a_file_is_shown_with_types_and_needs(line: CommandLine) -> None:
    line.file("outputs.json", '{"fetch": {"count": 2, "items": ["a"]}}')

    done = line.quick("render", "-f", "report.yaml", "-i", "city=Bern", "--outputs", "outputs.json")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "FIELD                      TYPE     NEEDS   VALUE",
        'spec.steps[0].with.url     string   -       "https://example.org/Bern"',
        "spec.steps[0].with.limit   number   -       5",
        "spec.steps[1].if           bool     fetch   true",
        'spec.steps[1].with.items   array    fetch   ["a"]',
        'spec.steps[1].with.title   string   -       "BERN"',
    ]


def test_what_waits_for_a_step_is_no_error(line: CommandLine) -> None:
    done = line.quick("render", "-f", "report.yaml", "--step", "send", "--field", "if", "--no-headers")

    assert (done.code, done.out) == (0, "spec.steps[1].if   blocked   fetch   waits for fetch\n")


def test_an_error_is_shown_with_file_line_place_and_remedy(line: CommandLine) -> None:
    line.file("bad.yaml", STORY)

    done = line.quick("render", "report", "-f", "bad.yaml", "--field", "with.titel")
    assert (done.code, done.err) == (
        2,
        "error: --field with.titel: no expression is evaluated there\nhint: did you mean with.title?\n",
    )

    done = line.quick("render", "report", "-f", "bad.yaml", "--field", "with.title")
    assert done.code == 7
    message, *excerpt = done.err.splitlines()
    assert message.startswith("error: bad.yaml:15: spec.steps[1].with.title: upper needs string, not float64")
    assert message.endswith("(line 1, column 10); convert with toString, or give a default")
    assert excerpt == ["  {{ upper inputs.limit }}", "           ^"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param([], 2, "error: give STORY, or -f FILE\n", id="nothing"),
        pytest.param(["-f", "none.yaml"], 1, "error: none.yaml does not exist\n", id="no file"),
        pytest.param(["other", "-f", "report.yaml"], 1, "report.yaml holds no Story 'other'", id="other Story"),
        pytest.param(["-f", "-", "--outputs", "-"], 2, "only one of -f, --inputs and --outputs can read", id="stdin"),
        pytest.param(["-f", "report.yaml", "--outputs", "report.yaml"], 2, "--outputs report.yaml: is not", id="YAML"),
        pytest.param(["-f", "report.yaml", "--step", "sned"], 2, "hint: did you mean send?", id="step"),
        pytest.param(["-f", "report.yaml", "-o", "html"], 2, "unknown output format 'html'", id="format"),
        pytest.param(["--jsonl", "-f", "x", "--input", "a=1"], 2, "--jsonl excludes -f, --input", id="jsonl"),
    ],
)
def test_wrong_words_are_answered_as_everywhere(
    line: CommandLine, arguments: list[str], code: int, message: str
) -> None:
    done = line.quick("render", *arguments)

    assert done.code == code
    assert message in done.err
    assert done.out == ""


def test_programs_read_json(line: CommandLine) -> None:
    documents = {
        form: line.quick("render", "-f", "report.yaml", "-i", "city=Bern", "--field", "with.url", "-o", form).out
        for form in ("json", "jsonl", "name", "jsonpath={.fields[0].value}")
    }

    (row,) = json.loads(documents["json"])["fields"]
    assert (row["value"], row["type"], row["needs"]) == ("https://example.org/Bern", "string", [])
    assert json.loads(documents["jsonl"]) == row
    assert documents["name"] == "spec.steps[0].with.url\n"
    assert documents["jsonpath={.fields[0].value}"] == "https://example.org/Bern\n"


def test_questions_are_answered_a_line_at_a_time(line: CommandLine) -> None:
    ask = {"template": "{{ inputs.n }}", "kind": "value", "context": {"inputs": {"n": 1}}}
    questions = [
        ask,
        {**ask, "template": "inputs.n == 1", "kind": "condition"},
        {**ask, "template": "{{ steps.late.output.x }}"},
        {**ask, "template": "{{ inputs.n"},
        {**ask, "template": "{{ uuidv4 }}", "deterministic": True},
        {**ask, "template": "{{ repeat 100 `x` }}", "maxOutputBytes": 50},
        {"template": "x"},
    ]
    with line.started("render", "--jsonl", stdin="".join(json.dumps(each) + "\n" for each in questions)) as process:
        out, err = process.communicate(timeout=DEADLINE_SECONDS)

    answers = [json.loads(each) for each in out.splitlines()]
    assert (process.returncode, err) == (0, "")
    assert answers[:2] == [{"value": 1}, {"value": True}]
    assert answers[2]["blocked"]["steps"] == ["late"]
    assert [answer["error"]["kind"] for answer in answers[3:]] == ["parse", "parse", "limit", "request"]
    assert answers[3]["error"]["position"] == {"line": 1, "column": 1}


def test_an_editor_asks_when_it_likes_and_leaves(line: CommandLine) -> None:
    command = [*BOBRAPET, "render", "--jsonl"]
    with subprocess.Popen(
        command, env=line.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            question = {"template": "{{ inputs.n }}", "kind": "value", "context": {"inputs": {"n": number}}}
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"value": number}
        process.stdout.close()
        process.stdin.write(b"{}\n")
        _, err = process.communicate(timeout=DEADLINE_SECONDS)

    assert (process.returncode, err) == (0, b"")


def test_a_story_of_the_cluster_is_read_and_nothing_is_run(example_line: CommandLine) -> None:
    line = example_line
    story = SOUND.replace("name: report", "name: weekly").replace("if: ", 'if: "false" #')
    line.file("story.yaml", MANIFESTS + "---\n" + story)
    done = line.quick("run", "story.yaml", line.images, "-i", "city=Bern", "--quiet", "--story", "weekly")
    assert done.code == 0, done.err
    before = line.quick("list", "-o", "name").out

    done = line.quick("render", "weekly", "-i", "city=Bern", "--field", "with.title", "-o", "jsonl")
    missing = line.quick("render", "wekely")

    assert json.loads(done.out)["value"] == "BERN"
    assert missing.code == 1
    assert 'stories.bubustack.io "wekely" not found' in missing.err
    assert line.quick("list", "-o", "name").out == before
