"""A template function: its name, the types of its parameters, and the Python function that implements it.

A module of functions fills one ``FunctionTable`` with a decorator. The call rules (``operands``) check argument types
before the function runs, so the function gets only arguments that fit its signature. A function reports bad data with
``ValueError`` (or an arithmetic error); the author sees its message. Source: templating contract 7.3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, TypeVar

from core.expressions.errors import EvaluationError
from core.expressions.limits import Meter

_F = TypeVar("_F", bound=Callable[..., Any])


class Parameter(Enum):
    """The required type of an argument; there is no implicit conversion."""

    ANY = auto()
    STRING = auto()
    INT = auto()
    FLOAT = auto()
    BOOL = auto()
    MAP = auto()
    TIME = auto()
    DURATION = auto()
    VERSION = auto()


ANY, STRING, INT, FLOAT, BOOL, MAP, TIME, DURATION, VERSION = Parameter


@dataclass(frozen=True, slots=True)
class Function:
    """One function; ``rest`` is the type of further arguments, ``None`` when there are none.

    ``with_context``: the Python function takes the ``Context`` first. ``deterministic``: the same arguments always have
    the same result, at any time and place. ``per_character``: ticks for each character of a string argument, for
    functions that process characters one by one in Python. ``takes_missing``: its arguments may be missing keys,
    because it answers whether there is a value, or gives another one.
    """

    name: str
    call: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    rest: Parameter | None = None
    with_context: bool = False
    deterministic: bool = True
    per_character: int = 0
    takes_missing: bool = False

    def accepts(self, count: int) -> bool:
        return count >= len(self.parameters) if self.rest else count == len(self.parameters)

    def parameter(self, index: int) -> Parameter:
        return self.parameters[index] if index < len(self.parameters) else self.rest or Parameter.ANY


class FunctionTable(dict[str, Function]):
    """Functions by name."""

    def add(
        self,
        *names: str,
        takes: tuple[Parameter, ...] = (),
        rest: Parameter | None = None,
        with_context: bool = False,
        deterministic: bool = True,
        per_character: int = 0,
        takes_missing: bool = False,
    ) -> Callable[[_F], _F]:
        """Register the decorated function under each of ``names``."""

        def register(call: _F) -> _F:
            for name in names:
                if name in self:
                    raise ValueError(f"the function {name} is registered twice")
                self[name] = Function(
                    name, call, takes, rest, with_context, deterministic, per_character, takes_missing
                )
            return call

        return register

    def include(self, *tables: Mapping[str, Function]) -> None:
        """Add all functions of ``tables``."""
        for table in tables:
            doubled = self.keys() & table.keys()
            if doubled:
                raise ValueError(f"registered twice: {', '.join(sorted(doubled))}")
            self.update(table)


class Context:
    """What a function may use beyond its arguments: the meter, the clock, and random numbers.

    ``finished``: every step has ended, so missing data will never arrive. ``missing_as_text``: a missing key renders
    ``<no value>``, as in the reference implementation, instead of being an error.
    """

    __slots__ = ("_chance", "_now", "deterministic", "finished", "meter", "missing_as_text", "without_references")

    def __init__(
        self,
        meter: Meter,
        *,
        now: Callable[[], datetime] | None = None,
        deterministic: bool = False,
        finished: bool = True,
        missing_as_text: bool = False,
        chance: random.Random | None = None,
    ) -> None:
        self.meter = meter
        self.missing_as_text = missing_as_text
        self.deterministic = deterministic
        self.finished = finished
        self.without_references: dict[int, Any] = {}
        """Values without a storage reference, by ``id``; kept alive, so that no other object gets the same ``id``."""
        self._chance = chance
        self._now = now

    @property
    def random(self) -> random.Random:
        """The source of random numbers: the operating system, unless the caller passed a generator."""
        if self._chance is None:
            self._chance = random.SystemRandom()
        return self._chance

    def now(self) -> datetime:
        """The current time, aware.

        Raises:
            EvaluationError: the caller passed no clock, or requires determinism.
        """
        if self._now is None or self.deterministic:
            raise EvaluationError("the current time is not available here", remedy="pass the instant in through inputs")
        return self._now()
