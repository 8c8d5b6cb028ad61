"""Times, durations, months and weekdays as template values.

A ``Moment`` is seconds since 1970, nanoseconds and an offset: any year within 64 bits of seconds, as in Go. The local
zone is UTC. Layouts are in ``layouts``. Source: templating contract 8.1 and 10.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Final

from core.expressions.template.functions import DURATION, INT, TIME, FunctionTable
from core.expressions.template.values import Int, Int64, wrap64

NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
SECOND: Final = 1_000_000_000

METHODS: Final = FunctionTable()  # those with arguments
SPAN_METHODS: Final = FunctionTable()
MONTHS: Final = [
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
WEEKDAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

_DAY_SECONDS: Final = 86_400
_CYCLE_YEARS: Final = 400  # after this time the calendar repeats, including weekdays
_CYCLE_DAYS: Final = 146_097
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_LEAST_SECONDS: Final = (date(2, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY_SECONDS
_MOST_SECONDS: Final = (date(9999, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY_SECONDS
_GO_PAST_SECONDS: Final = 9_223_372_028_741_760_000  # from March of the year -292277022400 to 1970
_YEARS_OF_JSON: Final = range(10_000)
_LONGEST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class NamedInteger:
    """A named integer type of Go: prints as ``text``, computes and compares as ``number``."""

    number: int
    text: str
    type_name: str
    kind_name: str = "int"

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return self.number != 0

    def field(self, name: str) -> Any:
        if name == "String":
            return self.text
        if self.type_name != "time.Duration":
            return None
        match name:
            case "Hours" | "Minutes" | "Seconds":
                unit = {"Hours": 3600 * SECOND, "Minutes": 60 * SECOND, "Seconds": SECOND}[name]
                whole, rest = divmod(abs(self.number), unit)
                return (whole + rest / unit) * (-1 if self.number < 0 else 1)
            case "Milliseconds" | "Microseconds" | "Nanoseconds":
                unit = {"Milliseconds": 1_000_000, "Microseconds": MICROSECOND, "Nanoseconds": 1}[name]
                return Int64(int(abs(self.number) // unit) * (-1 if self.number < 0 else 1))
            case "Abs":
                return span(min(abs(self.number), _LONGEST))
            case _:
                return None

    def method(self, name: str) -> Any:
        return SPAN_METHODS.get(name) if self.type_name == "time.Duration" else None

    def json_value(self) -> int | str:
        return self.number

    def with_number(self, number: int) -> NamedInteger:
        """Another value of the same type."""
        return {"time.Month": month, "time.Weekday": weekday}.get(self.type_name, span)(number)


def span(nanoseconds: int) -> NamedInteger:
    """A ``time.Duration``."""
    return NamedInteger(nanoseconds, span_text(nanoseconds), "time.Duration", "int64")


def month(number: int) -> NamedInteger:
    """A ``time.Month``; 1 is January."""
    text = MONTHS[number - 1] if 1 <= number <= len(MONTHS) else f"%!Month({number})"
    return NamedInteger(number, text, "time.Month")


def weekday(number: int) -> NamedInteger:
    """A ``time.Weekday``; 0 is Sunday."""
    text = WEEKDAYS[number - 1] if 0 <= number < len(WEEKDAYS) else f"%!Weekday({number})"
    return NamedInteger(number, text, "time.Weekday")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Calendar and clock at a place: ``at`` is right except for its year."""

    at: datetime
    year: int
    nanosecond: int
    offset: int
    zone: str

    @property
    def weekday(self) -> int:
        return self.at.isoweekday() % 7

    @property
    def year_day(self) -> int:
        return self.at.timetuple().tm_yday

    def stamp(self, separator: str) -> str:
        return f"{padded(self.year, 4)}-{self.at.month:02d}-{self.at.day:02d}{separator}{self.at:%H:%M:%S}"

    @property
    def fraction(self) -> str:
        return f".{self.nanosecond:09d}".rstrip("0") if self.nanosecond else ""


@dataclass(frozen=True, slots=True)
class Moment:
    """Go ``time.Time``: an instant and the offset of its place from UTC; ``zone`` names the place."""

    seconds: int
    nanosecond: int = 0
    offset: int = 0
    zone: str = "UTC"
    type_name: ClassVar[str] = "time.Time"
    kind_name: ClassVar[str] = "struct"
    number: ClassVar[int | None] = None

    @classmethod
    def of(cls, instant: datetime) -> Moment:
        """An aware ``datetime``, in UTC."""
        microseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return cls.from_nanoseconds(microseconds * MICROSECOND)

    @classmethod
    def from_nanoseconds(cls, nanoseconds: int) -> Moment:
        """An instant in nanoseconds since 1970, in UTC."""
        return cls(*divmod(nanoseconds, SECOND))

    @property
    def nanoseconds(self) -> int:
        """Since 1970."""
        return self.seconds * SECOND + self.nanosecond

    def reading(self, place: tzinfo | None = None) -> ClockReading:
        """Calendar and clock at ``place``; at its own place when none is given."""
        shown = _in_go_range(self.seconds) + (0 if place else self.offset)
        cycles = _cycles_away(shown)
        shift = cycles * _CYCLE_DAYS * _DAY_SECONDS
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=shown - shift)
        offset, zone = self.offset, self.zone
        if place is not None:
            at = at.astimezone(place)
            offset = int((at.utcoffset() or timedelta()).total_seconds())
            zone = at.tzname() or "UTC"
        zone = zone or offset_text(offset, "-0700")
        return ClockReading(at, at.year + cycles * _CYCLE_YEARS, self.nanosecond, offset, zone)

    def shifted(self, nanoseconds: int) -> Moment:
        """A time that is later by ``nanoseconds``, at the same place."""
        seconds, nanosecond = divmod(self.nanoseconds + nanoseconds, SECOND)
        return replace(self, seconds=seconds, nanosecond=nanosecond)

    def __str__(self) -> str:
        shown = self.reading()
        return f"{shown.stamp(' ')}{shown.fraction} {offset_text(shown.offset, '-0700')} {shown.zone}"

    def field(self, name: str) -> Any:
        shown = self.reading()
        match name:
            case "Year":
                return Int(shown.year)
            case "Day" | "Hour" | "Minute" | "Second":
                return Int(getattr(shown.at, name.lower()))
            case "Nanosecond":
                return Int(self.nanosecond)
            case "Month":
                return month(shown.at.month)
            case "Weekday":
                return weekday(shown.weekday)
            case "YearDay":
                return Int(shown.year_day)
            case "Unix":
                return Int64(self.seconds)
            case "UnixMilli" | "UnixMicro" | "UnixNano":
                unit = {"UnixMilli": 1_000_000, "UnixMicro": MICROSECOND, "UnixNano": 1}[name]
                return wrap64(self.nanoseconds // unit)
            case "IsZero":
                return (self.seconds, self.nanosecond) == (ZERO.seconds, 0)
            case "UTC" | "Local":
                return Moment(self.seconds, self.nanosecond)
            case "String":
                return str(self)
            case _:
                return None

    def method(self, name: str) -> Any:
        return METHODS.get(name)

    def with_number(self, number: int) -> Moment:
        raise TypeError(f"a time is not a number such as {number}")

    def json_value(self) -> int | str:
        shown = self.reading()
        if shown.year not in _YEARS_OF_JSON:
            raise ValueError("JSON knows the years 0 to 9999")
        return f"{shown.stamp('T')}{shown.fraction}{offset_text(shown.offset, 'Z07:00')}"


@SPAN_METHODS.add("Truncate", takes=(DURATION,))
def _truncate(duration: NamedInteger, unit: NamedInteger | int) -> NamedInteger:
    size = _nanoseconds(unit)
    if size <= 0:
        return duration
    rest = abs(duration.number) % size
    return span(duration.number + (rest if duration.number < 0 else -rest))


@SPAN_METHODS.add("Round", takes=(DURATION,))
def _round(duration: NamedInteger, unit: NamedInteger | int) -> NamedInteger:
    """Halves are rounded away from zero."""
    size = _nanoseconds(unit)
    if size <= 0:
        return duration
    whole, rest = divmod(abs(duration.number), size)
    rounded = min((whole + (2 * rest >= size)) * size, _LONGEST)
    return span(-rounded if duration.number < 0 else rounded)


@METHODS.add("Add", takes=(DURATION,))
def _add(moment: Moment, duration: NamedInteger | int) -> Moment:
    return moment.shifted(_nanoseconds(duration))


@METHODS.add("AddDate", takes=(INT, INT, INT))
def _add_date(moment: Moment, years: int, months: int, days: int) -> Moment:
    shown = moment.reading()
    day = days_since_epoch(shown.year + years, shown.at.month + months, shown.at.day + days)
    time_of_day = (moment.seconds + moment.offset) % _DAY_SECONDS
    return replace(moment, seconds=day * _DAY_SECONDS + time_of_day - moment.offset)


@METHODS.add("Sub", takes=(TIME,))
def _sub(moment: Moment, other: Moment) -> NamedInteger:
    return span(max(min(moment.nanoseconds - other.nanoseconds, _LONGEST), -_LONGEST - 1))


@METHODS.add("Before", takes=(TIME,))
def _before(moment: Moment, other: Moment) -> bool:
    return moment.nanoseconds < other.nanoseconds


@METHODS.add("After", takes=(TIME,))
def _after(moment: Moment, other: Moment) -> bool:
    return moment.nanoseconds > other.nanoseconds


@METHODS.add("Equal", takes=(TIME,))
def _equal(moment: Moment, other: Moment) -> bool:
    return moment.nanoseconds == other.nanoseconds


@METHODS.add("Compare", takes=(TIME,))
def _compare(moment: Moment, other: Moment) -> Int:
    return Int((moment.nanoseconds > other.nanoseconds) - (moment.nanoseconds < other.nanoseconds))


def _nanoseconds(duration: NamedInteger | int) -> int:
    """Nanoseconds of a duration, or of a literal in its place."""
    return duration if isinstance(duration, int) else duration.number


def days_since_epoch(year: int, month_number: int, day: int) -> int:
    """Days from 1970 to a date; months beyond December and days beyond the month's end are carried over."""
    years, months = divmod(month_number - 1, 12)
    cycles, year_of_cycle = divmod(year + years, _CYCLE_YEARS)
    first = date(_CYCLE_YEARS + year_of_cycle, months + 1, 1).toordinal()
    return first + (cycles - 1) * _CYCLE_DAYS + day - 1 - _EPOCH_ORDINAL


def padded(number: int, digits: int) -> str:
    """The number with leading zeros after the sign."""
    return f"{'-' if number < 0 else ''}{abs(number):0{digits}d}"


def offset_text(seconds: int, form: str) -> str:
    """An offset from UTC in the format of a layout element: ``-0700``, ``Z07:00``, ``-07``, …"""
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


def _in_go_range(seconds: int) -> int:
    """Go counts 64 bits of seconds from a distant past; earlier instants wrap around to the far future."""
    return (seconds + _GO_PAST_SECONDS) % (1 << 64) - _GO_PAST_SECONDS


def _cycles_away(seconds: int) -> int:
    """The number of 400-year cycles between an instant and the years that Python's calendar supports."""
    if seconds < _LEAST_SECONDS:
        return (seconds - _LEAST_SECONDS) // (_CYCLE_DAYS * _DAY_SECONDS)
    if seconds >= _MOST_SECONDS:
        return (seconds - _MOST_SECONDS) // (_CYCLE_DAYS * _DAY_SECONDS) + 1
    return 0


ZERO: Final = Moment(days_since_epoch(1, 1, 1) * _DAY_SECONDS)
