"""Questions of ``render --jsonl``: read completely, or refused with every problem."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from cli.verbs import render
from cli.verbs.render import NoQuestionError, read_question, serve
from core.story.fields import FieldKind


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_question_has_three_fields_and_two_more_at_will() -> None:
    plain = read_question(_line(template="{{ 1 }}", kind="value", context={"inputs": {}}))
    full = read_question(_line(template="true", kind="condition", context={}, deterministic=True, maxOutputBytes=0))

    assert (plain.template, plain.kind, plain.context) == ("{{ 1 }}", FieldKind.VALUE, {"inputs": {}})
    assert (plain.policy.deterministic, plain.policy.limits.output_bytes) == (False, 65_536)
    assert (full.kind, full.policy.deterministic, full.policy.limits.output_bytes) == (FieldKind.CONDITION, True, 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "the line is not JSON: "),
        (b"[]", "the line is not a JSON object; write for example {"),
        (b"\xff", "the line is not JSON: "),
        (b"[" * 5_000, "the line is not JSON: "),
        (_line(kind="value"), "template: is required; context: is required"),
        (_line(template="", kind="x", context={}), "kind: must be value or condition"),
        (_line(template="", kind=["value"], context={}), "kind: must be value or condition"),
        (_line(template=1, kind="condition", context={}), "template: must be a string for a condition"),
        (_line(template="", kind="value", context=[]), "context: must be an object"),
        (_line(template="", kind="value", context={}, deterministic=1), "deterministic: must be true or false"),
        (_line(template="", kind="value", context={}, maxOutputBytes=-1), "maxOutputBytes: must be a whole number"),
        (_line(template="", kind="value", context={}, maxOutputBytes=True), "maxOutputBytes: must be a whole number"),
        (_line(template="", kind="value", context={}, maxOutputByte=1), "did you mean maxOutputBytes?"),
        (_line(template="", kind="value", context={}, zzz=1), "zzz: is not known; there are template, kind, context"),
    ],
)
def test_what_is_no_question_is_told_why(line: bytes, message: str) -> None:
    with pytest.raises(NoQuestionError) as caught:
        read_question(line)

    assert message in str(caught.value)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The returned function writes to standard input."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin, os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", stdin)
        yield pipe


def _answers(captured: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in captured.readouterr().out.splitlines()]


async def test_each_question_is_answered_before_the_next_one_comes(
    given: Any, capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    nursery.start_soon(serve)
    for number in (1, 2):
        given.write(_line(template="{{ inputs.n }}", kind="value", context={"inputs": {"n": number}}) + b"\n")
        answers: list[Any] = []
        with trio.fail_after(20):
            while not answers:
                await trio.sleep(0.01)
                answers = _answers(capsys)
        assert answers == [{"value": number}]
    given.close()


async def test_a_line_is_put_together_from_pieces_and_the_last_needs_no_end(
    given: Any, capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    line = _line(template="{{ 'é' }}", kind="value", context={})
    async with trio.open_nursery() as inner:
        inner.start_soon(serve)
        for piece in (line[:7], line[7:9], line[9:] + b"\n\n  \n" + line):
            given.write(piece)
            await trio.sleep(0.02)
        given.close()

    assert _answers(capsys) == [{"value": 233}, {"value": 233}]


async def test_a_line_without_end_is_refused_and_the_next_one_answered(
    given: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "MAX_LINE_BYTES", 100_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        for _ in range(20):
            await trio.to_thread.run_sync(given.write, b"x" * 60_000)
        given.write(b"\n" + _line(template="no", kind="condition", context={}) + b"\n")
        given.close()

    refused, answered = _answers(capsys)
    assert refused["error"]["kind"] == "request"
    assert "longer than 100000 bytes" in refused["error"]["message"]
    assert answered == {"value": False}


async def test_the_documented_answers_are_given(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[4] / "docs" / "expressions.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith('{"')]
    questions, answers = lines[::2], [json.loads(line) for line in lines[1::2]]
    given.write("\n".join(questions).encode())
    given.close()
    await serve()

    assert len(answers) == 3
    assert _answers(capsys) == answers


async def test_answers_are_ascii_whatever_is_in_them(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    given.write(_line(template="{{ inputs.s }}", kind="value", context={"inputs": {"s": "é😀"}}) + b"\n")
    given.close()
    await serve()

    assert capsys.readouterr().out == '{"value":"\\u00e9\\ud83d\\ude00"}\n'
