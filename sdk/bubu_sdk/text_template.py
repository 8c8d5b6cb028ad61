"""Templates that make a text from data: literal text, plain paths, and a few functions. Pure.

    {{ inputs.eventId }}
    {{ inputs.repository.full_name | lower }}#{{ inputs.pull_request.number }}
    {{ headers["x-delivery"] | default "none" }}

There is no clock, no chance and no loop: equal data give the same text, and the work is bounded by the length of the
template and of the values. A template that needs more is refused when it is parsed, not when the first event arrives.
Source: Trigger contract 5.3.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract import submission
from bubu_sdk import reference, template

MAX_TEXT_BYTES: Final = 64 * 1024
"""The limit for a result."""

_ACTION: Final = re.compile(r"\{\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}\}")
_PART: Final = re.compile(r"\s*((?:[^|\"]|\"(?:[^\"\\]|\\.)*\")+?)\s*(?:\||$)")
_CALL: Final = re.compile(r"([A-Za-z]\w*)(?:\s+(\"(?:[^\"\\]|\\.)*\"))?")
_MISSING: Final[Any] = object()
_FIRST_SCIENTIFIC: Final = 6
_LOWEST_PLAIN: Final = -4


class TemplateSyntaxError(ValueError):
    """*user*: the text is not such a template; the message says which part, and what is possible."""


class TemplateDataError(ValueError):
    """*user*: the data has no value for a path, or a value that has no text form; names the path."""


@dataclass(frozen=True)
class _Action:
    path: template.Segments
    calls: tuple[tuple[str, str | None], ...]
    """Functions in order, each with its argument."""


class TextTemplate:
    """A parsed template."""

    def __init__(self, text: str, roots: Collection[str]) -> None:
        """Parse ``text``, whose paths begin with one of ``roots``.

        Raises:
            TemplateSyntaxError
        """
        self.text = text
        self._parts = _parsed(text, roots)

    @property
    def paths(self) -> list[template.Segments]:
        """The paths of all actions, in their order."""
        return [part.path for part in self._parts if isinstance(part, _Action)]

    def value(self, data: Mapping[str, Any]) -> Any:
        """The value, with its JSON type, if the template is a single action without a text around it; else the text.

        Raises:
            TemplateDataError
        """
        if len(self._parts) == 1 and isinstance(self._parts[0], _Action):
            return _evaluate(self._parts[0], data)
        text = "".join(part if isinstance(part, str) else _printed(part, data) for part in self._parts)
        return _bounded(text, self.text)

    def render(self, data: Mapping[str, Any]) -> str:
        """The text; a single action whose value is not a string gives the JSON of the value.

        Raises:
            TemplateDataError
        """
        value = self.value(data)
        return _bounded(value if isinstance(value, str) else submission.canonical_json(value).decode(), self.text)


def _parsed(text: str, roots: Collection[str]) -> list[str | _Action]:
    parts: list[str | _Action] = []
    position = 0
    for found in _ACTION.finditer(text):
        _append_literal(parts, text[position : found.start()], text)
        parts.append(_action(found[1], text, roots))
        position = found.end()
    _append_literal(parts, text[position:], text)
    return parts


def _append_literal(parts: list[str | _Action], literal: str, text: str) -> None:
    if "{{" in literal:
        raise TemplateSyntaxError(f"{text!r}: every '{{{{' needs its '}}}}', and a plain path between them")
    if literal:
        parts.append(literal)


def _action(body: str, text: str, roots: Collection[str]) -> _Action:
    first, *rest = _pipeline(body, text)
    path = template.path_segments(first)
    if path is None:
        raise TemplateSyntaxError(f"{text!r}: {first!r} is not a plain path such as {min(roots)}.id")
    if path[0] not in roots:
        raise TemplateSyntaxError(f"{text!r}: {path[0]!r} is unknown here; a path begins with {_listed(roots)}")
    return _Action(path, tuple(_call(part, text) for part in rest))


def _pipeline(body: str, text: str) -> list[str]:
    parts: list[str] = []
    position = 0
    while position < len(body) and (part := _PART.match(body, position)):
        parts.append(part[1].strip())
        position = part.end()
    if not parts or position < len(body) or not all(parts) or body.rstrip().endswith("|"):
        raise TemplateSyntaxError(f"{text!r}: {{{{{body}}}}} is not a path with functions after it")
    return parts


def _call(part: str, text: str) -> tuple[str, str | None]:
    call = _CALL.fullmatch(part)
    if call is None or call[1] not in _ARITY:
        known = ", ".join(sorted(_ARITY))
        raise TemplateSyntaxError(f"{text!r}: {part!r} is not one of the functions {known}")
    name, argument = call[1], call[2]
    if (argument is not None) != _ARITY[name]:
        form = f'{name} "text"' if _ARITY[name] else name
        raise TemplateSyntaxError(f"{text!r}: write {form}")
    try:
        return name, None if argument is None else str(json.loads(argument))
    except ValueError as error:
        raise TemplateSyntaxError(f"{text!r}: {argument} is not a string") from error


def _evaluate(action: _Action, data: Mapping[str, Any]) -> Any:
    value: Any = _looked_up(action.path, data)
    for name, argument in action.calls:
        if name == "default":
            value = argument if value is _MISSING or value is None or value == "" else value
        elif value is _MISSING:
            break
        else:
            value = _FUNCTIONS[name](value, template.dotted(action.path))
    if value is _MISSING or value is None:
        raise TemplateDataError(f"{template.dotted(action.path)} has no value")
    return value


def _looked_up(path: template.Segments, data: Mapping[str, Any]) -> Any:
    value: Any = data
    for position, segment in enumerate(path):
        if reference.is_storage_reference(value):
            where = template.dotted(path[:position])
            raise TemplateDataError(f"{where} is in the object store, which a template of this kind does not read")
        if isinstance(segment, int):
            if not isinstance(value, list) or segment >= len(value):
                return _MISSING
            value = value[segment]
        elif isinstance(value, Mapping) and segment in value:
            value = value[segment]
        else:
            return _MISSING
    return value


def _printed(action: _Action, data: Mapping[str, Any]) -> str:
    return _text(_evaluate(action, data), template.dotted(action.path))


def _text(value: Any, where: str) -> str:
    """A value inside a longer text, as Go's ``text/template`` prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(submission.double(value))
    kind = "an object" if isinstance(value, Mapping) else "a list"
    raise TemplateDataError(f"{where} is {kind}; write {where} | toJson to use all of it")


def _number(value: float) -> str:
    """``%v`` of a float64: shortest digits; scientific below 1e-4 and from 1e+06."""
    from decimal import Decimal  # imported here, because most templates have no numbers

    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if _LOWEST_PLAIN <= exponent < _FIRST_SCIENTIFIC:
        return format(number, "f")
    digits = "".join(map(str, number.as_tuple().digits))
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    sign = "-" if number < 0 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _bounded(text: str, source: str) -> str:
    if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        raise TemplateDataError(f"{source!r} gives more than {MAX_TEXT_BYTES} bytes")
    return text


def _listed(names: Collection[str]) -> str:
    return " or ".join(sorted(names))


_FUNCTIONS: Final[Mapping[str, Callable[[Any, str], str]]] = {
    "lower": lambda value, where: _text(value, where).lower(),
    "upper": lambda value, where: _text(value, where).upper(),
    "trim": lambda value, where: _text(value, where).strip(),
    "toString": _text,
    "toJson": lambda value, _: submission.canonical_json(value).decode(),
    "sha256sum": lambda value, where: hashlib.sha256(_text(value, where).encode(errors="replace")).hexdigest(),
}
_ARITY: Final[Mapping[str, bool]] = {**dict.fromkeys(_FUNCTIONS, False), "default": True}
"""Whether a function takes an argument."""
