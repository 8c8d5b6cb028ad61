"""Semantic versions and constraints on them. Source: templating contract 10.7."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from core.expressions.template.functions import STRING, VERSION, FunctionTable
from core.expressions.template.values import Int, UInt64

FUNCTIONS: Final = FunctionTable()
_METHODS: Final = FunctionTable()  # those with arguments

_NUMBER: Final = r"[0-9]+"
_MOST: Final = (1 << 64) - 1
_TAIL: Final = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+(?P<meta>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_VERSION: Final = re.compile(rf"v?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER}))?(?:\.(?P<patch>{_NUMBER}))?{_TAIL}")
_PART: Final = rf"(?:{_NUMBER}|[xX*])"
_CONSTRAINT: Final = re.compile(
    rf"(?P<operator>=<|=>|<=|>=|!=|~>|[=<>~^])?\s*v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?{_TAIL}",
    re.ASCII,
)
_RANGE: Final = re.compile(r"(\S+)\s+-\s+(\S+)", re.ASCII)
_SPACES: Final = " \t\n\f\r"
_SEPARATOR: Final = re.compile(r"\s*,\s*(?=\S)|\s+|\Z", re.ASCII)
_ALL_PARTS: Final = 3
_MAX_CONSTRAINT_CHARACTERS: Final = 1024


@dataclass(frozen=True, slots=True)
class SemanticVersion:
    """A semantic version, as a template value with methods."""

    major: int
    minor: int
    patch: int
    prerelease: str
    metadata: str
    original: str
    is_pointer: bool = True
    """Whether Go holds it by a pointer; only pointers have some of the methods. False for the result of ``Inc…``."""
    number: ClassVar[int | None] = None

    @property
    def type_name(self) -> str:
        return "*semver.Version" if self.is_pointer else "semver.Version"

    @property
    def kind_name(self) -> str:
        return "ptr" if self.is_pointer else "struct"

    def __str__(self) -> str:
        prerelease = f"-{self.prerelease}" if self.prerelease else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{f'+{self.metadata}' if self.metadata else ''}"

    def key(self) -> tuple[Any, ...]:
        """Orders versions by precedence; build metadata does not count."""
        identifiers = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.prerelease.split(".") if part
        )
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def field(self, name: str) -> Any:
        match name:
            case "Major" | "Minor" | "Patch":
                return UInt64(getattr(self, name.lower()))
            case "Prerelease" | "Metadata":
                return getattr(self, name.lower())
            case "Original":
                return self.original if self.is_pointer else None
            case "IncMajor":
                return self._increased(self.major + 1, 0, 0)
            case "IncMinor":
                return self._increased(self.major, self.minor + 1, 0)
            case "IncPatch":
                return self._increased(self.major, self.minor, self.patch if self.prerelease else self.patch + 1)
            case "String":
                return str(self)
            case _:
                return None

    def _increased(self, *parts: int) -> SemanticVersion:
        major, minor, patch = (part % (_MOST + 1) for part in parts)
        return SemanticVersion(major, minor, patch, "", "", "", is_pointer=False)

    def method(self, name: str) -> Any:
        return _METHODS.get(name) if self.is_pointer else None

    def with_number(self, number: int) -> SemanticVersion:
        raise TypeError(f"a version is not a number such as {number}")

    def json_value(self) -> int | str:
        return str(self)


@_METHODS.add("Compare", takes=(VERSION,))
def _order(mine: SemanticVersion, other: SemanticVersion | None) -> Int:
    other = _required(other)
    return Int((mine.key() > other.key()) - (mine.key() < other.key()))


@_METHODS.add("Equal", takes=(VERSION,))
def _is_equal(mine: SemanticVersion, other: SemanticVersion | None) -> bool:
    return other is not None and mine.key() == other.key()


@_METHODS.add("LessThan", takes=(VERSION,))
def _is_less(mine: SemanticVersion, other: SemanticVersion | None) -> bool:
    return mine.key() < _required(other).key()


@_METHODS.add("LessThanEqual", takes=(VERSION,))
def _is_less_or_equal(mine: SemanticVersion, other: SemanticVersion | None) -> bool:
    return mine.key() <= _required(other).key()


@_METHODS.add("GreaterThan", takes=(VERSION,))
def _is_greater(mine: SemanticVersion, other: SemanticVersion | None) -> bool:
    return mine.key() > _required(other).key()


@_METHODS.add("GreaterThanEqual", takes=(VERSION,))
def _is_greater_or_equal(mine: SemanticVersion, other: SemanticVersion | None) -> bool:
    return mine.key() >= _required(other).key()


def _required(other: SemanticVersion | None) -> SemanticVersion:
    if other is None:
        raise ValueError("there is no version to compare with")
    return other


@FUNCTIONS.add("semver", takes=(STRING,))
def parse_version(text: str) -> SemanticVersion:
    """The version in ``text``; missing parts are 0."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError("the string is not a semantic version")
    if any(part.isdigit() and part != "0" and part.startswith("0") for part in (found["pre"] or "").split(".")):
        raise ValueError("the string is not a semantic version: a number of its prerelease starts with 0")
    major, minor, patch = (int(found[name] or 0) for name in ("major", "minor", "patch"))
    if max(major, minor, patch) > _MOST:
        raise ValueError("the string is not a semantic version: a number does not fit into 64 bits")
    return SemanticVersion(
        major,
        minor,
        patch,
        found["pre"] or "",
        found["meta"] or "",
        text,
    )


@FUNCTIONS.add("semverCompare", takes=(STRING, STRING))
def _compare(constraint: str, version: str) -> bool:
    if len(constraint) > _MAX_CONSTRAINT_CHARACTERS:
        raise ValueError(f"a constraint holds at most {_MAX_CONSTRAINT_CHARACTERS} characters")
    alternatives = [_parse_all(part) for part in constraint.split("||")]
    subject = parse_version(version)
    return any(all(_holds(check, subject) for check in checks) for checks in alternatives)


@dataclass(frozen=True, slots=True)
class _Check:
    operator: str
    bound: SemanticVersion
    given: int  # the number of parts (major, minor, patch) that are given


def _parse_all(text: str) -> list[_Check]:
    body = _RANGE.sub(r">=\1 <=\2", text).strip(_SPACES)
    checks: list[_Check] = []
    position = 0
    while position < len(body):
        found = _CONSTRAINT.match(body, position)
        if found is None:
            raise ValueError("the string is not a version constraint")
        checks.append(_check(found))
        rest = body[found.end() :]
        separator = _SEPARATOR.match(rest)
        if separator is None:
            raise ValueError("the string is not a version constraint")
        position = found.end() + separator.end()
    if not checks:
        raise ValueError("a version constraint is missing")
    return checks


def _check(found: re.Match[str]) -> _Check:
    parts: list[int] = []
    for name in ("major", "minor", "patch"):
        if found[name] is None or found[name] in "xX*":
            break
        parts.append(int(found[name]))
    major, minor, patch = [*parts, 0, 0, 0][:3]
    bound = SemanticVersion(major, minor, patch, found["pre"] or "", found["meta"] or "", found[0])
    operator = {"=<": "<=", "=>": ">=", "~>": "~", None: "="}.get(found["operator"], found["operator"])
    return _Check(operator or "=", bound, len(parts))


def _holds(check: _Check, version: SemanticVersion) -> bool:
    is_exact_not = check.operator == "!=" and check.given == _ALL_PARTS
    if version.prerelease and not check.bound.prerelease and not is_exact_not:
        return False
    return _OPERATORS[check.operator](check, version)


def _equal(check: _Check, version: SemanticVersion) -> bool:
    return version.key() == check.bound.key() if check.given == _ALL_PARTS else _tilde(check, version)


def _not_equal(check: _Check, version: SemanticVersion) -> bool:
    bound = check.bound
    if check.given == _ALL_PARTS or not check.given:
        return version.key() != bound.key()
    if version.major != bound.major or (version.minor != bound.minor and check.given > 1):
        return True
    return check.given > 1 and version.prerelease != bound.prerelease


def _greater(check: _Check, version: SemanticVersion) -> bool:
    given = check.given
    if given in (1, 2):
        mine, bound = (version.major, version.minor), (check.bound.major, check.bound.minor)
        return mine[:given] > bound[:given]
    return version.key() > check.bound.key()


def _less_or_equal(check: _Check, version: SemanticVersion) -> bool:
    bound = check.bound
    if check.given == _ALL_PARTS:
        return version.key() <= bound.key()
    if check.given == 1:
        return version.major <= bound.major
    return (version.major, version.minor) <= (bound.major, bound.minor)


def _tilde(check: _Check, version: SemanticVersion) -> bool:
    bound = check.bound
    if version.key() < bound.key():
        return False
    if check.given in (0, _ALL_PARTS) and bound.major == bound.minor == bound.patch == 0:
        return True
    return version.major == bound.major and (check.given == 1 or version.minor == bound.minor)


def _caret(check: _Check, version: SemanticVersion) -> bool:
    bound = check.bound
    if version.key() < bound.key() or version.major != bound.major:
        return False
    if bound.major > 0 or check.given == 1:
        return True
    if version.minor != bound.minor:
        return False
    return bound.minor > 0 or check.given == 2 or version.patch == bound.patch


_OPERATORS: Final[dict[str, Callable[[_Check, SemanticVersion], bool]]] = {
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    ">=": lambda check, version: version.key() >= check.bound.key(),
    "<": lambda check, version: version.key() < check.bound.key(),
    "<=": _less_or_equal,
    "~": _tilde,
    "^": _caret,
}
