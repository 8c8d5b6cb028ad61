"""Times as template values, Go's reference-time layouts, and the spelling of durations.

A ``Moment`` keeps microseconds; nanosecond digits of a parsed text are cut. The local zone is UTC.
Source: templating contract 8.1 and 10.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, ClassVar, Final

import re2

from core.expressions.template.values import Int, Int64

NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
SECOND: Final = 1_000_000_000

_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_WEEKDAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ELEMENTS: Final = re.compile(
    r"2006|January|Jan|Monday|Mon|MST|002|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07"
    r"|_2006|__2|_2|[.,]0+(?![0-9])|[.,]9+(?![0-9])|01|02|03|04|05|06|15|PM|pm|1|2|3|4|5"
)
_HALF_DAY: Final = 12
_CACHED_LAYOUTS: Final = 100


@dataclass(frozen=True, slots=True)
class Name:
    """A month or a weekday: prints as its English name, as a number under ``%d``."""

    number: int
    name: str
    type_name: str = "time.Month"

    def __str__(self) -> str:
        return self.name

    def field(self, name: str) -> Any:
        return self.name if name == "String" else None

    def json_value(self) -> int | str:
        return self.number


@dataclass(frozen=True, slots=True)
class Moment:
    """Go ``time.Time``: an aware instant."""

    instant: datetime
    type_name: ClassVar[str] = "time.Time"

    def __str__(self) -> str:
        fraction = f".{self.instant.microsecond:06d}".rstrip("0") if self.instant.microsecond else ""
        zone = _offset_text(self.instant, "-0700")
        return f"{_stamp(self.instant)}{fraction} {zone} {_zone_name(self.instant)}"

    def field(self, name: str) -> Any:
        at = self.instant
        match name:
            case "Year" | "Day" | "Hour" | "Minute" | "Second":
                return Int(getattr(at, name.lower()))
            case "Nanosecond":
                return Int(at.microsecond * MICROSECOND)
            case "Month":
                return Name(at.month, _MONTHS[at.month - 1])
            case "Weekday":
                return Name(at.isoweekday() % 7, _WEEKDAYS[at.weekday()], "time.Weekday")
            case "YearDay":
                return Int(at.timetuple().tm_yday)
            case "Unix":
                return Int64(epoch_microseconds(at) // 1_000_000)
            case "UnixMilli":
                return Int64(epoch_microseconds(at) // 1_000)
            case "UnixNano":
                return Int64(epoch_microseconds(at) * MICROSECOND)
            case "IsZero":
                return at == ZERO.instant
            case "UTC" | "Local":
                return Moment(at.astimezone(UTC))
            case "String":
                return str(self)
            case _:
                return None

    def json_value(self) -> int | str:
        fraction = f".{self.instant.microsecond:06d}".rstrip("0") if self.instant.microsecond else ""
        return f"{_stamp(self.instant, 'T')}{fraction}{_offset_text(self.instant, 'Z07:00')}"


ZERO: Final = Moment(datetime(1, 1, 1, tzinfo=UTC))


def epoch_microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def from_epoch(seconds: int) -> datetime:
    """The instant ``seconds`` after 1970, in UTC.

    Raises:
        ValueError: outside of the years 1 to 9999.
    """
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("the time is outside of the years 1 to 9999") from error


def format_layout(instant: datetime, layout: str) -> str:
    """``instant`` in the form that ``layout`` shows for Go's reference time."""
    parts: list[str] = []
    position = 0
    while match := _ELEMENTS.search(layout, position):
        parts.append(layout[position : match.start()])
        parts.append(_element_text(match[0], instant))
        position = match.end()
    return "".join([*parts, layout[position:]])


def parse_layout(layout: str, text: str) -> datetime:
    """The instant that ``text`` gives in the form of ``layout``; UTC when it names no zone.

    Raises:
        ValueError: ``text`` has another form, or names a day that does not exist.
    """
    pattern, names = [], []
    position = 0
    while match := _ELEMENTS.search(layout, position):
        pattern.append(re.escape(layout[position : match.start()]))
        pattern.append(f"({_element_pattern(match[0])})")
        names.append(match[0])
        position = match.end()
    pattern.append(re.escape(layout[position:]))
    found = _linear("".join(pattern)).fullmatch(text)
    if found is None:
        raise ValueError("the text does not have the form of the layout")
    return _assemble(dict(zip(names, found.groups(), strict=True)))


@lru_cache(maxsize=_CACHED_LAYOUTS)
def _linear(pattern: str) -> Any:
    """The pattern on an engine of linear time: a layout may repeat elements of open length."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError("the layout is too long") from error


def span_text(nanoseconds: int) -> str:
    """Go's spelling of a duration: ``1h1m1s``, ``1.5s``, ``300ms``, ``0s``."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    for unit, size in (("ns", NANOSECOND), ("µs", MICROSECOND), ("ms", 1_000_000)):
        if rest < size * 1000:
            return f"{sign}{_fraction(rest, size)}{unit}"
    minutes, rest = divmod(rest, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{_fraction(rest, SECOND)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _fraction(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    digits = str(part).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def _stamp(instant: datetime, separator: str = " ") -> str:
    return (
        f"{instant.year:04d}-{instant.month:02d}-{instant.day:02d}{separator}"
        f"{instant.hour:02d}:{instant.minute:02d}:{instant.second:02d}"
    )


def _zone_name(instant: datetime) -> str:
    name = instant.tzname() or "UTC"
    if name.startswith("UTC") and name != "UTC":
        return _offset_text(instant, "-0700")
    return name


def _offset_text(instant: datetime, form: str) -> str:
    seconds = int((instant.utcoffset() or timedelta()).total_seconds())
    if form.startswith("Z") and seconds == 0:
        return "Z"
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    shape = form[1:]
    colon = ":" if ":" in shape else ""
    text = f"{sign}{hours:02d}"
    if len(shape) > 2:
        text += f"{colon}{minutes:02d}"
    if len(shape.replace(":", "")) > 4:
        text += f"{colon}{rest:02d}"
    return text


def _element_text(element: str, at: datetime) -> str:
    if element[0] in ".,":
        digits = f"{at.microsecond:06d}000000"[: len(element) - 1]
        if element[1] == "0":
            return element[0] + digits
        digits = digits.rstrip("0")
        return element[0] + digits if digits else ""
    if element[0] in "-Z" and element[1:].replace(":", "").isdigit():
        return _offset_text(at, element)
    hour12 = at.hour % _HALF_DAY or _HALF_DAY
    texts = {
        "2006": f"{at.year:04d}",
        "_2006": f"_{at.year:04d}",
        "06": f"{at.year % 100:02d}",
        "January": _MONTHS[at.month - 1],
        "Jan": _MONTHS[at.month - 1][:3],
        "01": f"{at.month:02d}",
        "1": str(at.month),
        "Monday": _WEEKDAYS[at.weekday()],
        "Mon": _WEEKDAYS[at.weekday()][:3],
        "02": f"{at.day:02d}",
        "2": str(at.day),
        "_2": f"{at.day:2d}",
        "002": f"{at.timetuple().tm_yday:03d}",
        "__2": f"{at.timetuple().tm_yday:3d}",
        "15": f"{at.hour:02d}",
        "03": f"{hour12:02d}",
        "3": str(hour12),
        "04": f"{at.minute:02d}",
        "4": str(at.minute),
        "05": f"{at.second:02d}",
        "5": str(at.second),
        "PM": "PM" if at.hour >= _HALF_DAY else "AM",
        "pm": "pm" if at.hour >= _HALF_DAY else "am",
        "MST": _zone_name(at),
    }
    return texts[element]


def _element_pattern(element: str) -> str:
    if element[0] in ".,":
        digits = f"[.,][0-9]{{{len(element) - 1}}}"
        return digits if element[1] == "0" else r"(?:[.,][0-9]+)?"
    if element[0] == "Z":
        return r"Z|[+-][0-9]{2}(?::?[0-9]{2}){0,2}"
    if element[0] == "-":
        return r"[+-][0-9]{2}(?::?[0-9]{2}){0,2}"
    patterns = {
        "2006": "[0-9]{4}",
        "_2006": "_[0-9]{4}",
        "January": "|".join(_MONTHS),
        "Jan": "|".join(month[:3] for month in _MONTHS),
        "Monday": "|".join(_WEEKDAYS),
        "Mon": "|".join(day[:3] for day in _WEEKDAYS),
        "002": "[0-9]{3}",
        "__2": "[ 0-9]{3}",
        "_2": " ?[0-9]{1,2}",
        "MST": "[A-Z]{3,5}|[+-][0-9]{2}",
        "PM": "AM|PM",
        "pm": "am|pm",
        "05": r"[0-9]{2}(?:[.,][0-9]+)?",
        "5": r"[0-9]{1,2}(?:[.,][0-9]+)?",
        "15": "[0-9]{2}",
    }
    return patterns.get(element) or ("[0-9]{2}" if element.startswith("0") else "[0-9]{1,2}")


def _assemble(found: dict[str, str]) -> datetime:
    def number(*elements: str, fallback: int) -> int:
        return next(
            (int(found[element].strip(" _").split(".")[0].split(",")[0]) for element in elements if element in found),
            fallback,
        )

    year = number("2006", "_2006", fallback=1)
    if "06" in found:
        year = int(found["06"]) + (1900 if int(found["06"]) >= 69 else 2000)
    month = number("01", "1", fallback=1)
    for element, width in (("January", None), ("Jan", 3)):
        if element in found:
            month = [name[:width].lower() for name in _MONTHS].index(found[element].lower()) + 1
    hour = number("15", "03", "3", fallback=0)
    half = (found.get("PM") or found.get("pm") or "").lower()
    if half == "pm" and hour < _HALF_DAY:
        hour += _HALF_DAY
    elif half == "am" and hour == _HALF_DAY:
        hour = 0
    fraction = next((text for key, text in found.items() if key[0] in ".,"), "")
    for element in ("05", "5"):
        seconds = re.split("[.,]", found.get(element, ""))
        if len(seconds) > 1:
            fraction = f".{seconds[1]}"
    microsecond = int(fraction[1:7].ljust(6, "0")) if fraction else 0
    zone = next((_zone(text) for key, text in found.items() if key[0] in "-Z"), UTC)
    at = datetime(
        year or 1,
        month,
        number("02", "2", "_2", fallback=1),
        hour,
        number("04", "4", fallback=0),
        number("05", "5", fallback=0),
        microsecond,
        tzinfo=zone,
    )
    day_of_year = number("002", "__2", fallback=0)
    return at.replace(month=1, day=1) + timedelta(days=day_of_year - 1) if day_of_year else at


def _zone(text: str) -> timezone:
    if text.upper() == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:6]))
    if not offset:
        return UTC
    return timezone(-offset if text[0] == "-" else offset)
