"""Amounts such as ``500m``, ``2`` or ``1.5Gi``, as exact numbers.

Source: apimachinery ``resource.Quantity``.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE]?)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


@functools.lru_cache(maxsize=1024, typed=True)
def amount(text: str | float) -> Fraction | None:
    """The number that ``text`` stands for; None when it is not a quantity. Cached: clusters use few amounts."""
    found = _FORM.fullmatch(str(text))
    if found is None:
        return None
    number, suffix = Fraction(found[1]), found[2]
    if suffix in _BINARY:
        return Fraction(number * 1024 ** _BINARY[suffix])
    if suffix in _DECIMAL:
        return Fraction(number * Fraction(10) ** _DECIMAL[suffix])
    exponent = int(suffix[1:])
    return Fraction(number * Fraction(10) ** exponent) if abs(exponent) <= 30 else None
