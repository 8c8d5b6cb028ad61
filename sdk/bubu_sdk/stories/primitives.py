"""The steps that the operator does itself, and the blocks of a Story."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from bubu_sdk.errors import Object
from bubu_sdk.stories.building import StoryBuilder
from bubu_sdk.stories.calls import StepSettings, listed
from bubu_sdk.stories.place import refusal
from bubu_sdk.stories.placeholder import Placeholder, cel_text, condition_of, read_by, root_of

if TYPE_CHECKING:
    from bubu_sdk.stories.story import Story

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
OnTimeout = Literal["fail", "skip"]


def when(condition: Any) -> AbstractContextManager[None]:
    """``with when(months.highest > inputs.hot):`` The steps of the block run only if the condition is true.

    Args:
        condition: a comparison, a placeholder that is a boolean, or an expression as text, in CEL or as a template.
    """
    return StoryBuilder.current("when(…)").only_if(condition)


def compensations() -> AbstractContextManager[None]:
    """``with compensations():`` The steps of the block run when a main step has failed."""
    return StoryBuilder.current("compensations()").section("compensations")


def finally_() -> AbstractContextManager[None]:
    """``with finally_():`` The steps of the block run at the end of every run."""
    return StoryBuilder.current("finally_()").section("finally")


def for_each(
    items: Iterable[ItemT],
    body: Callable[[ItemT], ResultT],
    *,
    name: str | None = None,
    max_concurrency: int | None = None,
    after: Any = (),
) -> list[ResultT]:
    """A step for each item: ``for_each(found.files, lambda file: convert(path=file.path))``.

    Args:
        items: a list, or a list that a step returns.
        body: called once, with a placeholder for the item; calls one step and returns its output.
        name: of the whole; default: that of the step.
        max_concurrency: items at the same time; default: all.
        after: outputs of steps that end before this one starts.
    Returns:
        The outputs, in the order of the items.
    """
    added = StoryBuilder.current("for_each(…)").for_each(
        items, body, name=name, max_concurrency=max_concurrency, settings=StepSettings(after=listed(after))
    )
    return cast("list[ResultT]", added)


def gate(
    name: str,
    *,
    timeout: str | None = None,
    on_timeout: OnTimeout | None = None,
    after: Any = (),
) -> Any:
    """A user decides before the run goes on; the output is the data that the user gives."""
    return _primitive("gate", name, {"timeout": timeout, "onTimeout": on_timeout}, after)


def sleep(duration: str, *, name: str = "sleep", after: Any = ()) -> Any:
    """A pause, a Go duration such as ``10m``."""
    return _primitive("sleep", name, {"duration": duration}, after)


def wait_until(
    condition: Any,
    *,
    name: str = "wait",
    timeout: str | None = None,
    poll_interval: str | None = None,
    on_timeout: OnTimeout | None = None,
    after: Any = (),
) -> Any:
    """Until the condition is true; it has the forms of ``when``. The step starts when the steps have ended that the
    condition reads; those of a text are given with ``after``.
    """
    decided = condition_of(condition)
    read = [value for value in read_by(decided) if root_of(value)[0] == "steps"]
    settings = {"timeout": timeout, "pollInterval": poll_interval, "onTimeout": on_timeout}
    return _primitive("wait", name, {"until": cel_text(decided), **settings}, (*listed(after), *read))


def stop(
    phase: Literal["Succeeded", "Failed", "Compensated", "Canceled"] = "Succeeded",
    message: str | None = None,
    *,
    name: str = "stop",
    after: Any = (),
) -> None:
    """The run ends here, in this phase. The message is shown as it is: it cannot have values of the run."""
    shown: object = message
    if isinstance(shown, Placeholder) or (isinstance(shown, str) and "{{" in shown):
        raise refusal("the message of stop(…) has no value of the run; write plain text, and return the value")
    _primitive("stop", name, {"phase": phase, "message": message}, after)


@overload
def run_story(
    story: Story[ResultT],
    inputs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    wait: bool = True,
    after: Any = (),
) -> ResultT: ...
@overload
def run_story(
    story: str,
    inputs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    wait: bool = True,
    after: Any = (),
) -> Any: ...
def run_story(
    story: Story[Any] | str,
    inputs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    wait: bool = True,
    after: Any = (),
) -> Any:
    """A run of another Story of the namespace, by its name or as a function with ``@story``; returns its output."""
    builder = StoryBuilder.current("run_story(…)")
    called = story if isinstance(story, str) else story.name
    hint: Any = Any
    if not isinstance(story, str):
        builder.stories[called] = story
        hint = story.output_type()
    call: Object = {
        "storyRef": {"name": called},
        **({"with": builder.plain(inputs, "inputs")} if inputs else {}),
        **({} if wait else {"waitForCompletion": False}),
    }
    settings = StepSettings(after=listed(after))
    return builder.add(name or called, {"executeStory": call}, settings, hint)


def _primitive(kind: str, name: str, fields: Mapping[str, Any], after: Any) -> Placeholder:
    builder = StoryBuilder.current(f"{kind}(…)")
    given = {key: builder.plain(value, key) for key, value in fields.items() if value is not None}
    return builder.add(name, {kind: given}, StepSettings(after=listed(after)), Any)
