"""Semantic versions and constraints on them. Source: templating contract 10.7."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from core.expressions.template.functions import STRING, FunctionTable
from core.expressions.template.values import Int64

FUNCTIONS: Final = FunctionTable()

_NUMBER: Final = r"[0-9]{1,18}"
_TAIL: Final = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+(?P<meta>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_VERSION: Final = re.compile(rf"v?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER}))?(?:\.(?P<patch>{_NUMBER}))?{_TAIL}")
_PART: Final = rf"(?:{_NUMBER}|[xX*])"
_CONSTRAINT: Final = re.compile(
    rf"(?P<operator>=<|=>|<=|>=|!=|~>|[=<>~^])?\s*v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?{_TAIL}"
)
_RANGE: Final = re.compile(r"(\S+)\s+-\s+(\S+)")
_MAX_CONSTRAINT_CHARACTERS: Final = 1024


@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version, as a template value with methods."""

    major: int
    minor: int
    patch: int
    prerelease: str
    metadata: str
    original: str
    type_name: ClassVar[str] = "*semver.Version"

    def __str__(self) -> str:
        prerelease = f"-{self.prerelease}" if self.prerelease else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{f'+{self.metadata}' if self.metadata else ''}"

    def key(self) -> tuple[Any, ...]:
        """Orders versions by precedence; metadata does not count."""
        identifiers = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.prerelease.split(".") if part
        )
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def field(self, name: str) -> Any:
        match name:
            case "Major" | "Minor" | "Patch":
                return Int64(getattr(self, name.lower()))
            case "Prerelease" | "Metadata" | "Original":
                return getattr(self, name.lower())
            case "IncMajor":
                return replace(self, major=self.major + 1, minor=0, patch=0, prerelease="", metadata="")
            case "IncMinor":
                return replace(self, minor=self.minor + 1, patch=0, prerelease="", metadata="")
            case "IncPatch":
                patch = self.patch if self.prerelease else self.patch + 1
                return replace(self, patch=patch, prerelease="", metadata="")
            case "String":
                return str(self)
            case _:
                return None

    def json_value(self) -> int | str:
        return str(self)


@FUNCTIONS.add("semver", takes=(STRING,))
def parse_version(text: str) -> Version:
    """The version that ``text`` spells; absent parts are 0."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError("the text is not a semantic version")
    if any(part.isdigit() and part != "0" and part.startswith("0") for part in (found["pre"] or "").split(".")):
        raise ValueError("the text is not a semantic version: a number of its prerelease starts with 0")
    return Version(
        int(found["major"]),
        int(found["minor"] or 0),
        int(found["patch"] or 0),
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
    bound: Version
    given: int  # how many of major, minor, patch are numbers


def _parse_all(text: str) -> list[_Check]:
    body = _RANGE.sub(r">=\1 <=\2", text).strip()
    checks: list[_Check] = []
    position = 0
    while position < len(body):
        found = _CONSTRAINT.match(body, position)
        if found is None:
            raise ValueError("the text is not a version constraint")
        checks.append(_check(found))
        rest = body[found.end() :]
        separator = re.match(r"\s*,\s*|\s+|\Z", rest)
        if separator is None:
            raise ValueError("the text is not a version constraint")
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
    bound = Version(major, minor, patch, found["pre"] or "", found["meta"] or "", found[0])
    operator = {"=<": "<=", "=>": ">=", "~>": "~", None: "="}.get(found["operator"], found["operator"])
    return _Check(operator or "=", bound, len(parts))


def _holds(check: _Check, version: Version) -> bool:
    bound = check.bound
    if version.prerelease and not bound.prerelease and check.operator != "!=":
        return False
    return _OPERATORS[check.operator](check, version)


def _same_prefix(check: _Check, version: Version) -> bool:
    bound = check.bound
    mine = (version.major, version.minor, version.patch)
    return mine[: check.given] == (bound.major, bound.minor, bound.patch)[: check.given]


def _equal(check: _Check, version: Version) -> bool:
    if check.given < 3:
        return _same_prefix(check, version)
    return version.key() == check.bound.key()


def _greater(check: _Check, version: Version) -> bool:
    if check.given < 3:
        return version.key() > check.bound.key() and not _same_prefix(check, version)
    return version.key() > check.bound.key()


def _less_or_equal(check: _Check, version: Version) -> bool:
    return version.key() <= check.bound.key() or (check.given < 3 and _same_prefix(check, version))


def _tilde(check: _Check, version: Version) -> bool:
    if check.given == 0:
        return True
    if version.key() < check.bound.key() or version.major != check.bound.major:
        return False
    return check.given == 1 or version.minor == check.bound.minor


def _caret(check: _Check, version: Version) -> bool:
    bound = check.bound
    if check.given == 0:
        return True
    if version.key() < bound.key() or version.major != bound.major:
        return False
    if bound.major > 0 or check.given == 1:
        return True
    if version.minor != bound.minor:
        return False
    if bound.minor > 0 or check.given == 2:
        return True
    return version.patch == bound.patch


_OPERATORS: Final[dict[str, Callable[[_Check, Version], bool]]] = {
    "=": _equal,
    "!=": lambda check, version: not _equal(check, version),
    ">": _greater,
    ">=": lambda check, version: version.key() >= check.bound.key(),
    "<": lambda check, version: version.key() < check.bound.key(),
    "<=": _less_or_equal,
    "~": _tilde,
    "^": _caret,
}
