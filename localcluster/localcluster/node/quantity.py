"""Kubernetes quantities (``500m``, ``128Mi``, ``1e3``) as exact numbers, and the division of resourceFieldRef. Pure."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    **{letter: Fraction(10 ** (3 * power)) for power, letter in enumerate("MGTPE", start=2)},
    **{f"{letter}i": Fraction(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([a-zA-Z]*))")


def parse_quantity(text: str) -> Fraction:
    """The number that ``text`` stands for.

    Raises:
        ValueError: not a quantity.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or (match.group(3) or "") not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity; write a number and a suffix such as m, k, Mi or Gi")
    return Fraction(match.group(1) + (match.group(2) or "")) * _SUFFIXES[match.group(3) or ""]


def in_units(text: str, divisor: str) -> int:
    """The quantity in units of ``divisor``, rounded up; a divisor of 0 or an empty one counts as 1."""
    unit = parse_quantity(divisor or "1") or Fraction(1)
    return math.ceil(parse_quantity(text) / unit)
