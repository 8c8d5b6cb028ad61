"""Kubernetes quantities (``500m``, ``128Mi``, ``1e3``): parse, print, compare.

A quantity is an exact decimal number of its base unit (cores, bytes) together with the suffix family of its text.
Equality and order depend only on the number, so ``1000m == 1`` and ``1Ki == 1024``. Printing is canonical: no fraction,
and the largest suffix of the family that keeps the number whole. Digits below one nano are rounded up and magnitudes
beyond 2^63-1 are cut to it, as in the API server. Source: the quantity grammar of the Kubernetes API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from enum import StrEnum
from functools import total_ordering
from typing import Final


class Family(StrEnum):
    """The three ways to scale a number."""

    DECIMAL = "decimal"
    BINARY = "binary"
    EXPONENT = "exponent"


_DECIMAL_EXPONENTS: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_POWERS: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NUMBER = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d+))?", re.ASCII)
_NANO: Final = Decimal("1e-9")
_LARGEST: Final = Decimal(2**63 - 1)
_MAX_LENGTH: Final = 64
_MAX_EXPONENT: Final = 999
_EXACT: Final = Context(prec=1200, Emax=10**6, Emin=-(10**6))


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An amount in base units, e.g. cores or bytes."""

    amount: Decimal
    family: Family = Family.DECIMAL

    def __eq__(self, other: object) -> bool:
        return self.amount == other.amount if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.amount < other.amount

    def __hash__(self) -> int:
        return hash(self.amount)

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in the family of the left side."""
        return Quantity(_bounded(_EXACT.add(self.amount, other.amount)), self.family)

    def __str__(self) -> str:
        return format_quantity(self)

    @property
    def whole(self) -> int:
        """The amount rounded away from zero to whole base units, e.g. bytes."""
        return int(self.amount.to_integral_value(ROUND_UP, context=_EXACT))

    @property
    def milli(self) -> int:
        """The amount rounded away from zero to thousandths, e.g. milli-cores."""
        return int(_EXACT.scaleb(self.amount, 3).to_integral_value(ROUND_UP, context=_EXACT))


def parse_quantity(text: str) -> Quantity:
    """The quantity in ``text``.

    Raises:
        ValueError: not a quantity, or longer than 64 characters.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or (match[4] and abs(int(match[4])) > _MAX_EXPONENT):
        raise ValueError(f"{text[:_MAX_LENGTH]!r} is not a quantity; write for example 500m, 128Mi or 2")
    sign, digits, suffix, exponent = match.groups()
    number = Decimal(f"{sign}{digits}")
    if exponent is not None:
        return Quantity(_bounded(_EXACT.scaleb(number, int(exponent))), Family.EXPONENT)
    if suffix in _BINARY_POWERS:
        return Quantity(_bounded(_EXACT.multiply(number, Decimal(2 ** _BINARY_POWERS[suffix]))), Family.BINARY)
    return Quantity(_bounded(_EXACT.scaleb(number, _DECIMAL_EXPONENTS[suffix or ""])))


def format_quantity(quantity: Quantity) -> str:
    """The canonical text, which parses back to an equal quantity."""
    amount = quantity.amount
    if amount == 0:
        return "0"
    if quantity.family is Family.BINARY and abs(amount) >= 1024 and amount == amount.to_integral_value():
        return _binary(int(amount))
    exponent = next(exponent for exponent in range(18, -12, -3) if _is_whole(_EXACT.scaleb(amount, -exponent)))
    number = int(_EXACT.scaleb(amount, -exponent))
    if quantity.family is Family.EXPONENT:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{next(suffix for suffix, power in _DECIMAL_EXPONENTS.items() if power == exponent)}"


def _binary(amount: int) -> str:
    suffix = ""
    for candidate, power in _BINARY_POWERS.items():
        if amount % 2**power:
            break
        suffix = candidate
    return f"{amount // 2 ** _BINARY_POWERS.get(suffix, 0)}{suffix}"


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value(context=_EXACT)


def _bounded(amount: Decimal) -> Decimal:
    if abs(amount) > _LARGEST:
        return _LARGEST.copy_sign(amount)
    if _is_whole(amount):
        return amount
    return amount.quantize(_NANO, rounding=ROUND_UP, context=_EXACT)
