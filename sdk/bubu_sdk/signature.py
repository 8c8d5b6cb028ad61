"""The parameters that an engram function, or an impulse function, expects."""

from __future__ import annotations

import inspect
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bubu_sdk import hosting
from bubu_sdk.hosting import Backend

_CONTEXT_NAMES: Final = ("ctx", "context")
_SINGLE_VALUES: Final = frozenset(
    {
        *("str", "int", "float", "bool", "bytes", "date", "datetime", "timedelta", "Path", "Artifact"),
        *("list", "tuple", "set", "frozenset", "Sequence", "Iterable"),
    }
)
"""Names of types that are no objects with fields."""


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

    def read_types(self) -> list[Any]:
        """The types that one object with all inputs is read as; a configuration without a type repeats the inputs."""
        inputs = [self.inputs_type] if self.inputs is not None else []
        return [*inputs, *([self.config_type] if self.config_type is not Any else [])]


@dataclass(frozen=True)
class Family:
    """The contexts of one kind of container."""

    noun: str
    """For messages, with its article: ``an engram``."""
    base: type
    """What both contexts have in common."""
    plain: type
    """The context of a plain function."""
    awaited: type
    """The context of an ``async def``."""
    takes_inputs: bool
    inputs: str = "inputs"
    """For messages: the parameter beside the context."""
    takes_model: bool = False
    """Whether the parameter beside the context is an object with all inputs."""


class HostedFunction(ABC):
    """A function that the SDK calls with a context, and the backend that runs it."""

    @classmethod
    @abstractmethod
    def family(cls) -> Family:
        """The contexts of this kind. They are imported here, because one kind of container needs no other's."""

    def __init__(self, function: Callable[..., Any], backend: Backend | None = None) -> None:
        self.function = function
        self.backend = backend
        self.is_async = hosting.is_async(function)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        hosting.host_for(function, backend)  # so that a wrong backend fails where it is written
        _parameters(function, self.family())

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(*arguments, **keywords)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__name__})"

    def answer_help(self, kind: str) -> None:
        """Print the help of the file and end the process, if that is what its arguments ask for.

        Other arguments are for the program: its container may have them.

        Args:
            kind: what the function is, such as ``The Impulse``.
        """
        if sys.argv[1:] not in (["-h"], ["--help"]):
            return
        sys.stdout.write(
            f"usage: python {Path(sys.argv[0]).name}\n\n{kind} {self.__name__}. A container runs this file "
            "without arguments; bubu_sdk.testing runs the function in a test.\n"
            + (f"\n{self.__doc__.strip()}\n" if self.__doc__ else "")
        )
        sys.exit(0)

    def signature(self) -> Signature:
        """The signature with its annotations resolved.

        Raises:
            TypeError: more than two parameters, or the wrong context for this kind of function.
            NameError: an annotation contains a name that does not exist.
        """
        hints = typing.get_type_hints(self.function, include_extras=True)
        context, inputs = _parameters(self.function, self.family())
        annotation = hints.get(context, Any) if context else Any
        kind = typing.get_origin(annotation) or annotation
        wanted = self.family().awaited if self.is_async else self.family().plain
        if isinstance(kind, type) and issubclass(kind, self.family().base) and kind is not wanted:
            raise TypeError(
                f"{self.__name__}: annotate {context!r} with {wanted.__name__}; "
                f"{kind.__name__} is for {'plain' if self.is_async else 'async'} functions"
            )
        arguments = typing.get_args(annotation)
        return Signature(context, inputs, arguments[0] if arguments else Any, hints.get(inputs, Any) if inputs else Any)


class StepFunction(HostedFunction):
    """A function that does the work of one step."""

    setup: Callable[[], Any] | None = None
    """Called once in a process, before the first step of this process; the steps get its result as ``ctx.setup``."""

    @classmethod
    def family(cls) -> Family:
        from bubu_sdk.context import AsyncContext, Context, Knowledge

        return Family("an engram", Knowledge, Context, AsyncContext, takes_inputs=True, takes_model=True)


def _parameters(function: Callable[..., Any], family: Family) -> tuple[str | None, str | None]:
    """Names of the context and the inputs parameter, by annotation text or name; annotations are not resolved yet."""
    name = getattr(function, "__name__", function)
    context: str | None = None
    inputs: str | None = None
    parameters = inspect.signature(function).parameters.values()
    if family.takes_model:
        _refuse_single_values(name, [each for each in parameters if not _is_context(each, family)], family)
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name}: *args and **kwargs are not passed to {family.noun}")
        if context is None and _is_context(parameter, family):
            context = parameter.name
        elif inputs is None and family.takes_inputs:
            inputs = parameter.name
        elif parameter.default is parameter.empty:
            raise TypeError(f"{name}: {family.noun} takes {_wanted(family)}; {parameter.name!r} is neither")
    return context, inputs


def _refuse_single_values(name: Any, given: list[inspect.Parameter], family: Family) -> None:
    """Raise TypeError for inputs that are separate parameters: the inputs of a step are one object."""
    named = [each for each in given if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if len(named) < 2 and not any(_is_single_value(each.annotation) for each in named):
        return
    fields = "".join(f"        {_as_field(each)}\n" for each in named)
    listed = ", ".join(repr(each.name) for each in named)
    raise TypeError(
        f"{name}: {family.noun} takes a context and one model with all inputs; {listed} "
        f"{'is' if len(named) == 1 else 'are'} neither. Write:\n\n    @dataclass\n    class Inputs:\n{fields}\n"
        f"    @engram\n    def {name}(ctx: {family.plain.__name__}, inputs: Inputs): ..."
    )


def _as_field(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    shown = "Any" if annotation is parameter.empty else text
    return f"{parameter.name}: {shown}" + ("" if parameter.default is parameter.empty else f" = {parameter.default!r}")


def _is_single_value(annotation: Any) -> bool:
    """Whether it is surely not a model; an annotation that is a text may name a class that does not exist yet."""
    if isinstance(annotation, str):
        return annotation.partition("[")[0].partition("|")[0].strip().rpartition(".")[2] in _SINGLE_VALUES
    return getattr(typing.get_origin(annotation) or annotation, "__name__", "") in _SINGLE_VALUES


def _wanted(family: Family) -> str:
    if family.takes_inputs:
        return f"a context and {family.inputs}"
    return f"one parameter, {family.plain.__name__} or {family.awaited.__name__}"


def _is_context(parameter: inspect.Parameter, family: Family) -> bool:
    annotation = parameter.annotation
    if annotation in (parameter.empty, Any, "Any"):
        return parameter.name in _CONTEXT_NAMES
    if isinstance(annotation, str):
        name = annotation.partition("[")[0].rpartition(".")[2]
        return name in (family.plain.__name__, family.awaited.__name__)
    kind = typing.get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, family.base)
