"""Go's layouts: the format of a time, written as the reference time 2006-01-02 15:04:05.

Parsing reads the layout once, from left to right, without backtracking, as Go does; so it is linear in the text.
Source: templating contract 10.5, "layout elements".
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from core.expressions.errors import LimitExceededError
from core.expressions.limits import Meter
from core.expressions.sprig import moments
from core.expressions.sprig.moments import METHODS, MONTHS, WEEKDAYS, ClockReading, Moment, padded
from core.expressions.template.functions import STRING, Context

_ELEMENTS: Final = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|2|_(?=2006)|_2|__2|3|4|5|PM|pm"
    r"|[-Z](?:070000|07:00:00|0700|07:00|07)|[.,]0+(?![0-9])|[.,]9+(?![0-9])",
    re.ASCII,
)
MAX_LAYOUT_CHARACTERS: Final = 4_096  # the search for elements is not interrupted
_LITERAL: Final = "_"  # before the element 2006 it is a literal character
_HALF_DAY: Final = 12
_FIRST_YEAR_OF_1900S: Final = 69
_ZONE_LETTERS: Final = re.compile(r"[A-Z]{0,6}")
_SIGNED_HOURS: Final = re.compile(r"[+-]([0-9]+)")
_RUNS: Final = re.compile(" +|[^ ]+")
_LONGEST_ZONE: Final = 16
_FRACTION: Final = re.compile(r"[.,]([0-9]+)")
_DAYS_BEFORE: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)
_FEBRUARY: Final = 2
_LEAP_DAY: Final = 60


def format_layout(moment: Moment, layout: str, meter: Meter, place: tzinfo | None = None) -> str:
    """``moment`` in the format of ``layout``, in the zone ``place`` or in its own zone.

    Raises:
        LimitExceededError: the layout is too long.
    """
    _refuse_long(layout)
    shown = moment.reading(place)
    parts: list[str] = []
    position = 0
    for found in _ELEMENTS.finditer(layout):
        meter.spend()
        parts += [layout[position : found.start()], _element_text(found[0], shown)]
        position = found.end()
    return "".join([*parts, layout[position:]])


@METHODS.add("Format", takes=(STRING,), with_context=True)
def _format(context: Context, moment: Moment, layout: str) -> str:
    return format_layout(moment, layout, context.meter)


def _refuse_long(layout: str) -> None:
    if len(layout) > MAX_LAYOUT_CHARACTERS:
        allowed = MAX_LAYOUT_CHARACTERS
        raise LimitExceededError("layout_characters", allowed, f"a layout of times holds at most {allowed} characters")


def _element_text(element: str, shown: ClockReading) -> str:
    if element[0] in ".,":
        digits = f"{shown.nanosecond:09d}"[: len(element) - 1].ljust(len(element) - 1, "0")
        digits = digits.rstrip("0") if element[1] == "9" else digits
        return element[0] + digits if digits else ""
    if element[0] in "-Z":
        return moments.offset_text(shown.offset, element)
    return _TEXTS[element](shown)


def _hour12(shown: ClockReading) -> int:
    return shown.at.hour % _HALF_DAY or _HALF_DAY


_TEXTS: Final[dict[str, Callable[[ClockReading], str]]] = {
    _LITERAL: lambda _shown: _LITERAL,
    "2006": lambda shown: padded(shown.year, 4),
    "06": lambda shown: f"{abs(shown.year) % 100:02d}",
    "January": lambda shown: MONTHS[shown.at.month - 1],
    "Jan": lambda shown: MONTHS[shown.at.month - 1][:3],
    "01": lambda shown: f"{shown.at.month:02d}",
    "1": lambda shown: str(shown.at.month),
    "Monday": lambda shown: WEEKDAYS[shown.weekday - 1],
    "Mon": lambda shown: WEEKDAYS[shown.weekday - 1][:3],
    "02": lambda shown: f"{shown.at.day:02d}",
    "2": lambda shown: str(shown.at.day),
    "_2": lambda shown: f"{shown.at.day:2d}",
    "002": lambda shown: f"{shown.year_day:03d}",
    "__2": lambda shown: f"{shown.year_day:3d}",
    "15": lambda shown: f"{shown.at.hour:02d}",
    "03": lambda shown: f"{_hour12(shown):02d}",
    "3": lambda shown: str(_hour12(shown)),
    "04": lambda shown: f"{shown.at.minute:02d}",
    "4": lambda shown: str(shown.at.minute),
    "05": lambda shown: f"{shown.at.second:02d}",
    "5": lambda shown: str(shown.at.second),
    "PM": lambda shown: "PM" if shown.at.hour >= _HALF_DAY else "AM",
    "pm": lambda shown: "pm" if shown.at.hour >= _HALF_DAY else "am",
    "MST": lambda shown: shown.zone,
}


def parse_layout(layout: str, text: str, meter: Meter) -> Moment:
    """The instant in ``text``, in the format of ``layout``; UTC when it has no zone, year 0 when it has no year.

    Raises:
        ValueError: ``text`` has another format, or a date that does not exist.
        LimitExceededError: the layout is too long.
    """
    _refuse_long(layout)
    reader = _Reader(text)
    position = 0
    for found in _ELEMENTS.finditer(layout):
        meter.spend()
        reader.skip(layout[position : found.start()])
        position = found.end()
        following = _ELEMENTS.match(layout, position)
        reader.take(found[0], fraction_follows=following is not None and following[0][0] in ".,")
    reader.skip(layout[position:])
    if not reader.is_at_end:
        raise ValueError("the string is longer than the layout")
    return reader.parts.moment()


@dataclass(slots=True)
class _Parts:
    """The values that were read so far; ``None`` for missing ones."""

    year: int = 0
    month: int | None = None
    day: int | None = None
    year_day: int | None = None
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanosecond: int = 0
    afternoon: bool | None = None
    offset: int | None = None
    zone: str = ""
    is_utc: bool = False

    def moment(self) -> Moment:
        month, day = self._date()
        hour = self.hour
        if self.afternoon is True and hour < _HALF_DAY:
            hour += _HALF_DAY
        elif self.afternoon is False and hour == _HALF_DAY:
            hour = 0
        days = moments.days_since_epoch(self.year, month, day)
        seconds = ((days * 24 + hour) * 60 + self.minute) * 60 + self.second
        if self.is_utc:
            return Moment(seconds, self.nanosecond)
        if self.offset is not None:
            if self.offset == 0 and self.zone in ("", "UTC"):
                return Moment(seconds, self.nanosecond)
            return Moment(seconds - self.offset, self.nanosecond, self.offset, self.zone)
        if self.zone and self.zone != "UTC":
            hours = _SIGNED_HOURS.fullmatch(self.zone, 3) if self.zone.startswith("GMT") else None
            return Moment(seconds, self.nanosecond, int(hours[0]) * 3600 if hours else 0, self.zone)
        return Moment(seconds, self.nanosecond)

    def _date(self) -> tuple[int, int]:
        leap = calendar.isleap(self.year)
        if self.year_day is None:
            month, day = 1 if self.month is None else self.month, 1 if self.day is None else self.day
            longest = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (leap and month == _FEBRUARY)
            if not 1 <= day <= longest:
                raise ValueError("the month has no such day")
            return month, day
        month, day = _of_year_day(self.year_day, leap=leap)
        if self.month not in (None, month) or self.day not in (None, day):
            raise ValueError("the day of the year is another date")
        return month, day


def _of_year_day(number: int, *, leap: bool) -> tuple[int, int]:
    if leap and number == _LEAP_DAY:
        return _FEBRUARY, 29
    if leap and number > _LEAP_DAY:
        number -= 1
    if not 1 <= number <= _DAYS_BEFORE[-1]:
        raise ValueError("the year has no such day")
    month = next(month for month in range(12, 0, -1) if _DAYS_BEFORE[month - 1] < number)
    return month, number - _DAYS_BEFORE[month - 1]


class _Reader:
    """Reads elements of a text, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.parts = _Parts()

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._text)

    def skip(self, literal: str) -> None:
        """Literal text of the layout; a run of spaces matches any number of spaces."""
        for run in _RUNS.findall(literal):
            if run[0] != " ":
                self._skip_exactly(run)
                continue
            if not self.is_at_end and self._text[self._at] != " ":
                raise ValueError("a space is missing")
            while self._text.startswith(" ", self._at):
                self._at += 1

    def _skip_exactly(self, literal: str) -> None:
        if not self._text.startswith(literal, self._at):
            raise ValueError("the string does not have the form of the layout")
        self._at += len(literal)

    def _next(self, count: int) -> str:
        """The next ``count`` characters, or all that are left; they are not consumed."""
        return self._text[self._at : self._at + count]

    def take(self, element: str, *, fraction_follows: bool) -> None:
        parts = self.parts
        match element:
            case "_":
                self._skip_exactly(_LITERAL)
            case "2006":
                parts.year = self._digits(4)
            case "06":
                short = self._digits(2)
                parts.year = short + (1900 if short >= _FIRST_YEAR_OF_1900S else 2000)
            case "January" | "Jan":
                parts.month = self._name(MONTHS, None if element == "January" else 3) + 1
            case "Monday" | "Mon":
                self._name(WEEKDAYS, None if element == "Monday" else 3)
            case "01" | "1":
                parts.month = self._number(element, 1, 12)
            case "02" | "2" | "_2":
                self._drop_spaces(1 if element == "_2" else 0)
                parts.day = self._number(element, 0, 99)
            case "002" | "__2":
                self._drop_spaces(2 if element == "__2" else 0)
                parts.year_day = self._year_day(fixed=element == "002")
            case "15":
                parts.hour = self._number("1", 0, 23)
            case "03" | "3":
                parts.hour = self._number(element, 0, _HALF_DAY)
            case "04" | "4":
                parts.minute = self._number(element, 0, 59)
            case "05" | "5":
                parts.second = self._number(element, 0, 59)
                if not fraction_follows:
                    self._fraction(None)
            case "PM" | "pm":
                parts.afternoon = self._half(element)
            case "MST":
                self._zone_name()
            case _ if element[0] in ".,":
                self._fraction(len(element) - 1 if element[1] == "0" else None, required=element[1] == "0")
            case _:
                self._offset(element)

    def _digits(self, count: int) -> int:
        digits = self._next(count)
        if len(digits) < count or not (digits.isascii() and digits.isdigit()):
            raise ValueError("the string has too few digits")
        self._at += count
        return int(digits)

    def _number(self, element: str, least: int, most: int) -> int:
        """Two digits, or one for an element that is written with one digit."""
        length = 2 if _is_digit(self._next(2)[1:]) or element.startswith("0") else 1
        number = self._digits(length)
        if not least <= number <= most:
            raise ValueError("a number of the string is out of range")
        return number

    def _year_day(self, *, fixed: bool) -> int:
        length = next((index for index, char in enumerate(self._next(3)) if not _is_digit(char)), len(self._next(3)))
        if not length or (fixed and length < 3):
            raise ValueError("the day of the year is missing")
        return self._digits(length)

    def _drop_spaces(self, most: int) -> None:
        for _ in range(most):
            self._at += self._text.startswith(" ", self._at)

    def _name(self, names: Sequence[str], length: int | None) -> int:
        for index, name in enumerate(names):
            wanted = name[:length]
            shown = self._next(len(wanted))
            if shown.isascii() and shown.lower() == wanted.lower():
                self._at += len(wanted)
                return index
        raise ValueError("the string names no month or day")

    def _half(self, element: str) -> bool:
        half = self._next(2)
        after, before = ("PM", "AM") if element == "PM" else ("pm", "am")
        if half not in (after, before):
            raise ValueError(f"the string has neither {before} nor {after}")
        self._at += 2
        return half == after

    def _fraction(self, digits: int | None, *, required: bool = False) -> None:
        """Nanoseconds: ``digits`` digits of them, or all that are there."""
        found = _FRACTION.match(self._text, self._at)
        if required and digits is not None:
            if found is None or len(found[1]) < digits:
                raise ValueError("the fraction of a second is missing")
            shown, end = found[1][:digits], self._at + 1 + digits
        elif found is None:
            return
        else:
            shown, end = found[1], found.end()
        self.parts.nanosecond = int(shown[:9].ljust(9, "0"))
        self._at = end

    def _offset(self, element: str) -> None:
        if element[0] == "Z" and self._next(1) == "Z":
            self.parts.is_utc = True
            self._at += 1
            return
        shape = element[1:].replace("0", "d").replace("7", "d")
        sign, body = self._next(1), self._next(len(shape) + 1)[1:]
        if sign not in ("+", "-") or len(body) < len(shape):
            raise ValueError("the offset from UTC is missing")
        if any(not _is_digit(have) if want == "d" else have != want for want, have in zip(shape, body, strict=True)):
            raise ValueError("the offset from UTC has another form")
        digits = body.replace(":", "").ljust(6, "0")
        hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
        if hours > 24 or minutes > 60 or seconds > 60:
            raise ValueError("the offset from UTC is out of range")
        self.parts.offset = ((hours * 60 + minutes) * 60 + seconds) * (-1 if sign == "-" else 1)
        self._at += len(shape) + 1

    def _zone_name(self) -> None:
        shown = self._next(_LONGEST_ZONE)
        if shown.startswith("UTC"):
            self.parts.is_utc = True
            self._at += 3
            return
        length = _zone_length(shown)
        if not length:
            raise ValueError("the name of the zone is missing")
        self.parts.zone = shown[:length]
        self._at += length


def _zone_length(text: str) -> int:
    """The length of the zone abbreviation at the start of the text; 0 when there is none."""
    if len(text) < 3:
        return 0
    if text.startswith(("ChST", "MeST")):
        return 4
    if text.startswith("GMT"):
        return 3 + _signed_hours(text[3:])
    if text[0] in "+-":
        return _signed_hours(text)
    letters = _ZONE_LETTERS.match(text)
    length = letters.end() if letters else 0
    if length == 3:
        return 3
    if length == 4:
        return 4 if text[3] == "T" or text.startswith("WITA") else 0
    return 5 if length == 5 and text[4] == "T" else 0


def _signed_hours(text: str) -> int:
    found = _SIGNED_HOURS.match(text)
    return found.end() if found and len(found[1]) < 9 and int(found[1]) <= 23 else 0


def _is_digit(char: str) -> bool:
    return char.isascii() and char.isdigit()
