"""What a Story's function cannot do: each error names the line and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bubu_sdk import Context, engram
from bubu_sdk.stories import (
    StoryBuildError,
    as_json,
    compensations,
    existing_engram,
    expression,
    finally_,
    for_each,
    gate,
    run_story,
    sleep,
    stop,
    story,
    wait_until,
    when,
)
from bubu_sdk.stories.story import Story, manifests_of


@dataclass
class TextInputs:
    text: str
    top: int = 3


@dataclass
class Counted:
    words: int
    each: list[str]


@engram
def count(ctx: Context, inputs: TextInputs) -> Counted:
    raise AssertionError("the function of a step does not run while its Story is built")


def _refused(body: Callable[[Any], Any]) -> str:
    """The message of the error that ``body`` raises when it gets the output of a step."""

    def refused(inputs: TextInputs) -> Any:
        del inputs
        return body(count(text="a"))

    with pytest.raises(StoryBuildError) as error:
        Story(refused).manifests()
    place, _, message = str(error.value).partition(": ")
    assert f"{Path(__file__).name}:" in place, place
    return message


def _loop(counted: Any) -> None:
    for _ in counted.each:
        raise AssertionError("there are no items yet")


def _unpack(counted: Any) -> None:
    _first, _second = counted


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (lambda counted: 1 if counted.words else 2, "for `if` write `with when(…):`"),
        (lambda counted: 1 if counted.words > 3 else 2, "condition `steps.count.output.words > 3` has no value"),
        (lambda counted: counted.words > 1 and counted.words < 3, "`and`, `or` and `not` between conditions write `&`"),
        (lambda counted: 1 < counted.words < 3, "each comparison in parentheses"),
        (lambda counted: not counted.words, "for `if` write"),
        (_loop, "write `for_each(items, lambda item: …)`"),
        (_unpack, "name the fields of an output"),
        (lambda counted: len(counted.each), "when('size(…) > 0')"),
        (lambda counted: "a" in counted.each, "when('… in …')"),
        (lambda counted: counted.words + 1, "compute in an @engram function"),
        (lambda counted: 1 - counted.words, "compute in an @engram function"),
        (lambda counted: -counted.words, "compute in an @engram function"),
        (lambda counted: int(counted.words), 'expression("{{ add … }}")'),
        (lambda counted: "a" + counted.each[0], "for text write an f-string"),
        (lambda counted: f"{counted.words:03}", "the format '03' cannot be applied"),
        (lambda counted: counted.each[0].upper(), "so the str has no 'upper'"),
        (lambda counted: counted.each(), "cannot be called"),
        (lambda counted: {counted.words}, "cannot be a key or in a set"),
        (lambda counted: counted.wrods, "has no field 'wrods'; did you mean 'words'?"),
        (lambda counted: counted["wrods"], "has no key 'wrods'; did you mean 'words'?"),
        (lambda counted: counted.each[-1], "an index from 0"),
        (lambda counted: counted.each[0:2], "take slices"),
        (lambda counted: counted.words > object(), "cannot be compared with"),
        (lambda counted: (counted.words > 1) & 3, "3 is not a condition"),
        (lambda counted: f"{counted.words > 1}", "is not a value; pass it to when(…)"),
        (lambda counted: {"is": counted.words > 1}, "pass it to when(…)"),
        (lambda counted: when(f"{counted.words} > 3").__enter__(), "mixes a template with other text"),
        (lambda counted: when(expression("{{ true }}")).__enter__(), "write the whole condition as one"),
        (lambda counted: expression("{{ now }}").year, "put the field 'year' into it"),
    ],
)
def test_a_placeholder_has_no_value(body: Callable[[Any], Any], told: str) -> None:
    assert told in _refused(body)


def _two_in_a_loop(counted: Any) -> None:
    def both(item: Any) -> Any:
        count.options(name="one")(text=item)
        return count.options(name="two")(text=item)

    for_each(counted.each, both)


def _nested_loop(counted: Any) -> None:
    for_each(counted.each, lambda item: for_each([1], lambda _: count.options(name="b")(text=item)))


def _read_outside(counted: Any) -> None:
    with when(counted.words > 1):
        only_then = count.options(name="then")(text="b")
    count.options(name="later")(text=f"{only_then.words}")


def _decide_outside(counted: Any) -> None:
    with when(counted.words > 1):
        only_then = count.options(name="then")(text="b")
    with when(only_then.words > 1):
        count.options(name="later")(text="c")


def _another() -> None:
    another()


def _blocks(counted: Any) -> None:
    with finally_(), compensations():
        count.options(name="b")(text=counted.each[0])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            lambda counted: stop("Failed", f"only {counted.words} words"),
            "the message of stop(…) has no value of the run",
        ),
        (lambda counted: stop("Failed", counted.words), "write plain text"),
        (lambda _: count(text="b"), "a step 'count' exists already (line "),
        (lambda _: count("b"), "give its inputs by name"),
        (
            lambda _: count.options(name="b")(txt="b", extra=1),
            "has no input 'txt'; did you mean 'text'?; ",
        ),
        (lambda _: count.options(name="b")(txt="b"), "count needs the input 'text'"),
        (lambda _: count.options(name="Not a name")(text="b"), "'Not a name' cannot be the name of an object"),
        (lambda _: count.options(name="b")(text=object()), "text: object cannot be written as JSON"),
        (lambda _: count.options(name="b")(text=count), "call it, and pass what it returns"),
        (lambda _: count.options(name="b", after=["count"])(text="b"), "after takes what steps return"),
        (lambda _: count.options(name="b").words, "the step is not called yet"),
        (lambda _: for_each("abc", lambda item: count.options(name="b")(text=item)), "for_each takes a list"),
        (lambda counted: for_each(counted.each, lambda _: 1), "calls no step"),
        (lambda counted: for_each(counted.each, lambda item: count.options(name="b")(text=item).words), "must return"),
        (
            lambda counted: for_each(counted.each, lambda item: count.options(name="b", after=counted)(text=item)),
            "give it to the for_each",
        ),
        (_read_outside, "step 'then' has no output if `steps.count.output.words > 1` is false; read it in the same"),
        (_decide_outside, "or as text: as_json(step, otherwise={})"),
        (lambda counted: as_json(counted, otherwise={"a": 1}), "as_json cannot write {'a': 1} into a template"),
        (lambda counted: as_json(counted.each[0], otherwise={}), "as_json takes what a step returns"),
        (_two_in_a_loop, "put several into a Story of their own"),
        (_nested_loop, "a for_each cannot be in a for_each"),
        (_blocks, "cannot be inside another block"),
        (lambda counted: counted.words, "a Story returns a dict or a dataclass"),
        (lambda _: _another(), "another is a Story and is not called"),
    ],
)
def test_a_step_has_its_form(body: Callable[[Any], Any], told: str) -> None:
    assert told in _refused(body)


@story
def another() -> None:
    count(text="a")


def test_values_of_another_story_are_refused() -> None:
    kept: list[Any] = []

    @story
    def keeps() -> None:
        kept.append(count(text="a"))

    keeps.manifests()

    assert "belongs to another Story" in _refused(lambda _: count.options(name="b")(text=kept[0].words))


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: when("true"), "when(…)"),
        (lambda: gate("a"), "gate(…)"),
        (lambda: sleep("1s"), "sleep(…)"),
        (lambda: wait_until("true"), "wait(…)"),
        (lambda: for_each([1], lambda item: item), "for_each(…)"),
        (lambda: run_story("a"), "run_story(…)"),
        (lambda: compensations(), "compensations()"),
        (lambda: count.options(name="a")(text="b"), "count.options(…)"),
        (lambda: existing_engram("mailer")(), "mailer.options(…)"),
    ],
)
def test_steps_belong_into_a_story(call: Callable[[], Any], what: str) -> None:
    with pytest.raises(StoryBuildError) as error:
        call()

    assert f": {what} adds a step; call it in a function with @story" in str(error.value)


def test_a_story_is_a_plain_function_with_one_model() -> None:
    async def awaited() -> None: ...
    def two(inputs: TextInputs, more: int) -> None: ...
    def empty() -> None: ...

    with pytest.raises(TypeError, match="a Story is a plain function; its engrams may be async"):
        story(awaited)
    with pytest.raises(TypeError, match="a Story takes one parameter, a model with all inputs"):
        story(two)
    with pytest.raises(StoryBuildError, match="a Story needs a step"):
        story(empty).manifests()


def test_two_functions_cannot_share_a_name() -> None:
    @engram(name="count")
    def other(ctx: Context) -> None:
        del ctx

    assert "two functions are called 'count'" in _refused(lambda _: other.options(name="b")())
    with pytest.raises(StoryBuildError, match="two Stories are called 'another'"):
        manifests_of([another, Story(another.function)])


def test_the_error_of_the_users_own_code_is_its_own() -> None:
    @story
    def broken() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        broken.manifests()

    # No Story is built any more: a call is a call of the function.
    double = engram(lambda ctx, inputs: inputs * 2)
    assert double(None, 3) == 6
