"""Placeholders: what a step's result is while its Story is built, when no step has run yet.

A placeholder knows its path, such as ``steps.fetch.output.items``, and the type that the user declared for it. It can
be passed to other steps, put into an f-string, and compared; everything else that needs a value is refused with the
form that the Story has for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from bubu_sdk import typeschema
from bubu_sdk.stories.place import refusal

Segments = tuple[str | int, ...]
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        *("namespace", "null", "package", "return", "true", "var", "void", "while"),
    }
)
"""Words that CEL takes for its own, so that a field of this name needs brackets."""

_ARITHMETIC: Final = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "xor", "matmul"),
)
_NO_VALUE: Final = "has no value while the Story is built"
_FOR_IF: Final = (
    "for `if` write `with when(…):`; for `and`, `or` and `not` between conditions write `&`, `|` and `not_(…)`, each "
    "comparison in parentheses"
)


class Owner(Protocol):
    """The Story of a placeholder."""

    def check_read(self, path: Segments) -> None:
        """Raise ``StoryBuildError`` if the value may be missing where it is read."""


class Placeholder:
    """A value that a run will have: an input of the Story, or a part of a step's output."""

    __slots__ = ("_hint", "_owner", "_path")

    def __init__(self, path: Segments, hint: Any, owner: Owner | None) -> None:
        self._path = path
        self._hint = hint
        self._owner = owner

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("_"):
            raise AttributeError(name)
        fields = typeschema.fields_of(self._hint)
        if fields is not None:
            if name not in fields:
                raise refusal(f"{text_of(self)} has no field {name!r}{typeschema.nearest(name, list(fields))}")
            field = fields[name]
            return Placeholder((*self._path, field.key), field.hint, self._owner)
        if typeschema.bare(self._hint) in (str, int, float, bool):
            kind = typeschema.bare(self._hint).__name__
            raise refusal(
                f"{text_of(self)} {_NO_VALUE}, so the {kind} has no {name!r}; do this in an @engram function, or with "
                'a template: expression("{{ … }}")'
            )
        return Placeholder((*self._path, name), typeschema.item_of(self._hint), self._owner)

    def __getitem__(self, key: str | int) -> Placeholder:
        if isinstance(key, bool) or not isinstance(key, (str, int)) or (isinstance(key, int) and key < 0):
            raise refusal(
                f"{text_of(self)}[{key!r}]: only a key or an index from 0 can be taken of it; take slices and other "
                "parts in an @engram function"
            )
        fields = typeschema.fields_of(self._hint)
        if isinstance(key, str) and fields is not None:
            by_key = {field.key: field for field in fields.values()}
            if key not in by_key:
                raise refusal(f"{text_of(self)} has no key {key!r}{typeschema.nearest(key, list(by_key))}")
            return Placeholder((*self._path, key), by_key[key].hint, self._owner)
        return Placeholder((*self._path, key), typeschema.item_of(self._hint), self._owner)

    def __format__(self, spec: str) -> str:
        if spec:
            raise refusal(f"{text_of(self)} {_NO_VALUE}, so the format {spec!r} cannot be applied; leave it out")
        return str(self)

    def __str__(self) -> str:
        return template_of(self)

    def __repr__(self) -> str:
        return f"<{text_of(self)}>"

    def __bool__(self) -> NoReturn:
        raise refusal(f"{text_of(self)} {_NO_VALUE}, so Python cannot decide on it; {_FOR_IF}")

    def __iter__(self) -> NoReturn:
        raise refusal(
            f"{text_of(self)} {_NO_VALUE}, so Python cannot loop over it or unpack it; for a step of each item write "
            "`for_each(items, lambda item: …)`, and name the fields of an output"
        )

    def __contains__(self, _: object) -> NoReturn:
        raise refusal(f"{text_of(self)} {_NO_VALUE}; for `in` write a condition in CEL: when('… in …')")

    def __len__(self) -> NoReturn:
        raise refusal(f"{text_of(self)} {_NO_VALUE}; for len() write a condition in CEL: when('size(…) > 0')")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise refusal(f"{text_of(self)} {_NO_VALUE}, so it cannot be called; do this in an @engram function")

    def __hash__(self) -> NoReturn:
        raise refusal(f"{text_of(self)} {_NO_VALUE}, so it cannot be a key or in a set")

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return compare(self, "==", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return compare(self, "!=", other)

    def __lt__(self, other: object) -> Condition:
        return compare(self, "<", other)

    def __le__(self, other: object) -> Condition:
        return compare(self, "<=", other)

    def __gt__(self, other: object) -> Condition:
        return compare(self, ">", other)

    def __ge__(self, other: object) -> Condition:
        return compare(self, ">=", other)

    def __and__(self, other: object) -> Condition:
        return condition_of(self) & other

    def __or__(self, other: object) -> Condition:
        return condition_of(self) | other

    __rand__ = __and__
    __ror__ = __or__


class Condition:
    """A condition on placeholders, in CEL."""

    __slots__ = ("_cel", "_joined", "_read")

    def __init__(self, cel: str, read: tuple[Placeholder, ...] = (), joined: str = "") -> None:
        """``read`` are the placeholders in it; ``joined`` is the operator between its parts, if it has several."""
        self._cel = cel
        self._read = read
        self._joined = joined

    def __and__(self, other: object) -> Condition:
        return self._with("&&", other)

    def __or__(self, other: object) -> Condition:
        return self._with("||", other)

    def _with(self, operator: str, other: object) -> Condition:
        parts = (self, condition_of(other))
        read = (*self._read, *parts[1]._read)
        texts = [f"({part._cel})" if part._joined not in ("", operator) else part._cel for part in parts]
        return Condition(f" {operator} ".join(texts), read, operator)

    def __bool__(self) -> NoReturn:
        raise refusal(f"the condition `{self._cel}` {_NO_VALUE}, so Python cannot decide on it; {_FOR_IF}")

    def __str__(self) -> str:
        raise refusal(f"the condition `{self._cel}` is not a value; pass it to when(…) or wait_until(…)")

    def __repr__(self) -> str:
        return f"<condition {self._cel}>"


def not_(condition: Any) -> Any:
    """The opposite of a condition, or of a placeholder that is a boolean."""
    inner = condition_of(condition)
    simple = not inner._joined and _IDENTIFIER.match(inner._cel) and " " not in inner._cel
    return Condition(f"!{inner._cel}" if simple else f"!({inner._cel})", inner._read)


def condition_of(value: object) -> Condition:
    """A condition from what users write.

    Raises:
        StoryBuildError: it cannot be decided by a run.
    """
    if isinstance(value, Condition):
        return value
    if isinstance(value, Placeholder):
        return Condition(cel_of(value), (value,))
    if isinstance(value, str):
        whole = value.startswith("{{") and value.endswith("}}") and value.count("{{") == 1
        if "{{" in value and not whole:
            raise refusal(
                f"the condition {value!r} mixes a template with other text, so the result is a string; compare "
                "the value itself, such as when(step.count > 3), or write it in CEL: "
                "when('steps.step.output.count > 3')"
            )
        return Condition(value, (), "" if whole else "text")
    raise refusal(
        f"{value!r} is not a condition that a run can decide; compare a placeholder, and put each comparison in "
        "parentheses: (a > 3) & (b > 2)"
    )


def compare(left: Placeholder, operator: str, right: object) -> Condition:
    """The comparison in CEL."""
    if isinstance(right, Placeholder):
        shown = cel_of(right)
    elif right is None or isinstance(right, (str, int, float, list)):
        shown = json.dumps(right, ensure_ascii=False)
    else:
        raise refusal(f"{text_of(left)} cannot be compared with {right!r}: only with strings, numbers and booleans")
    read = (left, right) if isinstance(right, Placeholder) else (left,)
    return Condition(f"{cel_of(left)} {operator} {shown}", read)


def template_of(value: Placeholder) -> str:
    """``{{ steps.fetch.output.items }}``."""
    _check_read(value)
    return f"{{{{ {text_of(value)} }}}}"


def text_of(value: Placeholder) -> str:
    """The path as templates have it."""
    return _dotted(value._path, frozenset())


def cel_of(value: Placeholder) -> str:
    """The path as CEL has it."""
    if isinstance(value, Expression):
        raise refusal(f"{value!r} is a template; write the whole condition as one: when('{{{{ … }}}}')")
    _check_read(value)
    return _dotted(value._path, _RESERVED)


def _check_read(value: Placeholder) -> None:
    if value._owner is not None:
        value._owner.check_read(value._path)


def _dotted(path: Segments, reserved: frozenset[str]) -> str:
    text = ""
    for segment in path:
        if isinstance(segment, int):
            text += f"[{segment}]"
        elif _IDENTIFIER.fullmatch(segment) and segment not in reserved:
            text += f".{segment}" if text else segment
        else:
            text += f"[{json.dumps(segment, ensure_ascii=False)}]"
    return text


class Expression(Placeholder):
    """A template that the user has written."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self._path[0])

    def __repr__(self) -> str:
        return f"<{self._path[0]}>"

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("_"):
            raise AttributeError(name)
        raise refusal(f"{self!r} is a template; put the field {name!r} into it")

    def __getitem__(self, key: str | int) -> Placeholder:
        raise refusal(f"{self!r} is a template; put {key!r} into it")


def expression(template: str) -> Any:
    """A value that the operator computes from a template, such as ``{{ add steps.a.output.n 1 }}``."""
    return Expression((template,), Any, None)


def as_json(value: Any, *, otherwise: Any) -> str:
    """The value as JSON text, for a step that may be skipped: ``otherwise`` stands for its output then.

    Args:
        value: what a step returns, or a field of it.
        otherwise: a text, number or boolean, ``None``, ``{}`` or ``[]``.
    """
    path = value._path if isinstance(value, Placeholder) else ()
    if len(path) < 3 or path[0] != "steps" or not all(isinstance(segment, str) for segment in path):
        raise refusal(f"as_json takes what a step returns or a field of it, not {value!r}")
    if otherwise in ({}, []) and isinstance(otherwise, (dict, list)):
        shown = "(dict)" if otherwise == {} else "(list)"
    elif otherwise is None or isinstance(otherwise, (str, int, float)):
        shown = "nil" if otherwise is None else json.dumps(otherwise, ensure_ascii=False)
    else:
        raise refusal(f"as_json cannot write {otherwise!r} into a template; give {{}}, [], a string or a number")
    keys = " ".join(json.dumps(segment, ensure_ascii=False) for segment in path[1:])
    return f"{{{{ dig {keys} {shown} steps | toJson }}}}"


def cel_text(condition: Condition) -> str:
    """The condition in the manifest."""
    return condition._cel


def read_by(condition: Condition) -> tuple[Placeholder, ...]:
    """The placeholders in a condition."""
    return condition._read


def root_of(value: Placeholder) -> Segments:
    """Its path."""
    return value._path


def owner_of(value: Placeholder) -> Owner | None:
    """The Story that it belongs to; ``None`` for an expression."""
    return value._owner


def hint_of(value: Placeholder) -> Any:
    """The type that the user declared."""
    return value._hint


def _refuse(name: str) -> Callable[..., NoReturn]:
    def operator(self: Placeholder, *_: object) -> NoReturn:
        raise refusal(
            f"{text_of(self)} {_NO_VALUE}, so Python cannot compute with it; for text write an f-string, otherwise "
            'compute in an @engram function, or with a template: expression("{{ add … }}")'
        )

    operator.__name__ = name
    return operator


for _name in (
    *(f"__{operator}__" for operator in _ARITHMETIC),
    *(f"__r{operator}__" for operator in _ARITHMETIC),
    *("__neg__", "__pos__", "__abs__", "__invert__", "__int__", "__float__", "__index__", "__round__"),
):
    setattr(Placeholder, _name, _refuse(_name))
