"""Readers of single configuration values: text in, typed value out, ``ValueError`` with the accepted values.

Nothing is coerced: a value that is not clearly of the type is refused (the reference reads ``True`` as false).
Source: operator contract 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Generic, TypeVar

from bubu_contract.durations import format_duration, parse_duration, short_duration
from core.api.quantity import parse_quantity
from core.policy.retry import MAX_RETRIES_LIMIT

KEYED_TOLERATIONS: Final = "keyed"
"""In ``SecuritySettings.tolerations``: every toleration that names the key of a taint."""
ANY_TOLERATION: Final = "*"
"""In the same setting: every toleration."""
ANY_IMAGE: Final = "*"
"""In ``ScriptSettings.images``: every image."""
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1

_TRUE: Final = frozenset({"true", "yes", "y", "on", "1", "t"})
_FALSE: Final = frozenset({"false", "no", "n", "off", "0", "f"})
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TAINT_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_CLASS_PATTERN: Final = re.compile(r"[-a-z0-9.*]{1,253}")
_HOST: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_SHORTEST: Final = timedelta(microseconds=1)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_Word = TypeVar("_Word", bound=StrEnum)
_Value = TypeVar("_Value", covariant=True)


@dataclass(frozen=True, slots=True)
class SettingReader(Generic[_Value]):
    """Reads the values of one kind; ``kind`` and ``accepted`` describe them on the page of all settings."""

    read: Callable[[str], _Value]
    kind: str
    accepted: str
    """Markdown; empty: everything of the kind."""

    def __call__(self, value: str) -> _Value:
        """Of text without leading and trailing blanks.

        Raises:
            ValueError: the value is not accepted; the message names what is.
        """
        return self.read(value)


def _reads(kind: str, accepted: str = "") -> Callable[[Callable[[str], _Value]], SettingReader[_Value]]:
    return lambda read: SettingReader(read, kind, accepted)


@_reads("text")
def text(value: str) -> str:
    return value


@_reads("boolean")
def boolean(value: str) -> bool:
    word = value.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{value!r} must be true or false")


def integer(minimum: int, maximum: int = INT32_MAX) -> SettingReader[int]:
    """Reads whole numbers from ``minimum`` to ``maximum``."""

    @_reads("whole number", f"from {minimum}" if maximum in (INT32_MAX, INT64_MAX) else f"{minimum} to {maximum}")
    def read(value: str) -> int:
        if not _INTEGER.fullmatch(value):
            raise ValueError(f"{value!r} is not a whole number")
        number = int(value)
        if not minimum <= number <= maximum:
            raise ValueError(f"{number} is out of range; use {minimum} to {maximum}")
        return number

    return read


@_reads("whole number", f"from 0; more than {MAX_RETRIES_LIMIT} counts as {MAX_RETRIES_LIMIT}")
def retries(value: str) -> int:
    """Reduced to ``MAX_RETRIES_LIMIT``, as the contract requires."""
    return min(integer(0)(value), MAX_RETRIES_LIMIT)


def _range(minimum: timedelta, maximum: timedelta | None, *, zero: bool) -> str:
    if minimum == _SHORTEST:
        return "0 or more" if zero else "more than 0"
    upper = "" if maximum is None else f" to {short_duration(maximum)}"
    lower = f"{'' if upper else 'from '}{short_duration(minimum)}"
    return f"0, or {lower}{upper}" if zero else f"{lower}{upper}"


def duration(
    minimum: timedelta = _SHORTEST, maximum: timedelta | None = None, *, zero: bool = False
) -> SettingReader[timedelta]:
    """Reads durations from ``minimum`` to ``maximum``, and zero if ``zero``."""

    @_reads("duration", _range(minimum, maximum, zero=zero))
    def read(value: str) -> timedelta:
        found = parse_duration(value)
        if zero and not found:
            return found
        if found <= timedelta():
            raise ValueError(f"{value!r} must be {'0s or more' if zero else 'more than 0s'}")
        if found < minimum:
            raise ValueError(f"{value!r} is too short; the minimum is {format_duration(minimum)}")
        if maximum is not None and found > maximum:
            raise ValueError(f"{value!r} is too long; the maximum is {format_duration(maximum)}")
        return found

    return read


@_reads("text", "`host:port`, or nothing")
def endpoint(value: str) -> str:
    """``host:port`` or ``[address]:port``; empty means "not set"."""
    if not value:
        return value
    host, colon, port = value.rpartition(":")
    is_address = host.startswith("[") and host.endswith("]")
    if not colon or not _HOST.fullmatch(host) or (":" in host and not is_address):
        raise ValueError(f"{value!r} must be host:port, for example hub.example:9000")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{value!r}: the port must be 1 to 65535")
    return value


@_reads("quantity", "or nothing")
def quantity(value: str) -> str:
    """A Kubernetes quantity as it was written; empty means "not set"."""
    if value:
        parse_quantity(value)
    return value


def one_of(words: type[_Word], *, empty: _Word | None = None) -> SettingReader[_Word]:
    """Reads a word; ``empty``: what an empty value means, if it is no word itself."""

    @_reads("word", ", ".join(f"`{word.value}`" if word.value else "nothing" for word in words))
    def read(value: str) -> _Word:
        if not value and empty is not None:
            return empty
        try:
            return words(value)
        except ValueError:
            allowed = ", ".join(word.value or '""' for word in words)
            raise ValueError(f"{value!r} is not one of {allowed}") from None

    return read


@_reads("list", "capabilities; empty: `ALL`")
def capabilities(value: str) -> tuple[str, ...]:
    """A comma-separated list, in upper case; an empty one means ``ALL``."""
    return tuple(name for item in value.split(",") if (name := item.strip().upper())) or ("ALL",)


@_reads("list", "namespaces; `*` alone: all")
def namespaces(value: str) -> tuple[str, ...]:
    """A comma-separated list of namespaces; ``*`` alone means all."""
    names = tuple(name for item in value.split(",") if (name := item.strip()))
    if names == ("*",):
        return names
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            raise ValueError(f"{name!r} is not a namespace; use names separated by commas, or * alone for all")
    return names


@_reads(
    "list",
    f"images; `*` and `?` match anything but `/`, `**` matches anything; `{ANY_IMAGE}` alone: all images; empty: none",
)
def image_patterns(value: str) -> tuple[str, ...]:
    """A comma-separated list of images, which may have ``*``, ``?`` and ``**``; an empty one allows none."""
    patterns = tuple(pattern for item in value.split(",") if (pattern := item.strip()))
    for pattern in patterns:
        if any(letter.isspace() for letter in pattern):
            raise ValueError(f"{pattern!r} is not an image; use names such as python:3.* separated by commas")
        if pattern == ANY_IMAGE and len(patterns) > 1:
            raise ValueError(f"{pattern!r} excludes other entries; remove it or the other {len(patterns) - 1}")
    return patterns


@_reads("list", f"keys of taints; or `{KEYED_TOLERATIONS}`, or `{ANY_TOLERATION}`; empty: none")
def tolerations(value: str) -> tuple[str, ...]:
    """``keyed``, ``*``, or keys of taints, separated by commas; an empty value allows no toleration."""
    keys = tuple(name for item in value.split(",") if (name := item.strip()))
    for key in keys:
        if key in (KEYED_TOLERATIONS, ANY_TOLERATION):
            if len(keys) > 1:
                raise ValueError(f"{key!r} excludes other entries; remove it or the other {len(keys) - 1}")
        elif not _TAINT_KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not the key of a taint; use keys separated by commas, keyed, or *")
    return keys


@_reads("list", "names of classes; `*` matches any characters; empty: none")
def class_patterns(value: str) -> tuple[str, ...]:
    """Names of classes, separated by commas; ``*`` stands for any characters, and an empty value allows none."""
    patterns = tuple(name for item in value.split(",") if (name := item.strip()))
    for pattern in patterns:
        if not _CLASS_PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern!r} is not the name of a class; use names separated by commas; * matches any characters"
            )
    return patterns
