"""The ``with`` of an Impulse of this project's templates, cron and webhook, beyond their ``configSchema``.

These programs read it when they start, and end if it cannot be used. They also know best, so a finding is a warning:
the time zones of the operator, for example, need not be those of the listener. Source: admission contract 6.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from bubu_contract.durations import parse_duration
from core.api.objects import ReadOnlyObject
from core.api.suggestion import closest
from webhooks.cluster_view import Unseen
from webhooks.finding import Finding, Rule, Severity

SCHEDULE: Final = Rule("impulse/schedule", "6", severity=Severity.WARNING)
TIME_ZONE: Final = Rule("impulse/time-zone", "6", severity=Severity.WARNING)
TEMPLATE: Final = Rule("impulse/setting-template", "6", severity=Severity.WARNING)
UNSIGNED: Final = Rule("impulse/unsigned", "6", severity=Severity.WARNING)

FUNCTIONS: Final = ("default", "lower", "upper", "trim", "toString", "toJson", "sha256sum")
"""The functions of the SDK's text templates."""
SIGNED_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "hmac": (),
    "slack": ("x-slack-request-timestamp",),
    "stripe": (),
    "standard": ("webhook-id", "webhook-timestamp"),
}
"""By the ``auth.type`` of a webhook with signatures: the headers that are signed, as well as the body."""
_HEADERS: Final = "headers"
_WEBHOOK_ROOTS: Final = ("body", _HEADERS)
_CRON_ROOTS: Final = ("start",)
_ACTION: Final = re.compile(r"\{\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}\}")
_PART: Final = re.compile(r"(?:[^|\"]|\"(?:[^\"\\]|\\.)*\")+")
_ROOT: Final = re.compile(r"\.?(\w+)")
_HEADER_NAME: Final = re.compile(r"headers(?:\.(\w+)|\[[\"']([^\"'\\]*)[\"']\])")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON_FIELDS: Final[Sequence[tuple[str, range, tuple[str, ...]]]] = (
    ("minute", range(60), ()),
    ("hour", range(24), ()),
    ("day of month", range(1, 32), ()),
    ("month", range(1, 13), _MONTHS),
    ("day of week", range(8), _DAYS),
)
_LAST_DAYS: Final = ("L", "LW")
_SECOND: Final = timedelta(seconds=1)


def check(new: ReadOnlyObject, template: ReadOnlyObject | Unseen) -> Iterator[Finding]:
    """Warnings about settings that the listener of this template will refuse, or that are not safe."""
    given = new["spec"].get("with")
    if isinstance(template, Unseen) or not isinstance(given, Mapping):
        return
    match program_of(str((template.get("spec") or {}).get("image") or "")):
        case "impulse-cron":
            yield from _cron(given, "spec.with")
        case "impulse-webhook":
            yield from _webhook(given, "spec.with")


def program_of(image: str) -> str:
    """
    >>> program_of("ghcr.io:443/acme/impulse-cron:0.1.0"), program_of("impulse-webhook@sha256:00")
    ('impulse-cron', 'impulse-webhook')
    """
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _cron(given: Mapping[str, Any], path: str) -> Iterator[Finding]:
    yield from _zone(given, path)
    schedules = given.get("schedules")
    for index, entry in enumerate(schedules if isinstance(schedules, list) else ()):
        if isinstance(entry, Mapping):
            where = f"{path}.schedules[{index}]"
            yield from _zone(entry, where)
            yield from _timing(entry, where)
            yield from _templates(entry.get("inputs"), f"{where}.inputs", _CRON_ROOTS)


def _zone(given: Mapping[str, Any], path: str) -> Iterator[Finding]:
    name, known = given.get("timeZone"), _zones()
    if isinstance(name, str) and name and known and name not in known:
        meant = closest(name, sorted(zone for zone in known if zone[0].lower() == name[0].lower()))
        remedy = f"did you mean {meant}?" if meant else "write an IANA name such as Europe/Berlin"
        yield TIME_ZONE.at(f"{path}.timeZone", f"{name!r} is not a time zone that is known here", remedy)


@cache
def _zones() -> frozenset[str]:
    """The time zones of this machine; empty if it has no database of them."""
    return frozenset(available_timezones())


def _timing(entry: Mapping[str, Any], path: str) -> Iterator[Finding]:
    expression = entry.get("cron")
    if isinstance(expression, str) and (problem := cron_problem(expression)):
        yield SCHEDULE.at(f"{path}.cron", problem, "write for example 30 2 * * MON-FRI")
    for key, least in (("every", _SECOND), ("jitter", timedelta())):
        text = entry.get(key)
        if not isinstance(text, str):
            continue
        try:
            duration = parse_duration(text)
        except ValueError as error:
            message, _, remedy = str(error).partition("; ")
            yield SCHEDULE.at(f"{path}.{key}", message, remedy or "use a shorter one")
            continue
        if duration < least or (key == "every" and duration % _SECOND):
            wanted = "must be a whole number of seconds, at least 1s" if key == "every" else "must not be negative"
            yield SCHEDULE.at(f"{path}.{key}", f"{text!r} {wanted}", "write for example 15m")


def cron_problem(expression: str) -> str:
    """What is wrong with a cron expression, as far as one field shows it; empty if nothing is.

    >>> cron_problem("0 25 * * *")
    "hour '25' must be 0 to 23, *, a list, a range, or one of these with a step, as in 0-23/2"
    """
    fields = expression.upper().split()
    if len(fields) != len(_CRON_FIELDS):
        names = ", ".join(name for name, _, _ in _CRON_FIELDS)
        return f"{expression!r} has {len(fields)} fields; it must have five: {names}"
    for field, (name, numbers, words) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_is_term(term, name, numbers, words) for term in field.split(",")):
            low, high = numbers[0], numbers[-1]
            named = f", {words[0]} to {words[-1]}" if words else ""
            form = f"{low} to {high}{named}, *, a list, a range, or one of these with a step, as in {low}-{high}/2"
            return f"{name} {field!r} must be {form}"
    return ""


def _is_term(term: str, name: str, numbers: range, words: Sequence[str]) -> bool:
    def is_value(text: str) -> bool:
        return text in words or (_is_number(text) and int(text) in numbers)

    def number(text: str) -> int:
        return words.index(text) + numbers[0] if text in words else int(text)

    if name == "day of week" and term.endswith("L"):
        return _is_number(term[:-1]) and is_value(term[:-1])
    if name == "day of week" and "#" in term:
        day, _, nth = term.partition("#")
        return is_value(day) and _is_number(nth) and 1 <= int(nth) <= 5
    base, slash, step = term.partition("/")
    if slash and not (_is_number(step) and int(step) > 0):
        return False
    if base == "*" or (name == "day of month" and base in _LAST_DAYS):
        return True
    first, dash, last = base.partition("-")
    if not dash:
        return is_value(base)
    return is_value(first) and is_value(last) and number(first) <= number(last)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _webhook(given: Mapping[str, Any], path: str) -> Iterator[Finding]:
    yield from _templates(given.get("inputs"), f"{path}.inputs", _WEBHOOK_ROOTS)
    yield from _templates(given.get("key"), f"{path}.key", _WEBHOOK_ROOTS)
    credentials = given.get("auth")
    kind = credentials.get("type", "hmac") if isinstance(credentials, Mapping) else "hmac"
    signed = SIGNED_HEADERS.get(kind) if isinstance(kind, str) else None
    if signed is None:
        return
    if given.get("key") == "":
        message = "without a key, anybody who has recorded a request can send it again as a new event"
        yield UNSIGNED.at(f"{path}.key", message, "remove it: the default recognises a request that is sent again")
    header = given.get("keyHeader")
    unsigned = [f"{path}.keyHeader"] if isinstance(header, str) and header and header.lower() not in signed else []
    for name in ("key", "inputs"):
        strings = _strings(given.get(name), f"{path}.{name}")
        unsigned += [where for where, text in strings if _reads_other_headers(text, signed)]
    for where in unsigned:
        message = "reads a header, which the signature does not cover: a recorded request can be sent with another one"
        yield UNSIGNED.at(where, message, "take it from the body, for example key: '{{ body.id }}'")


def _reads_other_headers(text: str, signed: Collection[str]) -> bool:
    for action in _ACTION.finditer(text):
        if _root_of(action[1]) == _HEADERS:
            name = _HEADER_NAME.match(action[1].strip().removeprefix("."))
            if name is None or (name[1] or name[2]) not in signed:
                return True
    return False


def _templates(value: Any, path: str, roots: Collection[str]) -> Iterator[Finding]:
    for where, text in _strings(value, path):
        if problem := _template_problem(text, roots):
            yield TEMPLATE.at(where, *problem)


def _template_problem(text: str, roots: Collection[str]) -> tuple[str, str] | None:
    """Message and remedy."""
    if "{{" in _ACTION.sub("", text):
        return "has a '{{' without its '}}'", "write for example {{ " + min(roots) + ".id }}"
    for action in _ACTION.finditer(text):
        root, calls = _root_of(action[1]), [part.split() for part in _PART.findall(action[1])[1:]]
        if root not in roots:
            meant = closest(root, roots)
            known = f"a path begins with {' or '.join(sorted(roots))}"
            return f"{root!r} is unknown here", f"did you mean {meant}?" if meant else known
        for call in calls:
            if not call or call[0] not in FUNCTIONS:
                word = call[0] if call else ""
                meant = closest(word, FUNCTIONS)
                known = f"the functions are {', '.join(FUNCTIONS)}"
                return f"{word!r} is not a function", f"did you mean {meant}?" if meant else known
    return None


def _root_of(action: str) -> str:
    part = _PART.match(action)
    text = part[0].strip() if part else ""
    found = _ROOT.match(text)
    return found[1] if found else text


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _strings(child, f"{path}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _strings(child, f"{path}[{index}]")
