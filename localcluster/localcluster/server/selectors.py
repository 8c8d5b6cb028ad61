"""Label and field selectors: turns their text into a predicate.

Pure. The grammar and the error texts are those of apimachinery's ``labels.Parse`` and ``fields.ParseSelector``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from localcluster.server import errors, events
from localcluster.server.types import Object, ResourceType

Predicate = Callable[[Object], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|>|<|[^\s=!,()<>]+)")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ALWAYS_SELECTABLE = ("metadata.name", "metadata.namespace")


def everything(_: Object) -> bool:
    """The predicate of an absent selector."""
    return True


def label_predicate(text: str) -> Predicate:
    """Whether an object's labels satisfy a selector such as ``a=b,c!=d,e in (f,g),!h,i``.

    Raises:
        StatusError: 400, the selector cannot be parsed.
    """
    if not text.strip():
        return everything
    requirements = _LabelParser(text).parse()

    def matches(obj: Object) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def label_selector_predicate(selector: Mapping[str, Any] | None) -> Callable[[Mapping[str, str]], bool]:
    """Whether labels satisfy a ``metav1.LabelSelector``; an empty one matches all, None matches nothing.

    Raises:
        ValueError: an unknown operator.
    """
    if selector is None:
        return lambda _: False
    requirements = [_equals(key, value) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, operator, values = expression["key"], expression["operator"], frozenset(expression.get("values") or ())
        match operator:
            case "In":
                requirements.append(_among(key, values))
            case "NotIn":
                requirements.append(_not_among(key, values))
            case "Exists":
                requirements.append(_exists(key))
            case "DoesNotExist":
                requirements.append(_missing(key))
            case _:
                raise ValueError(f'"{operator}" is not a valid label selector operator')
    return lambda labels: all(requirement(labels) for requirement in requirements)


def field_predicate(text: str, resource: ResourceType) -> Predicate:
    """Whether an object's fields satisfy ``metadata.name=a,status.phase!=Running``.

    Raises:
        StatusError: 400, the selector cannot be parsed, or names a field that this kind does not offer.
    """
    if not text.strip():
        return everything
    terms = [_field_term(term, resource) for term in _split_fields(text)]
    return lambda obj: all(term(obj) for term in terms)


def exact_name(text: str) -> str | None:
    """The one name that a field selector can match, so that a list of one need not read all objects."""
    if text.startswith("metadata.name=") and "," not in text:
        return text.removeprefix("metadata.name=").removeprefix("=") or None
    return None


def both(left: Predicate, right: Predicate) -> Predicate:
    """Both predicates must be true; ``everything`` is left out."""
    if left is everything:
        return right
    if right is everything:
        return left
    return lambda obj: left(obj) and right(obj)


_Requirement = Callable[[Mapping[str, str]], bool]


class _LabelParser:
    """Recursive descent over ``requirement (',' requirement)*``."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    def parse(self) -> list[_Requirement]:
        requirements = [self._requirement()]
        while self._peek() == ",":
            self._next()
            requirements.append(self._requirement())
        if self._peek():
            raise self._error(f"found '{self._peek()}', expected: ',' or 'end of string'")
        return requirements

    def _requirement(self) -> _Requirement:
        if self._peek() == "!":
            self._next()
            return _missing(self._key())
        key = self._key()
        match self._peek():
            case "" | ",":
                return _exists(key)
            case "=" | "==":
                self._next()
                return _equals(key, self._value())
            case "!=":
                self._next()
                return _not_among(key, frozenset({self._value()}))
            case "in" | "notin" as operator:
                self._next()
                values = self._values()
                return _among(key, values) if operator == "in" else _not_among(key, values)
            case ">" | "<" as operator:
                self._next()
                return _compares(key, operator, self._integer(key))
            case other:
                raise self._error(f"found '{other}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._next()
        if not _LABEL_KEY.fullmatch(key):
            raise self._error(f"found '{key}', expected: identifier")
        return key

    def _value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        return self._checked(self._next())

    def _values(self) -> frozenset[str]:
        if (found := self._next()) != "(":
            raise self._error(f"found '{found}' expected: '('")
        values: set[str] = set()
        while True:
            part = self._next()
            if part == ")":
                return frozenset(values or {""})
            if part == ",":
                values.update(() if self._peek() not in (",", ")") else ("",))
            elif part:
                values.add(self._checked(part))
            else:
                raise self._error("found '', expected: ',', ')' or identifier")

    def _integer(self, key: str) -> int:
        token = self._next()
        try:
            return int(token)
        except ValueError:
            raise self._error(f"for \"{key}\": 'Gt', 'Lt' operators need an integer, found \"{token}\"") from None

    def _checked(self, value: str) -> str:
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            raise self._error(f'invalid label value: "{value}"')
        return value

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return str(token)

    def _error(self, why: str) -> errors.StatusError:
        return errors.bad_request(f"unable to parse requirement: {why}")


def _equals(key: str, value: str) -> _Requirement:
    return lambda labels: labels.get(key) == value


def _among(key: str, values: Iterable[str]) -> _Requirement:
    return lambda labels: key in labels and labels[key] in values


def _not_among(key: str, values: Iterable[str]) -> _Requirement:
    return lambda labels: key not in labels or labels[key] not in values


def _exists(key: str) -> _Requirement:
    return lambda labels: key in labels


def _missing(key: str) -> _Requirement:
    return lambda labels: key not in labels


def _compares(key: str, operator: str, bound: int) -> _Requirement:
    def matches(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if operator == ">" else value < bound

    return matches


def _split_fields(text: str) -> list[str]:
    """The terms between commas; a backslash escapes comma, equals and itself."""
    return [term for term in re.split(r"(?<!\\),", text) if term]


def _field_term(term: str, resource: ResourceType) -> Predicate:
    match = re.match(r"(.*?)(!=|==|=)(.*)\Z", term, re.DOTALL)
    if match is None:
        raise errors.bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    field, operator, wanted = match.group(1), match.group(2), re.sub(r"\\([\\,=])", r"\1", match.group(3))
    selectable = events.SELECTABLE if resource.group == "events.k8s.io" else resource.selectable_fields
    if field not in _ALWAYS_SELECTABLE and f".{field}" not in selectable:
        raise errors.bad_request(
            f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            if not resource.selectable_fields
            else f"field label not supported: {field}"
        )
    path = field.split(".")
    negated = operator == "!="
    if resource.plural == "events" and field == "source":
        return lambda obj: (_event_source(obj) == wanted) is not negated
    return lambda obj: (_field_text(obj, path) == wanted) is not negated


def _field_text(obj: Object, path: list[str]) -> str:
    value: Any = obj
    for step in path:
        if not isinstance(value, dict):
            return ""
        value = value.get(step)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _event_source(obj: Object) -> str:
    return str((obj.get("source") or {}).get("component") or obj.get("reportingComponent") or "")
