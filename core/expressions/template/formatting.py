"""``printf``: Go's format verbs.

Mismatches are printed as Go prints them (``%!d(string=a)``), never raised. Source: templating contract 8.3.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from core.expressions.limits import Meter
from core.expressions.template import jsontext, printing, values
from core.expressions.template.values import Int, Kind, Value

MAX_WIDTH: Final = 1_000_000

_DIRECTIVE: Final = re.compile(
    r"%(?P<flags>[+\-# 0]*)"
    r"(?P<width_index>\[[^\]]*\])?(?P<width>\*|\d+)?"
    r"(?:(?P<dot>\.)(?P<precision_index>\[[^\]]*\])?(?P<precision>\*|\d+)?)?"
    r"(?P<index>\[[^\]]*\])?(?P<verb>.)?",
    re.DOTALL,
)
_FLOAT_VERBS: Final = "eEfFgGvxXb"
_QUOTE_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
_MANTISSA_BITS: Final = 53
_LAST_CODE_POINT: Final = 0x10FFFF
_BASES: Final = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES: Final = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}


def sprintf(template: str, arguments: tuple[Value, ...], meter: Meter) -> str:
    """``template`` with its directives replaced.

    Raises:
        LimitExceededError: the text would be longer than a function may build.
    """
    return _Printer(arguments, meter).run(template)


def quoted(text: str, *, ascii_only: bool = False) -> str:
    """``text`` as a Go string literal in double quotes; what cannot be printed is escaped."""
    return '"' + "".join(_quoted_character(char, ascii_only=ascii_only) for char in text) + '"'


@dataclass(frozen=True, slots=True)
class _Spec:
    verb: str
    flags: str
    width: int | None
    precision: int | None

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def pad(self, text: str, *, numeric: bool = False) -> str:
        """``text`` in its width: left with ``-``, filled with zeros behind the sign for numbers with ``0``."""
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            return text
        if self.has("-"):
            return text + " " * missing
        if self.has("0") and numeric:
            sign = text[0] if text[:1] in ("+", "-", " ") else ""
            return sign + "0" * missing + text[len(sign) :]
        return ("0" if self.has("0") else " ") * missing + text


class _Printer:
    def __init__(self, arguments: tuple[Value, ...], meter: Meter) -> None:
        self._arguments = arguments
        self._meter = meter
        self._next = 0
        self._reordered = False
        self._bad_index = False
        self._parts: list[str] = []
        self._length = 0

    def run(self, template: str) -> str:
        position = 0
        while (found := template.find("%", position)) >= 0:
            self._write(template[position:found])
            directive = _DIRECTIVE.match(template, found)
            assert directive is not None  # the pattern matches a lone %
            self._write(self._directive(directive))
            position = directive.end()
        self._write(template[position:])
        if not self._reordered and self._next < len(self._arguments):
            self._write(self._extra())
        return "".join(self._parts)

    def _write(self, text: str) -> None:
        self._length += len(text)
        self._meter.spend(1)
        self._meter.admit_text(self._length)
        self._parts.append(text)

    def _extra(self) -> str:
        rest = self._arguments[self._next :]
        shown = ", ".join(
            "<nil>" if item is None else f"{values.type_name(item)}={self._default(item)}" for item in rest
        )
        return f"%!(EXTRA {shown})"

    def _directive(self, directive: re.Match[str]) -> str:
        self._bad_index = False
        flags = directive["flags"]
        self._reorder(directive["width_index"] if directive["width"] == "*" or not directive["index"] else None)
        width, bad_width = self._measure(directive["width"])
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        self._reorder(directive["precision_index"])
        precision, bad_precision = self._measure(directive["precision"])
        if directive["dot"] and precision is None and not bad_precision:
            precision = 0
        if precision is not None and precision < 0:
            precision, bad_precision = None, True
        self._reorder(directive["index"])
        complaint = ("%!(BADWIDTH)" if bad_width else "") + ("%!(BADPREC)" if bad_precision else "")
        verb = directive["verb"]
        if verb is None:
            return complaint + "%!(NOVERB)"
        if verb == "%":
            return complaint + "%"
        if self._bad_index:
            return f"{complaint}%!{verb}(BADINDEX)"
        if self._next >= len(self._arguments):
            return f"{complaint}%!{verb}(MISSING)"
        argument = self._arguments[self._next]
        self._next += 1
        return complaint + self._format(_Spec(verb, flags, width, precision), argument)

    def _reorder(self, index: str | None) -> None:
        if index is None:
            return
        self._reordered = True
        body = index[1:-1]
        if body.isascii() and body.isdigit() and 1 <= int(body[:9]) <= len(self._arguments):
            self._next = int(body[:9]) - 1
        else:
            self._bad_index = True

    def _measure(self, text: str | None) -> tuple[int | None, bool]:
        """A width or precision, and whether a given one is unusable."""
        if text is None:
            return None, False
        if text != "*":
            number = int(text[:9])
            return (number, False) if number <= MAX_WIDTH else (None, True)
        if self._next >= len(self._arguments):
            return None, True
        value = self._arguments[self._next]
        self._next += 1
        usable = isinstance(value, Int) and abs(value) <= MAX_WIDTH
        return (int(value), False) if usable else (None, True)

    # Verbs

    def _format(self, spec: _Spec, value: Value) -> str:
        if spec.verb == "T":
            return spec.pad(values.type_name(value))
        if value is None:
            return spec.pad("<nil>") if spec.verb == "v" else f"%!{spec.verb}(<nil>)"
        if spec.verb == "v" and spec.has("#"):
            return spec.pad(jsontext.encode(value, self._meter, html=False))
        if spec.width:
            self._meter.admit_text(spec.width)
        self._meter.spend(1)
        match values.kind_of(value):
            case Kind.BOOL:
                text = "true" if value else "false"
                return spec.pad(text) if spec.verb in "tv" else self._mismatch(spec, value)
            case Kind.INT:
                return self._integer(spec, value)
            case Kind.FLOAT:
                return self._float(spec, values.as_float(value))
            case Kind.STRING:
                return self._string(spec, value)
            case Kind.LIST:
                return self._list(spec, value)
            case Kind.MAP:
                pairs = (
                    f"{self._element(spec, key)}:{self._element(spec, value[key])}"
                    for key in printing.sorted_keys(value)
                )
                return f"map[{' '.join(pairs)}]"
            case _:
                return self._string(spec, str(value)) if spec.verb in "vsqxX" else self._object(spec, value)

    def _list(self, spec: _Spec, items: list[Value]) -> str:
        return f"[{' '.join(self._element(spec, item) for item in items)}]"

    def _element(self, spec: _Spec, item: Value) -> str:
        text = "<nil>" if item is None and spec.verb != "T" else self._format(spec, item)
        self._meter.admit_text(len(text))
        return text

    def _object(self, spec: _Spec, value: Value) -> str:
        number = value.json_value()
        return self._integer(spec, Int(number)) if isinstance(number, int) else self._mismatch(spec, value)

    def _integer(self, spec: _Spec, value: int) -> str:
        if spec.verb in _BASES:
            return self._in_base(spec, int(value))
        if spec.verb == "c":
            return spec.pad(_character(value))
        if spec.verb == "q":
            return spec.pad("'" + _quoted_character(_character(value), quote="'") + "'")
        if spec.verb == "U":
            return spec.pad(f"U+{value % (1 << 64):04X}")
        return self._mismatch(spec, value)

    def _in_base(self, spec: _Spec, value: int) -> str:
        digits = format(abs(value), _BASES[spec.verb])
        if spec.precision is not None:
            digits = "" if spec.precision == 0 and value == 0 else digits.rjust(spec.precision, "0")
        sign = "-" if value < 0 else "+" if spec.has("+") else " " if spec.has(" ") else ""
        prefix = "0o" if spec.verb == "O" else _PREFIXES.get(spec.verb, "") if spec.has("#") else ""
        if spec.has("0") and not spec.has("-") and spec.precision is None and spec.width:
            digits = digits.rjust(spec.width - len(sign), "0")
        padding = _Spec(spec.verb, spec.flags.replace("0", ""), spec.width, None)
        return padding.pad(sign + prefix + digits)

    def _float(self, spec: _Spec, value: float) -> str:
        if spec.verb not in _FLOAT_VERBS:
            return self._mismatch(spec, value)
        text = printing.special_float_text(value) or _finite(spec, value)
        if text[0] not in "+-":
            text = ("+" if spec.has("+") else " " if spec.has(" ") else "") + text
        elif text.startswith("+") and not spec.has("+"):
            text = text if text == "+Inf" else text[1:]
        return spec.pad(text, numeric=text[-1].isdigit())

    def _string(self, spec: _Spec, text: str) -> str:
        if spec.verb in "sv":
            return spec.pad(text if spec.precision is None else text[: spec.precision])
        if spec.verb == "q":
            cut = text if spec.precision is None else text[: spec.precision]
            if spec.has("#") and "`" not in cut and all(char == "\t" or char.isprintable() for char in cut):
                return spec.pad(f"`{cut}`")
            return spec.pad(quoted(cut, ascii_only=spec.has("+")))
        if spec.verb in "xX":
            data = values.to_bytes(text)[: spec.precision]
            digits = data.hex(" ") if spec.has(" ") else data.hex()
            prefix = "0x" if spec.has("#") and data else ""
            shown = (
                prefix + digits if not (spec.has("#") and spec.has(" ")) else " ".join(f"0x{byte:02x}" for byte in data)
            )
            return spec.pad(shown.upper() if spec.verb == "X" else shown)
        return self._mismatch(spec, text)

    def _mismatch(self, spec: _Spec, value: Value) -> str:
        shown = self._format(replace(spec, verb="v", flags=spec.flags.replace("#", "")), value)
        return f"%!{spec.verb}({values.type_name(value)}={shown})"

    def _default(self, value: Value) -> str:
        return printing.default_text(value, self._meter)


def _finite(spec: _Spec, value: float) -> str:
    verb, precision = spec.verb, spec.precision
    if verb == "v":
        verb = "g"
    if precision is not None and precision > MAX_WIDTH:
        precision = MAX_WIDTH
    if verb in "xXb":
        return _binary(verb, value)
    if verb in "fF":
        if precision is None:
            precision = 6
        return f"{value:.{precision}f}"
    if verb in "eE":
        return f"{value:.{6 if precision is None else precision}{verb}}"
    if precision is None:
        text = printing.float_text(value) if not spec.has("#") else f"{value:#g}"
    else:
        text = f"{value:{'#' if spec.has('#') else ''}.{precision or 1}g}"
    return text.upper() if verb == "G" else text


def _binary(verb: str, value: float) -> str:
    """``0x1.8p+00``, or ``6755399441055744p-52`` for ``b``."""
    if verb == "b":
        fraction, exponent = math.frexp(value)
        return f"{int(fraction * (1 << _MANTISSA_BITS))}p{exponent - _MANTISSA_BITS:+d}"
    mantissa, _, exponent_text = value.hex().partition("p")
    whole, _, digits = mantissa.partition(".")
    digits = digits.rstrip("0")
    text = f"{whole}{'.' + digits if digits else ''}p{int(exponent_text):+03d}"
    return text.upper() if verb == "X" else text


def _character(code: int) -> str:
    valid = 0 <= code <= _LAST_CODE_POINT and not 0xD800 <= code < 0xE000
    return chr(code) if valid else "\N{REPLACEMENT CHARACTER}"


def _quoted_character(char: str, *, quote: str = '"', ascii_only: bool = False) -> str:
    if char == quote:
        return "\\" + quote
    if char in _QUOTE_ESCAPES and char not in "'\"":
        return _QUOTE_ESCAPES[char]
    if char.isprintable() and (char.isascii() or not ascii_only):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
