"""``printf``: Go's verbs, value by value.

Mismatches are printed as in Go (``%!d(string=a)``), never raised. Source: templating contract 8.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from core.expressions.limits import Meter
from core.expressions.template import floats, printing, values
from core.expressions.template.directives import Directive, Scanner
from core.expressions.template.values import GoObject, Int, UInt8, UInt64, Value, ValueKind

_NIL: Final = "<nil>"
_FLOAT_VERBS: Final = "eEfFgGvxXb"
_TEXT_VERBS: Final = "vsqxX"
_QUOTE_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
_LAST_CODE_POINT: Final = 0x10FFFF
_BASES: Final = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES: Final = {"b": "0b", "x": "0x", "X": "0X"}
_LEAST_UNICODE_DIGITS: Final = 4
_BYTE_ORDER_MARK: Final = "\ufeff"


def sprintf(template: str, arguments: tuple[Value, ...], meter: Meter) -> str:
    """``template`` with its directives replaced.

    Raises:
        LimitExceededError: the text would be longer than a function may build.
    """
    printer = _Printer(meter)
    scanner = Scanner(template, arguments)
    for outcome in scanner.outcomes():
        if outcome.directive is None:
            printer.write(outcome.text)
        else:
            printer.add(outcome.directive, outcome.value)
    if scanner.rest:
        printer.write("%!(EXTRA ")
        for index, value in enumerate(scanner.rest):
            printer.write(", " if index else "")
            printer.write(_NIL if value is None else f"{values.type_name(value)}=")
            if value is not None:
                printer.add(Directive("v"), value)
        printer.write(")")
    return "".join(printer.parts)


def quoted(text: str, meter: Meter, *, ascii_only: bool = False) -> str:
    """``text`` as a Go string literal in double quotes; characters that cannot be printed are escaped."""
    if text.isprintable() and (text.isascii() or not ascii_only) and '"' not in text and "\\" not in text:
        return f'"{text}"'
    meter.spend(len(text))
    return '"' + "".join(_quoted_character(char, ascii_only=ascii_only) for char in text) + '"'


class _Printer:
    """Collects the parts of a text; checks the length of each part before it is built."""

    def __init__(self, meter: Meter) -> None:
        self.parts: list[str] = []
        self._meter = meter
        self._length = 0
        self._allowed = meter.limits.text_bytes

    def write(self, text: str) -> None:
        self._grow(len(text))
        self.parts.append(text)

    def _grow(self, length: int) -> None:
        self._length += length
        self._meter.spend(1)
        if self._length > self._allowed:
            self._meter.admit_text(self._length)

    def _pad(self, directive: Directive, text: str) -> None:
        """``text``, padded to its width: left-aligned with ``-``, with leading zeros with ``0``."""
        missing = directive.width - len(text)
        if missing <= 0:
            self.write(text)
            return
        self._grow(missing)
        fill = "0" if directive.has("0") and not directive.has("-") else " "
        self.parts += [text, fill * missing] if directive.has("-") else [fill * missing, text]
        self._grow(len(text))

    def add(self, directive: Directive, value: Value) -> None:
        """``value``, formatted by ``directive``."""
        if value is None:
            if directive.verb in "vT":
                self._pad(directive, _NIL)
            else:
                self.write(f"%!{directive.verb}({_NIL})")
            return
        if directive.verb == "T":
            self._pad(directive, values.type_name(value)[: directive.precision])
            return
        self._value(directive, value)

    def _value(self, directive: Directive, value: Value) -> None:
        match values.kind_of(value):
            case ValueKind.BOOL:
                if directive.verb in "tv":
                    self._pad(directive, "true" if value else "false")
                else:
                    self._mismatch(directive, value)
            case ValueKind.INT:
                self._integer(directive, value)
            case ValueKind.FLOAT:
                self._float(directive, values.as_float(value))
            case ValueKind.STRING:
                self._string(directive, value, value)
            case ValueKind.LIST:
                self._list(directive, value)
            case ValueKind.MAP:
                self._map(directive, value)
            case _:
                self._object(directive, value)

    def _mismatch(self, directive: Directive, value: Value) -> None:
        self.write(f"%!{directive.verb}({values.type_name(value)}=")
        shown = replace(directive, verb="v", as_literal=False)
        if isinstance(value, GoObject):
            self._pad(shown, str(value) if value.number is None else str(value.number))
        else:
            self._value(shown, value)
        self.write(")")

    # Collections

    def _element(self, directive: Directive, item: Value) -> None:
        if item is not None:
            self._value(directive, item)
        else:
            self.write("interface {}(nil)" if directive.as_literal else _NIL)

    def _list(self, directive: Directive, items: list[Value]) -> None:
        if directive.as_literal:
            self.write(values.type_name(items))
            if values.is_nil_list(items):
                self.write("(nil)")
                return
        start, separator, end = ("{", ", ", "}") if directive.as_literal else ("[", " ", "]")
        self.write(start)
        for index, item in enumerate(items):
            self.write(separator if index else "")
            self._element(directive, item)
        self.write(end)

    def _map(self, directive: Directive, mapping: dict[str, Value]) -> None:
        self.write(values.type_name(mapping) + "{" if directive.as_literal else "map[")
        separator, end = (", ", "}") if directive.as_literal else (" ", "]")
        self._meter.foresee(len(mapping))
        for index, key in enumerate(printing.sorted_keys(mapping)):
            self.write(separator if index else "")
            self._element(directive, key)
            self.write(":")
            self._element(directive, mapping[key])
        self.write(end)

    def _object(self, directive: Directive, value: GoObject) -> None:
        if directive.as_literal and value.number is not None:
            self._integer(directive, Int(value.number))
        elif directive.verb in _TEXT_VERBS:
            self._string(replace(directive, as_literal=False), str(value), value)
        elif value.number is not None:
            self._integer(directive, Int(value.number), value)
        else:
            self._mismatch(directive, value)

    # Numbers

    def _integer(self, directive: Directive, value: Int, shown_as: Value = None) -> None:
        if directive.as_literal and isinstance(value, (UInt8, UInt64)):
            self._in_base(replace(directive, verb="x", flags=directive.flags | {"#"}), int(value))
        elif directive.verb in _BASES:
            self._in_base(directive, int(value))
        elif directive.verb == "c":
            self._pad(directive, _character(value))
        elif directive.verb == "q":
            self._pad(directive, "'" + _quoted_character(_character(value), "'", ascii_only=directive.has("+")) + "'")
        elif directive.verb == "U":
            self._unicode(directive, value % (1 << 64))
        else:
            self._mismatch(directive, value if shown_as is None else shown_as)

    def _in_base(self, directive: Directive, value: int) -> None:
        digits = format(abs(value), _BASES[directive.verb])
        sign = "-" if value < 0 else "+" if directive.has("+") else " " if directive.has(" ") else ""
        spaced = directive.without("0")
        if directive.precision == 0 and value == 0:
            self._pad(spaced, "")
            return
        least = directive.precision or 0
        if directive.precision is None and directive.has("0") and not directive.has("-"):
            least = directive.width - len(sign)
        self._meter.admit_text(least)
        digits = digits.rjust(least, "0")
        prefix = _PREFIXES.get(directive.verb, "") if directive.has("#") else ""
        if directive.verb in "oO" and directive.has("#") and not digits.startswith("0"):
            digits = f"0{digits}"
        if directive.verb == "O":
            prefix = "0o"
        self._pad(spaced, sign + prefix + digits)

    def _unicode(self, directive: Directive, code: int) -> None:
        least = max(directive.precision or 0, _LEAST_UNICODE_DIGITS)
        self._meter.admit_text(least)
        text = f"U+{code:0{least}X}"
        if directive.has("#") and code <= _LAST_CODE_POINT and chr(code).isprintable():
            text += f" '{chr(code)}'"
        self._pad(directive.without("0"), text)

    def _float(self, directive: Directive, value: float) -> None:
        if directive.verb not in _FLOAT_VERBS:
            self._mismatch(directive, value)
            return
        if special := printing.special_float_text(value):
            self._special(directive.without("0"), special)
            return
        self._meter.admit_text(directive.precision or 0)
        text = floats.unsigned_text(value, directive)
        negative = value < 0 or (value == 0 and str(value).startswith("-"))
        sign = "-" if negative else "+" if directive.has("+") else " " if directive.has(" ") else ""
        missing = directive.width - len(sign) - len(text)
        if sign and missing > 0 and directive.has("0") and not directive.has("-"):
            self._meter.admit_text(missing)
            text = "0" * missing + text
        self._pad(directive, sign + text)

    def _special(self, directive: Directive, text: str) -> None:
        """Infinities and NaN; a plus sign belongs to the name only for infinities."""
        if text == "NaN":
            text = ("+" if directive.has("+") else " " if directive.has(" ") else "") + text
        elif text == "+Inf" and directive.has(" ") and not directive.has("+"):
            text = " Inf"
        self._pad(directive, text)

    # Texts

    def _string(self, directive: Directive, text: str, value: Value) -> None:
        """``text``, the string form of ``value``."""
        cut = text if directive.precision is None else text[: directive.precision]
        if directive.verb == "v" and directive.as_literal:
            self._pad(directive, quoted(cut, self._meter))
        elif directive.verb in "sv":
            self._pad(directive, cut)
        elif directive.verb == "q":
            raw = directive.has("#") and _can_be_raw(cut)
            self._pad(directive, f"`{cut}`" if raw else quoted(cut, self._meter, ascii_only=directive.has("+")))
        elif directive.verb in "xX":
            self._pad(directive, _hexadecimal(directive, values.to_bytes(text)[: directive.precision]))
        else:
            self._mismatch(directive, value)


def _hexadecimal(directive: Directive, data: bytes) -> str:
    if directive.has(" "):
        text = data.hex(" ")
        if directive.has("#"):
            text = " ".join(f"0x{digits}" for digits in text.split())
    else:
        text = ("0x" if directive.has("#") and data else "") + data.hex()
    return text.upper() if directive.verb == "X" else text


def _can_be_raw(text: str) -> bool:
    return not any(
        char in ("`", "\x7f", _BYTE_ORDER_MARK) or (char < " " and char != "\t") or "\ud800" <= char <= "\udfff"
        for char in text
    )


def _character(code: int) -> str:
    valid = 0 <= code <= _LAST_CODE_POINT and not 0xD800 <= code < 0xE000
    return chr(code) if valid else "\N{REPLACEMENT CHARACTER}"


def _quoted_character(char: str, quote: str = '"', *, ascii_only: bool = False) -> str:
    if char == quote:
        return "\\" + quote
    if char in _QUOTE_ESCAPES:
        return _QUOTE_ESCAPES[char]
    if char.isprintable() and (char.isascii() or not ascii_only):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
