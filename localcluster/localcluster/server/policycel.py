"""CEL of admission policies: the values it sees, variables that are computed when they are used, the authorizer.

The values of a request are bound once for all policies; the engine converts one only when an expression reads it.
``variables.x`` and ``params`` belong to one policy and become calls of functions, which compute a variable when it is
read for the first time. A short variable, such as ``dyn(object.spec)``, takes the place of its name instead, because
the result of a function is copied at each call. Expressions are compiled when they are used for the first time.
Source: kube-apiserver's admission/plugin/cel.
"""

from __future__ import annotations

import contextvars
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cel_expr_python import cel

from localcluster.server import policyauthorizer, policypieces, rules_cel
from localcluster.server.policyauthorizer import Check
from localcluster.server.rules_cel import CelEvaluationError, CelSyntaxError, OutOfBudgetError
from localcluster.server.types import Object

MAX_PIECES: Final = 1000
"""The highest number of pieces that one policy may evaluate for one request."""

_INLINED_CHARACTERS: Final = 100
_VALUES: Final = ("object", "oldObject", "request", "namespaceObject")
_VARIABLE: Final = "variable_"
_PARAMS: Final = "params_"
_TYPED: Final = ("request", "variables", "authorizer")
_REFERENCE: Final = re.compile(r"(?<![\w.])(?:variables\s*\.\s*([A-Za-z_]\w*)|params\b)")
_PLAIN: Final = frozenset({"BOOL", "INT", "UINT", "DOUBLE", "STRING", "TIMESTAMP", "DURATION", "NULL"})

ResultType = Literal["bool", "string", "any"]


@dataclass(frozen=True)
class Expression:
    """An expression of a policy.

    The engine compiles ``text``. ``exact`` has the same value and calls a function for every variable, so that an error
    names the variable in which it is.
    """

    source: str
    text: str
    exact: str

    def mentions(self, *identifiers: str) -> bool:
        return any(rules_cel.mentions(self.source, name) for name in identifiers)


def expression(source: str, variables: Mapping[str, Expression]) -> Expression:
    """Prepare ``source``, which may read ``variables``.

    Raises:
        CelSyntaxError: it reads another variable.
    """
    text, exact, position = "", "", 0
    for found in _REFERENCE.finditer(rules_cel.blanked(source)):
        before = source[position : found.start()]
        short, call = _replacements(found.group(1), variables)
        text, exact, position = f"{text}{before}{short}", f"{exact}{before}{call}", found.end()
    return Expression(source, text + source[position:], exact + source[position:])


def check_type(prepared: Expression, wanted: ResultType) -> None:
    """Compile the expression.

    Raises:
        CelSyntaxError: it does not parse, names something unknown, or cannot have a ``wanted`` result.
    """
    rules_cel.refuse_bindings(prepared.source)
    given = _program(prepared.text).return_type().name().lower()
    if wanted == "any" or given == wanted or (given == "dyn" and prepared.mentions(*_TYPED)):
        return
    raise CelSyntaxError(f"must evaluate to {wanted} but got {given}")


class World:
    """The values of one request, which all policies see alike."""

    def __init__(self, values: Mapping[str, Any], check: Check) -> None:
        """``values``: object, oldObject, request, namespaceObject and authorizer; ``check`` decides for the latter."""
        self.values = values
        self.check = check
        self.activation = _environment(()).Activation(values)


class Scope:
    """The evaluation of one policy, with its variables and one object of its parameters, for one request."""

    def __init__(self, world: World, variables: Mapping[str, Expression], params: Object | None) -> None:
        self.world = world
        self.params = params
        self._variables = variables
        self._known: dict[str, Any] = {}
        self._pieces = 0

    def holds(self, prepared: Expression) -> bool:
        """Whether the value is ``true``.

        Raises:
            CelEvaluationError: there is no value.
        """
        return self._value(prepared) is True

    def text(self, prepared: Expression) -> str | None:
        """The value, if it is a string; None if it is another or there is none."""
        try:
            value = self._value(prepared)
        except CelEvaluationError:
            return None
        return value if isinstance(value, str) else None

    def variable(self, name: str) -> Any:
        """The value of a variable, which is computed once.

        Raises:
            CelEvaluationError: there is no value.
        """
        if name not in self._known:
            try:
                self._known[name] = self._value(self._variables[name])
            except CelEvaluationError as error:
                raise CelEvaluationError(f'composited variable "{name}" fails to evaluate: {error}') from error
        return self._known[name]

    def piece(self, text: str, names: tuple[str, ...], values: list[Any]) -> Any:
        """The value of a piece, for values of the macro variables ``names``.

        Raises:
            CelEvaluationError: there is no value, or too many pieces have been evaluated.
        """
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise CelEvaluationError("call cost exceeds limit")
        return self._evaluate(text, names, dict(zip(names, values, strict=True)))

    def _value(self, prepared: Expression) -> Any:
        try:
            return self._evaluate(prepared.text)
        except CelEvaluationError:
            if prepared.exact == prepared.text:
                raise
        return self._evaluate(prepared.exact)

    def _evaluate(self, text: str, names: tuple[str, ...] = (), outer: Mapping[str, Any] | None = None) -> Any:
        world = self.world
        activation = _environment(names).Activation({**world.values, **outer}) if outer else world.activation
        token = _scope.set(self)
        try:
            try:
                return _plain(rules_cel.run(_program(text, names), activation=activation))
            except OutOfBudgetError:
                return _plain(rules_cel.run(_program(text, names, finely=True), activation=activation))
        except CelSyntaxError as error:
            raise CelEvaluationError(str(error)) from error
        finally:
            _scope.reset(token)


_scope: contextvars.ContextVar[Scope] = contextvars.ContextVar("policy_scope")
"""The running evaluation, for the functions that the engine calls back."""


def _replacements(name: str | None, variables: Mapping[str, Expression]) -> tuple[str, str]:
    """What stands for a variable, or for the parameters if there is no name: in a text, and in an exact one."""
    if name is None:
        return f"{_PARAMS}()", f"{_PARAMS}()"
    if name not in variables:
        raise CelSyntaxError(f"compilation failed: undefined field '{name}'")
    text, call = variables[name].text, f"{_VARIABLE}('{name}')"
    return (f"({text})" if len(text) <= _INLINED_CHARACTERS else call), call


@functools.lru_cache(maxsize=4096)
def _program(text: str, names: tuple[str, ...] = (), *, finely: bool = False) -> Any:
    cut = policypieces.cut_finely(text, names) if finely else policypieces.cut(text, names)
    return rules_cel.compile_in(_environment(names), cut)


@functools.cache
def _environment(names: tuple[str, ...]) -> Any:
    """The environment of whole expressions, and of the pieces that read the macro variables ``names``."""
    anything, text = cel.Type.DYN, cel.Type.STRING
    values = cel.Type.List(anything)
    declared = {
        **dict.fromkeys((*_VALUES, *names), anything),
        "authorizer": cel.Type.Map(anything, anything),
    }
    functions = [
        _function(_VARIABLE, [text], lambda name: _scope.get().variable(name)),
        _function(_PARAMS, [], lambda: _scope.get().params),
        _function(policypieces.FUNCTION, [text, text, values], _piece),
        *policyauthorizer.functions(lambda: _scope.get().world.check),
    ]
    return rules_cel.new_environment(declared, functions)


def _function(name: str, parameters: list[Any], implementation: Any) -> Any:
    return cel.FunctionDecl(name, [cel.Overload(f"{name}overload", cel.Type.DYN, parameters, False, implementation)])


def _piece(text: str, names: str, values: list[Any]) -> Any:
    return _scope.get().piece(text, tuple(names.split(",")) if names else (), values)


def _plain(result: Any) -> Any:
    """The result as a plain Python value. The engine itself converts no value that contains an optional.

    Raises:
        CelEvaluationError: it is an error, or it is or contains a value that JSON and CEL do not share.
    """
    kind = result.type().name()
    if kind in _PLAIN:
        return result.plain_value()
    if kind == "BYTES":
        return bytes(result.plain_value())
    if kind.startswith("LIST"):
        return [_plain(item) for item in result.value()]
    if kind.startswith("MAP"):
        return {key: _plain(value) for key, value in result.value().items()}
    if kind == "ERROR":
        raise CelEvaluationError(_error_text(result))
    raise CelEvaluationError(f"a value of type {kind} cannot be used here")


def _error_text(result: Any) -> str:
    try:
        return rules_cel.message_of(str(result.plain_value()))
    except TypeError:
        return "an optional value cannot be used here"
