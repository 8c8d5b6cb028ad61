"""The manifest that a Story's function builds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from bubu_sdk import Context, engram, yamltext
from bubu_sdk.errors import Object
from bubu_sdk.stories import (
    Story,
    StoryBuildError,
    as_json,
    compensations,
    existing_engram,
    expression,
    finally_,
    for_each,
    gate,
    not_,
    run_story,
    sleep,
    stop,
    story,
    wait_until,
    when,
)
from bubu_sdk.stories.story import manifests_of
from cli.linting import check, read_documents, world_of_files
from core.story.kinds import SETTINGS


@dataclass
class Inputs:
    text: Annotated[str, "What to count."]
    limit: float = 3


@dataclass
class TextInputs:
    text: str
    kind: str = field(default="plain", metadata={"key": "textKind"})


@dataclass
class Word:
    word: str
    length: int


@dataclass
class Counted:
    words: int
    each: list[Word]
    is_long: bool = False


class Shouted(TypedDict):
    text: str


@engram
def count_words(ctx: Context, inputs: TextInputs) -> Counted:
    raise AssertionError("the function of a step does not run while its Story is built")


@engram(image="shout:2", name="shout")
async def shout_it(ctx: Any, inputs: TextInputs) -> Shouted:
    raise AssertionError("the function of a step does not run while its Story is built")


def spec_of(built: Story[Any]) -> Object:
    """The Story's spec; the manifests have been written as YAML, and lint has no finding about them."""
    text = yamltext.documents(built.manifests())
    found, unreadable = read_documents([("story", text)])
    assert unreadable == []
    assert [each.finding for each in check(found, world_of_files(found))] == []
    spec: Object = json.loads(json.dumps(built.manifests()[-1]["spec"]))
    return spec


def test_an_f_string_around_one_value_alone_is_a_template_that_keeps_its_type() -> None:
    @story
    def bare(inputs: Inputs) -> dict[str, Any]:
        counted = count_words(text=inputs.text)
        return {"bare": f"{counted.words}", "text": f"{counted.words} words"}

    template = '{{ steps["count-words"].output.words }}'
    assert spec_of(bare)["output"] == {"bare": template, "text": f"{template} words"}


def test_calls_are_steps_and_outputs_are_edges() -> None:
    @story
    def two_steps(inputs: Inputs) -> dict[str, Any]:
        counted = count_words(text=inputs.text)
        shouted = shout_it(text=f"{inputs.text}: {counted.words}", kind=counted.each[0].word)
        return {"words": counted.words, "nested": [shouted["text"], {"all": shouted}]}

    assert two_steps.name == "two-steps"
    assert spec_of(two_steps) == {
        "inputsSchema": {
            "type": "object",
            "required": ["text"],
            "properties": {
                "text": {"type": "string", "description": "What to count."},
                "limit": {"type": "number", "default": 3},
            },
            "additionalProperties": False,
        },
        "steps": [
            {"name": "count-words", "ref": {"name": "count-words"}, "with": {"text": "{{ inputs.text }}"}},
            {
                "name": "shout",
                "ref": {"name": "shout"},
                "with": {
                    "text": '{{ inputs.text }}: {{ steps["count-words"].output.words }}',
                    "textKind": '{{ steps["count-words"].output.each[0].word }}',
                },
            },
        ],
        "output": {
            "words": '{{ steps["count-words"].output.words }}',
            "nested": ["{{ steps.shout.output.text }}", {"all": "{{ steps.shout.output }}"}],
        },
    }


def test_each_engram_is_described_once_and_before_the_story() -> None:
    @story(image="registry.example.com/letters:1")
    def twice() -> None:
        count_words(text="a")
        count_words.options(name="again")(text="b")
        shout_it(text="c")
        existing_engram("mailer")(to="d")

    kinds = [(one["kind"], one["metadata"]["name"]) for one in twice.manifests()]

    assert kinds == [
        ("EngramTemplate", "count-words"),
        ("EngramTemplate", "shout"),
        ("Engram", "count-words"),
        ("Engram", "shout"),
        ("Story", "twice"),
    ]
    assert [one["spec"]["image"] for one in twice.manifests()[:2]] == ["registry.example.com/letters:1", "shout:2"]
    assert spec_of(twice)["steps"][3] == {"name": "mailer", "ref": {"name": "mailer"}, "with": {"to": "d"}}


def test_settings_are_arguments_of_options() -> None:
    @story(timeout="5m", step_timeout="1m", policy={"concurrency": 2, "timeouts": {"cleanup": "2m"}})
    def settings() -> None:
        first = count_words(text="a")
        count_words.options(
            name="second",
            after=first,
            retries=3,
            retry_delay="2s",
            timeout="30s",
            allow_failure=True,
            execution={"retry": {"backoff": "linear"}, "resources": {"memoryLimit": "1Gi"}},
        )(text="b")

    spec = spec_of(settings)

    assert spec["policy"] == {"concurrency": 2, "timeouts": {"cleanup": "2m", "story": "5m", "step": "1m"}}
    assert spec["steps"][1] == {
        "name": "second",
        "needs": ["count-words"],
        "allowFailure": True,
        "ref": {"name": "count-words"},
        "with": {"text": "b"},
        "execution": {
            "retry": {"backoff": "linear", "maxRetries": 3, "delay": "2s", "retryOn": ["any"]},
            "resources": {"memoryLimit": "1Gi"},
            "timeout": "30s",
        },
    }


class FlakyError(Exception):
    pass


@pytest.mark.parametrize(
    ("options", "retry"),
    [
        ({"retries": 3}, {"maxRetries": 3, "retryOn": ["any"]}),
        ({"retries": 0}, {"maxRetries": 0}),
        ({"retry_delay": "2s"}, {"delay": "2s"}),
        ({"retries": 3, "retry_on": "any"}, {"maxRetries": 3, "retryOn": ["any"]}),
        ({"retries": 3, "retry_on": Exception}, {"maxRetries": 3, "retryOn": ["any"]}),
        ({"retries": 3, "retry_on": "transient"}, {"maxRetries": 3, "retryOn": ["transient"]}),
        (
            {"retries": 3, "retry_on": [ConnectionError, FlakyError, 75, "QUOTA", 75]},
            {
                "maxRetries": 3,
                "retryOn": ["transient", "ConnectionError", f"{__name__}.FlakyError", 75, "QUOTA"],
            },
        ),
        ({"retry_on": ValueError}, {"retryOn": ["transient", "ValueError"]}),
        ({"retries": 3, "execution": {"retry": {"retryOn": [1]}}}, {"maxRetries": 3, "retryOn": [1]}),
    ],
)
def test_retries_are_for_any_failure_unless_it_is_said_which(options: Any, retry: Any) -> None:
    @story
    def retrying() -> None:
        count_words.options(**options)(text="a")

    assert spec_of(retrying)["steps"][0]["execution"]["retry"] == retry


def test_what_cannot_be_retried_on_is_refused() -> None:
    @story
    def retrying() -> None:
        count_words.options(retries=3, retry_on=[int])(text="a")  # type: ignore[list-item]  # what users may write

    with pytest.raises(StoryBuildError, match="retry_on has <class 'int'>; give classes of exceptions"):
        retrying.manifests()


def test_conditions_are_comparisons() -> None:
    @story
    def conditions(inputs: Inputs) -> None:
        counted = count_words(text=inputs.text)
        with when((counted.words > inputs.limit) & (not_(counted.is_long) | (counted.each[0].word == "a"))):
            shout_it.options(name="one")(text="a")
            with when('inputs.text != ""'):
                shout_it.options(name="two")(text="b")
        with when(counted.is_long):
            shout_it.options(name="three")(text="c")
        with when("{{ gt (len inputs.text) 3 }}"):
            shout_it.options(name="four")(text="d")
        shout_it.options(name="five")(text="e")

    words, output = 'steps["count-words"].output.words', 'steps["count-words"].output'
    long = f'{words} > inputs.limit && (!{output}.is_long || {output}.each[0].word == "a")'
    assert [step.get("if") for step in spec_of(conditions)["steps"]] == [
        None,
        long,
        f'{long} && (inputs.text != "")',
        f"{output}.is_long",
        "{{ gt (len inputs.text) 3 }}",
        None,
    ]


def test_a_step_for_each_item() -> None:
    @story
    def items(inputs: Inputs) -> dict[str, Any]:
        counted = count_words(text=inputs.text)
        shouted = for_each(counted.each, lambda each: shout_it(text=f"{each.word} {each.length}"), max_concurrency=2)
        fixed = for_each(["a", "b"], lambda letter: count_words(text=letter), name="fixed", after=shouted)
        return {"first": shouted[0]["text"], "all": fixed}

    steps, output = spec_of(items)["steps"], spec_of(items)["output"]

    assert steps[1] == {
        "name": "shout",
        "parallel": {
            "forEach": '{{ steps["count-words"].output.each }}',
            "maxConcurrency": 2,
            "steps": [
                {
                    "name": "shout-item",
                    "ref": {"name": "shout"},
                    "with": {"text": "{{ item.word }} {{ item.length }}"},
                }
            ],
        },
    }
    assert steps[2]["needs"] == ["shout"]
    assert steps[2]["parallel"]["forEach"] == ["a", "b"]
    assert output == {"first": "{{ steps.shout.output.items[0].text }}", "all": "{{ steps.fixed.output.items }}"}


def test_the_output_of_a_step_with_a_condition_is_read_under_it_or_as_text() -> None:
    @story
    def conditional(inputs: Inputs) -> dict[str, Any]:
        with when(inputs.limit > 1):
            counted = count_words(text=inputs.text)
            with when(counted.words > 1):
                shout_it(text=f"{counted.words}")
            for_each(counted.each, lambda each: shout_it.options(name="all")(text=f"{each.word} {counted.words}"))
        shout_it.options(name="later", after=counted)(text=as_json(counted.words, otherwise=0))
        return {"counted": as_json(counted, otherwise={})}

    spec = spec_of(conditional)
    assert spec["steps"][-1] == {
        "name": "later",
        "needs": ["count-words"],
        "ref": {"name": "shout"},
        "with": {"text": '{{ dig "count-words" "output" "words" 0 steps | toJson }}'},
    }
    assert spec["output"] == {"counted": '{{ dig "count-words" "output" (dict) steps | toJson }}'}


def test_a_condition_around_a_loop_is_that_of_the_loop() -> None:
    @story
    def loop(inputs: Inputs) -> None:
        with when(inputs.limit > 1):
            for_each(["a"], lambda letter: _if_b(letter))

    def _if_b(letter: str) -> Any:
        with when(letter != "b"):
            return shout_it(text=letter)

    (step,) = spec_of(loop)["steps"]
    assert (step["if"], step["parallel"]["steps"][0]["if"]) == ("inputs.limit > 1", 'item != "b"')


def test_the_steps_of_the_operator() -> None:
    @story
    def primitives(inputs: Inputs) -> dict[str, Any]:
        approval = gate("approve", timeout="24h", on_timeout="skip")
        pause = sleep("10m", after=approval)
        counted = count_words.options(after=[pause])(text=expression("{{ upper inputs.text }}"))
        wait_until(counted.words > 3, timeout="1h", poll_interval="5s", on_timeout="fail")
        with when(counted.words == 0):
            stop("Failed", "there are no words")
        other = run_story("archive", {"text": inputs.text}, name="archived")
        return {"ticket": approval["ticket"], "place": other["place"]}

    assert spec_of(primitives)["steps"] == [
        {"name": "approve", "gate": {"timeout": "24h", "onTimeout": "skip"}},
        {"name": "sleep", "needs": ["approve"], "sleep": {"duration": "10m"}},
        {
            "name": "count-words",
            "needs": ["sleep"],
            "ref": {"name": "count-words"},
            "with": {"text": "{{ upper inputs.text }}"},
        },
        {
            "name": "wait",
            "needs": ["count-words"],
            "wait": {
                "until": 'steps["count-words"].output.words > 3',
                "timeout": "1h",
                "pollInterval": "5s",
                "onTimeout": "fail",
            },
        },
        {
            "name": "stop",
            "if": 'steps["count-words"].output.words == 0',
            "stop": {"phase": "Failed", "message": "there are no words"},
        },
        {
            "name": "archived",
            "executeStory": {"storyRef": {"name": "archive"}, "with": {"text": "{{ inputs.text }}"}},
        },
    ]


def test_clean_up_is_in_blocks() -> None:
    @story
    def cleanup() -> None:
        counted = count_words(text="a")
        with compensations():
            shout_it.options(name="undo")(text=f"{counted.words}")
        with finally_():
            shout_it.options(name="report")(text="b")
        shout_it(text="c")

    spec = spec_of(cleanup)
    names = {section: [step["name"] for step in spec[section]] for section in ("steps", "compensations", "finally")}
    assert names == {"steps": ["count-words", "shout"], "compensations": ["undo"], "finally": ["report"]}


def test_a_story_may_run_another_one_and_return_a_dataclass() -> None:
    @dataclass
    class Result:
        words: int

    @story
    def inner(inputs: TextInputs) -> Result:
        return Result(count_words(text=inputs.text).words)

    inner.function.__annotations__["return"] = Result

    @story
    def outer(inputs: Inputs) -> dict[str, Any]:
        return {"words": run_story(inner, {"text": inputs.text}, wait=True).words}

    built = [document["metadata"]["name"] for document, _ in manifests_of([outer])]
    assert built == ["count-words", "count-words", "outer", "inner"]
    assert outer.built.document["spec"]["output"] == {"words": "{{ steps.inner.output.words }}"}
    assert inner.built.document["spec"]["output"] == {"words": '{{ steps["count-words"].output.words }}'}
    assert inner.built.document["spec"]["outputsSchema"]["required"] == ["words"]


def test_the_places_are_lines_of_the_file() -> None:
    @story
    def placed() -> None:
        count_words(text="a")
        with finally_():
            shout_it(text="b")

    lines = Path(__file__).read_text().splitlines()
    shown = {path: lines[place.line - 1].strip() for path, place in placed.built.places.items()}
    assert shown == {
        "": "@story",
        "spec.steps[0]": 'count_words(text="a")',
        "spec.finally[0]": 'shout_it(text="b")',
    }


def test_a_function_is_built_each_time_with_the_same_result() -> None:
    def described() -> list[Object]:
        @story
        def same(inputs: Inputs) -> None:
            count_words(text=inputs.text)

        return same.manifests()

    assert described() == described()


@pytest.mark.parametrize("name", ["in", "loop", "a-b"])
def test_a_field_with_a_word_of_cel_gets_brackets(name: str) -> None:
    @story
    def words() -> None:
        found = shout_it(text="a")
        other: Any = existing_engram("other")(a=found)
        with when(other[name] == 1):
            existing_engram("third")()

    assert spec_of(words)["steps"][2]["if"] == f'steps.other.output["{name}"] == 1'


def test_each_kind_of_step_has_a_word_but_the_condition_which_a_block_has() -> None:
    @story
    def everything(inputs: Inputs) -> None:
        for_each(["a"], lambda text: count_words(text=text))
        sleep("1s")
        gate("approve")
        wait_until(inputs.limit > 1)
        run_story("child")
        stop()

    kinds = {kind for step in spec_of(everything)["steps"] for kind in step.keys() & set(SETTINGS)}
    assert kinds == set(SETTINGS) - {"condition"}
