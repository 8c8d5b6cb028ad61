"""The settings of a step beside its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from bubu_sdk import naming
from bubu_sdk.engram_function import EngramFunction, building
from bubu_sdk.errors import Object, class_name
from bubu_sdk.stories.place import refusal
from bubu_sdk.stories.placeholder import Placeholder

ResultT = TypeVar("ResultT")
RetryOn = type[BaseException] | int | str
ANY: Final = "any"
TRANSIENT: Final = "transient"


@dataclass(frozen=True)
class StepSettings:
    """What a step has beside its work."""

    name: str | None = None
    after: tuple[Any, ...] = ()
    allow_failure: bool = False
    execution: Object = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        name: str | None = None,
        after: Any = (),
        retries: int | None = None,
        retry_delay: str | None = None,
        retry_on: RetryOn | Sequence[RetryOn] | None = None,
        timeout: str | None = None,
        allow_failure: bool = False,
        execution: Mapping[str, Any] | None = None,
    ) -> StepSettings:
        """The settings as users give them.

        Raises:
            StoryBuildError: an entry of ``retry_on`` is neither a word nor an exit code nor a class of exceptions.
        """
        given = dict(execution or {})
        own = given.get("retry") or {}
        if retry_on is None and retries and "retryOn" not in own:
            retry_on = ANY
        entries = None if retry_on is None else retry_entries(retry_on)
        retry = {"maxRetries": retries, "delay": retry_delay, "retryOn": entries}
        retry = {key: value for key, value in retry.items() if value is not None}
        if retry:
            given["retry"] = {**own, **retry}
        if timeout is not None:
            given["timeout"] = timeout
        return cls(name, listed(after), allow_failure, given)


def retry_entries(given: RetryOn | Sequence[RetryOn]) -> list[int | str]:
    """The list ``retryOn`` of a manifest. Failures that the function does not cause, such as a lost Pod, are retried in
    any case.
    """
    entries = [_retry_entry(each) for each in (given if isinstance(given, list | tuple) else (given,))]
    if ANY in entries:
        return [ANY]
    return list(dict.fromkeys([TRANSIENT, *entries]))


def _retry_entry(given: object) -> int | str:
    if isinstance(given, type) and issubclass(given, BaseException):
        if given in (Exception, BaseException):
            return ANY
        return class_name(given).removeprefix("__main__.")
    if isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    raise refusal(
        f"retry_on has {given!r}; give classes of exceptions, exit codes, {ANY!r}, {TRANSIENT!r}, or names of errors"
    )


def listed(after: Any) -> tuple[Any, ...]:
    """One placeholder or several."""
    return (after,) if isinstance(after, Placeholder) else tuple(after)


class StepCall(Generic[ResultT]):
    """An engram with settings; a call adds the step."""

    def __init__(self, engram: EngramFunction[ResultT] | EngramReference, settings: StepSettings) -> None:
        self.engram = engram
        self.settings = settings

    def __call__(self, *arguments: Any, **inputs: Any) -> ResultT:
        builder = building.get()
        if builder is None:
            raise refusal(f"{self.engram.name}.options(…) adds a step; call it in a function with @story")
        result: ResultT = builder.call(self.engram, arguments, inputs, self.settings)
        return result

    def __getattr__(self, name: str) -> Any:
        raise refusal(f"the step is not called yet, so it has no output {name!r}; write options(…)(input=…)")


class EngramReference:
    """An Engram that exists in the cluster, or in another manifest; a call adds a step."""

    def __init__(self, name: str) -> None:
        self.name = naming.checked(name)

    def __call__(self, *arguments: Any, **inputs: Any) -> Any:
        return StepCall[Any](self, StepSettings())(*arguments, **inputs)

    def options(
        self,
        *,
        name: str | None = None,
        after: Any = (),
        retries: int | None = None,
        retry_delay: str | None = None,
        retry_on: RetryOn | Sequence[RetryOn] | None = None,
        timeout: str | None = None,
        allow_failure: bool = False,
        execution: Mapping[str, Any] | None = None,
    ) -> StepCall[Any]:
        """See ``Engram.options``."""
        settings = StepSettings.of(
            name=name,
            after=after,
            retries=retries,
            retry_delay=retry_delay,
            retry_on=retry_on,
            timeout=timeout,
            allow_failure=allow_failure,
            execution=execution,
        )
        return StepCall(self, settings)


def existing_engram(name: str) -> EngramReference:
    """An Engram by its name; its inputs are not checked here.

    Raises:
        ValueError: it is no name of an object.
    """
    return EngramReference(name)
