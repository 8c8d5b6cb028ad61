"""Floats with the verbs of ``printf``. Source: templating contract 8.1 and 8.3."""

from __future__ import annotations

import math
from typing import Final

from core.expressions.template import printing
from core.expressions.template.directives import Directive

_FRACTION_BITS: Final = 52
_LEAST_EXPONENT: Final = -1074
_DEFAULT_PRECISION: Final = 6


def unsigned_text(value: float, directive: Directive) -> str:
    """The digits of a finite ``value`` without its sign, for a verb of ``bvgGxXfFeE``."""
    verb = "g" if directive.verb == "v" else "f" if directive.verb == "F" else directive.verb
    precision = directive.precision
    if precision is None and verb in "feE":
        precision = _DEFAULT_PRECISION
    text = _digits(abs(value), verb, precision)
    if directive.has("#") and verb != "b":
        text = _with_point(text, verb, _least_digits(directive.verb, precision))
    return text


def _digits(value: float, verb: str, precision: int | None) -> str:
    if verb == "b":
        return _as_power(value)
    if verb in "xX":
        text = _hexadecimal(value, precision)
        return text.upper() if verb == "X" else text
    if verb == "f":
        return f"{value:.{precision}f}"
    if verb in "eE":
        return f"{value:.{precision}{verb}}"
    text = printing.float_text(value) if precision is None else f"{value:.{precision or 1}g}"
    return text.upper() if verb == "G" else text


def _as_power(value: float) -> str:
    """``6755399441055744p-52``: an integer and a power of two."""
    fraction, exponent = math.frexp(value)
    exponent = max(exponent - 1 - _FRACTION_BITS, _LEAST_EXPONENT) if value else _LEAST_EXPONENT
    return f"{int(math.ldexp(value, -exponent)) if fraction else 0}p{exponent:+d}"


def _hexadecimal(value: float, precision: int | None) -> str:
    """``0x1.8p+00``; halves are rounded to even."""
    fraction, exponent = math.frexp(value)
    exponent = exponent - 1 if value else 0
    mantissa = int(fraction * 2 ** (_FRACTION_BITS + 1))
    bits = _FRACTION_BITS
    if precision is not None and 4 * precision < bits:
        dropped = bits - 4 * precision
        bits -= dropped
        half, rest = 1 << (dropped - 1), mantissa & ((1 << dropped) - 1)
        mantissa >>= dropped
        mantissa += rest > half or (rest == half and mantissa & 1)
        if mantissa >> (bits + 1):
            mantissa, exponent = mantissa >> 1, exponent + 1
    digits = f"{mantissa & ((1 << bits) - 1):0{bits // 4}x}" if bits else ""
    digits = digits.rstrip("0") if precision is None else digits.ljust(precision, "0")
    return f"0x{mantissa >> bits}{'.' + digits if digits else ''}p{exponent:+03d}"


def _least_digits(verb: str, precision: int | None) -> int:
    """The number of digits that ``#`` requires; none when the verb itself determines the number."""
    if verb not in "vgGx":
        return 0
    return _DEFAULT_PRECISION if precision is None else precision


def _with_point(text: str, verb: str, digits: int) -> str:
    """``text`` with a decimal point, and zeros up to ``digits`` significant digits."""
    marks = "pP" if verb in "xX" else "eE"
    end = next((index for index, char in enumerate(text) if char in marks), len(text))
    number, tail = text[:end], text[end:]
    significant = number.replace(".", "").lstrip("0")
    digits -= len(significant)
    if "." not in number:
        digits -= number == "0"
        number += "."
    return number + "0" * digits + tail
