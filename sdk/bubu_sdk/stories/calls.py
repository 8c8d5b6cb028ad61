"""The settings of a step beside its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bubu_sdk import naming
from bubu_sdk.engram_function import EngramFunction, building
from bubu_sdk.errors import Object
from bubu_sdk.stories.place import refusal
from bubu_sdk.stories.placeholder import Placeholder

ResultT = TypeVar("ResultT")


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
        timeout: str | None = None,
        allow_failure: bool = False,
        execution: Mapping[str, Any] | None = None,
    ) -> StepSettings:
        """The settings as users give them."""
        given = dict(execution or {})
        retry = {"maxRetries": retries, "delay": retry_delay}
        retry = {key: value for key, value in retry.items() if value is not None}
        if retry:
            given["retry"] = {**given.get("retry", {}), **retry}
        if timeout is not None:
            given["timeout"] = timeout
        return cls(name, listed(after), allow_failure, given)


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
