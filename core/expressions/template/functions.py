"""What a template function is: its name, the types of its parameters, and the Python function behind it.

A module of functions fills one ``FunctionTable`` with a decorator; the call rules (``operands``) check argument types
before the function runs, so the function sees only what its signature says. A function reports bad data with
``ValueError`` (or an arithmetic error); its message becomes the author's. Source: templating contract 7.3.
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
    """What an argument must be; there is no implicit conversion."""

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

    ``with_context``: the Python function takes the ``Context`` first. ``deterministic``: the same arguments give the
    same result, at any time and place. ``per_character``: ticks for each character of a text it is given, for functions
    that look at each of them in Python.
    """

    name: str
    call: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    rest: Parameter | None = None
    with_context: bool = False
    deterministic: bool = True
    per_character: int = 0

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
    ) -> Callable[[_F], _F]:
        """Register the decorated function under each of ``names``."""

        def register(call: _F) -> _F:
            for name in names:
                if name in self:
                    raise ValueError(f"the function {name} is registered twice")
                self[name] = Function(name, call, takes, rest, with_context, deterministic, per_character)
            return call

        return register

    def include(self, *tables: Mapping[str, Function]) -> None:
        """Take over all functions of ``tables``."""
        for table in tables:
            doubled = self.keys() & table.keys()
            if doubled:
                raise ValueError(f"registered twice: {', '.join(sorted(doubled))}")
            self.update(table)


class Context:
    """What a function may reach beyond its arguments: the meter, the clock, and chance.

    ``finished``: every step is over, so what is missing stays missing.
    """

    __slots__ = ("_chance", "_now", "deterministic", "finished", "meter", "without_references")

    def __init__(
        self,
        meter: Meter,
        *,
        now: Callable[[], datetime] | None = None,
        deterministic: bool = False,
        finished: bool = True,
        chance: random.Random | None = None,
    ) -> None:
        self.meter = meter
        self.deterministic = deterministic
        self.finished = finished
        self.without_references: dict[int, Any] = {}
        """Values in which no storage reference was found, by ``id``; kept, so that nothing else gets their identity."""
        self._chance = chance
        self._now = now

    @property
    def random(self) -> random.Random:
        """Where chance comes from: the operating system, unless the caller gave a generator."""
        if self._chance is None:
            self._chance = random.SystemRandom()
        return self._chance

    def now(self) -> datetime:
        """The present, aware.

        Raises:
            EvaluationError: the caller gave no clock, or asked for determinism.
        """
        if self._now is None or self.deterministic:
            raise EvaluationError("the current time is not available here", remedy="pass the instant in through inputs")
        return self._now()
