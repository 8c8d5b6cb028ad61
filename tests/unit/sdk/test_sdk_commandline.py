"""An engram's file as a command: ``--manifest`` and ``--inputs``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bubu_sdk import AsyncContext, Context, EngramError, commandline, engram, impulse, stream
from bubu_sdk.engram import Engram
from bubu_sdk.engram_function import CONTAINER_VARIABLE
from cli.linting import check, read_documents, world_of_files
from tests.unit.sdk.sdk_container import Container

Asked = Callable[..., tuple[int, str, str]]


@dataclass
class Inputs:
    text: str
    top: int = 3


@dataclass
class Output:
    words: int


@dataclass
class Config:
    unit: str = "word"


@engram
def count_words(ctx: Context[Config], inputs: Inputs) -> Output:
    """Count the words
    of a text.

    Not part of the description.
    """
    if not inputs.text:
        raise EngramError("the text is empty", code="EMPTY")
    print("counting", ctx.config.unit)
    ctx.logger.info("counted", extra={"top": inputs.top})
    return Output(len(inputs.text.split()))


def dict_of_nothing() -> dict[str, Any]:
    return {}


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Asked:
    def ask(work: Engram[Any], *arguments: str) -> tuple[int, str, str]:
        code = commandline.main(work, ["/app/count.py", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ask


def documents(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


def test_the_manifest_has_the_schemas_of_the_types(ask: Asked) -> None:
    code, out, err = ask(count_words, "--manifest")

    template, use = documents(out)
    assert (code, err) == (0, "")
    assert template["metadata"] == use["metadata"] == {"name": "count-words"}
    assert template["spec"] == {
        "version": "1.0.0",
        "supportedModes": ["job", "worker"],
        "image": "count-words:1.0.0",
        "description": "Count the words of a text.",
        "inputSchema": {
            "type": "object",
            "required": ["text"],
            "properties": {
                "text": {"type": "string"},
                "top": {"type": "integer", "default": 3},
                "unit": {"type": "string", "default": "word"},
            },
            "additionalProperties": False,
        },
        "outputSchema": {"type": "object", "required": ["words"], "properties": {"words": {"type": "integer"}}},
    }
    assert use["spec"] == {"templateRef": {"name": "count-words"}}


def test_the_manifest_has_no_finding(ask: Asked) -> None:
    @engram(name="charge", image="registry.example.com/charge:2", version="2", secrets={"shop": ["token"]})
    async def main(ctx: AsyncContext) -> dict[str, Any]:
        return {"token": ctx.secrets["token"]}

    code, out, _ = ask(main, "--manifest", "--image", "registry.example.com/charge:3")

    found, unreadable = read_documents([("out", out)])
    assert (code, unreadable, list(check(found, world_of_files(found)))) == (0, [], [])
    template, use = documents(out)
    assert template["spec"] == {
        "version": "2",
        "supportedModes": ["job", "worker"],
        "image": "registry.example.com/charge:3",
        "description": "An engram's file as a command: ``--manifest`` and ``--inputs``.",
        "secretSchema": {"shop": {"required": True, "expectedKeys": ["token"]}},
    }
    assert use["spec"]["secrets"] == {"shop": "shop"}


def test_main_is_named_after_its_file() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("def main(): ...", "/app/word_count.py", "exec"), namespace)

    assert engram(namespace["main"]).name == "word-count"


def test_a_name_that_no_object_can_have_is_refused(ask: Asked) -> None:
    code, out, err = ask(Engram(lambda: None, name="Word Count"), "--manifest")

    assert (code, out) == (2, "")
    assert "'Word Count' cannot be the name of an object" in err


def test_the_function_runs_here(ask: Asked) -> None:
    code, out, err = ask(count_words, "--inputs", '{"text": "to be", "top": "2", "unit": "w"}')

    assert (code, json.loads(out)) == (0, {"words": 2})
    assert err == "counting w\nINFO counted top=2\n"


def test_inputs_come_from_a_file(ask: Asked, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text('{"text": "to be or"}')

    assert ask(count_words, "--inputs", f"@{tmp_path}/inputs.json")[:2] == (0, '{\n  "words": 3\n}\n')


def test_an_async_function_runs_here_with_its_secrets(ask: Asked, tmp_path: Path) -> None:
    @engram
    async def main(ctx: AsyncContext) -> dict[str, Any]:
        await ctx.emit_signal("seen", True)
        return {"token": ctx.secrets["token"]}

    (tmp_path / "secrets.json").write_text('{"token": "t-1"}')
    code, out, _ = ask(main, "--inputs", "{}", "--secrets", f"@{tmp_path}/secrets.json")

    assert (code, json.loads(out)) == (0, {"token": "t-1"})


def test_a_failure_has_its_code_and_no_output(ask: Asked) -> None:
    code, out, err = ask(count_words, "--inputs", '{"text": ""}')

    assert (code, out) == (1, "")
    assert "the text is empty" in err


def test_all_errors_of_the_inputs_are_told_at_once(ask: Asked) -> None:
    code, out, err = ask(count_words, "--inputs", '{"txt": "a", "top": "many", "unit": []}')

    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "inputs.txt: is not a known field; did you mean 'text'?",
        "inputs.text: is required",
        "inputs.top: expected an integer, got 'many'",
        "inputs.unit: expected a string, got a list",
    ]


def test_a_function_without_parameters_takes_no_inputs(ask: Asked) -> None:
    code, _, err = ask(Engram(dict_of_nothing, name="nothing"), "--inputs", '{"a": 1}')

    assert (code, "inputs.a:" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--inputs", "{"), "--inputs: not JSON"),
        (("--inputs", "[1]"), "--inputs: must be an object"),
        (("--inputs", "@/nowhere.json"), "--inputs: cannot read /nowhere.json"),
        (("--inputs", '{"text": "a"}', "--secrets", '{"token": 1}'), "secrets.token: must be a string"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(ask: Asked, arguments: tuple[str, ...], told: str) -> None:
    code, out, err = ask(count_words, *arguments)

    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize("arguments", [("--manifst",), ("--manifest", "--inputs", "{}"), ("--image", "a")])
def test_bad_options_get_the_usage(ask: Asked, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        ask(count_words, *arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: count.py")


def test_separate_parameters_are_refused_with_the_right_form() -> None:
    with pytest.raises(TypeError) as refused:

        @engram
        def wordcount(ctx: Context, text: str, top: int = 3) -> None:
            del ctx, text, top

    assert str(refused.value).endswith(
        "'text', 'top' are neither. Write:\n\n"
        "    @dataclass\n    class Inputs:\n        text: str\n        top: int = 3\n\n"
        "    @engram\n    def wordcount(ctx: Context, inputs: Inputs): ..."
    )


def test_a_single_value_is_no_model_and_a_class_to_come_may_be_one() -> None:
    def listed(inputs: list[str]) -> None:
        del inputs

    def to_come(inputs: Unknown) -> None:  # type: ignore[name-defined]  # noqa: F821
        del inputs

    with pytest.raises(TypeError, match="'inputs' is neither"):
        engram(listed)
    assert engram(to_come).__name__ == "to_come"


def test_in_a_container_arguments_change_nothing(container: Container) -> None:
    code, stdout, _ = container.run(
        """
        import sys
        from bubu_sdk import engram

        sys.argv.append("--manifest")

        @engram
        def main():
            return {"ok": True}

        main.run()
        """
    )

    assert code == 0
    assert "EngramTemplate" not in stdout
    assert CONTAINER_VARIABLE == "BUBU_STEPRUN_NAME"


def test_a_call_outside_a_story_is_a_call_of_the_function() -> None:
    context: Any = None
    double = engram(lambda ctx, inputs: inputs * 2)

    assert double(context, 3) == 6


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_file_of_a_stream_or_an_impulse_has_a_help(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @stream
    def numbers() -> Iterator[int]:
        """Sends numbers."""
        yield 1

    @impulse
    def hourly() -> None:
        pass

    monkeypatch.setattr("sys.argv", ["/app/numbers.py", option])
    for run in (numbers.run, hourly.run):
        with pytest.raises(SystemExit) as ended:
            run()
        assert ended.value.code == 0

    of_stream, of_impulse = capsys.readouterr().out.split("usage: ")[1:]
    assert of_stream.startswith("python numbers.py\n\nThe streaming Engram numbers. A container runs this file without")
    assert of_stream.endswith("\n\nSends numbers.\n")
    assert "The Impulse hourly." in of_impulse
