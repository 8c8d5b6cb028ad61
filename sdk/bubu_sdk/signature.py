"""The parameters that an engram function expects."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bubu_sdk import hosting
from bubu_sdk.context import AsyncContext, Context, Knowledge
from bubu_sdk.hosting import Backend

_CONTEXT_NAMES: Final = ("ctx", "context")


@dataclass(frozen=True)
class Signature:
    """The parameters of a function."""

    context: str | None
    """Name of its context parameter."""
    inputs: str | None
    """Name of its inputs parameter."""
    config_type: Any
    inputs_type: Any
    """``Any`` stands for plain dicts."""


class StepFunction:
    """A function that does the work of one step, and the backend that runs it."""

    def __init__(self, function: Callable[..., Any], backend: Backend | None = None) -> None:
        self.function = function
        self.backend = backend
        self.is_async = inspect.iscoroutinefunction(function)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        hosting.host_for(function, backend)  # so that a wrong backend fails where it is written
        _parameters(function)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(*arguments, **keywords)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__name__})"

    def signature(self) -> Signature:
        """The signature with its annotations resolved.

        Raises:
            TypeError: more than two parameters, or the wrong context for this kind of function.
            NameError: an annotation contains a name that does not exist.
        """
        hints = typing.get_type_hints(self.function, include_extras=True)
        context, inputs = _parameters(self.function)
        annotation = hints.get(context, Any) if context else Any
        kind = typing.get_origin(annotation) or annotation
        wanted = AsyncContext if self.is_async else Context
        if isinstance(kind, type) and issubclass(kind, Knowledge) and kind is not wanted:
            raise TypeError(
                f"{self.__name__}: annotate {context!r} with {wanted.__name__}; "
                f"{kind.__name__} is for {'plain' if self.is_async else 'async'} functions"
            )
        arguments = typing.get_args(annotation)
        return Signature(context, inputs, arguments[0] if arguments else Any, hints.get(inputs, Any) if inputs else Any)


def _parameters(function: Callable[..., Any]) -> tuple[str | None, str | None]:
    """Names of the context and the inputs parameter, by annotation text or name; annotations are not resolved yet."""
    context: str | None = None
    inputs: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"{getattr(function, '__name__', function)}: *args and **kwargs are not passed to an engram"
            )
        if context is None and _is_context(parameter):
            context = parameter.name
        elif inputs is None:
            inputs = parameter.name
        elif parameter.default is parameter.empty:
            raise TypeError(
                f"{getattr(function, '__name__', function)}: an engram takes a context and inputs; "
                f"{parameter.name!r} is neither. Gather inputs in one dataclass"
            )
    return context, inputs


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return parameter.name in _CONTEXT_NAMES
    if isinstance(annotation, str):
        name = annotation.partition("[")[0].rpartition(".")[2]
        return name in ("Context", "AsyncContext")
    kind = typing.get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, Knowledge)
