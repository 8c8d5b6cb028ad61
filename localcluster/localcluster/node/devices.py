"""Which extended resources and huge pages a Pod asks for, and which of them are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from localcluster.node.quantity import parse_quantity

Object = dict[str, Any]
Amounts = Mapping[str, Fraction]


def wanted_devices(spec: Object) -> dict[str, Fraction]:
    """The extended resources and huge pages that the containers of a Pod with this ``spec`` ask for."""
    wanted = _sum(map(_of_container, spec["containers"]))
    for container in spec.get("initContainers") or []:
        for name, amount in _of_container(container).items():
            wanted[name] = max(wanted.get(name, Fraction(0)), amount)
    return {name: amount for name, amount in wanted.items() if amount}


def missing_devices(wanted: Amounts, allocatable: Mapping[str, Any], held: Iterable[Amounts]) -> list[str]:
    """The resources with less free than ``wanted``."""
    taken = _sum(held)
    return [
        name
        for name, amount in sorted(wanted.items())
        if parse_quantity(str(allocatable.get(name, "0"))) - taken.get(name, 0) < amount
    ]


def _of_container(container: Object) -> dict[str, Fraction]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return {
        name: parse_quantity(str(amount))
        for name, amount in limits.items()
        if "/" in name or name.startswith("hugepages-")
    }


def _sum(amounts: Iterable[Amounts]) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for each in amounts:
        for name, amount in each.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total
