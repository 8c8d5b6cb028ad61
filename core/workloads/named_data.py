"""Secrets and ConfigMaps that a step's inputs refer to, and those that an Engram may read. Pure.

All steps of a run share one account, so a reference in the inputs of one step is read with the permissions that the
Engram of another step requested. Source: SDK contract 1.3, StepRun contract 16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bubu_contract.references import CONFIG_MAP_REFERENCE, SECRET_REFERENCE
from core.workloads.runner_rules import Rule

_PLURALS: Final = {SECRET_REFERENCE: "secrets", CONFIG_MAP_REFERENCE: "configmaps"}
_KINDS: Final = {"secrets": "Secret", "configmaps": "ConfigMap"}


class Named(NamedTuple):
    """An object in a run's namespace; ``plural`` is ``secrets`` or ``configmaps``."""

    plural: str
    name: str

    def __str__(self) -> str:
        return f"{_KINDS[self.plural]} {self.name!r}"


def named_in(inputs: Any) -> set[Named]:
    """The objects of all references in ``inputs``, at any depth."""
    found: set[Named] = set()
    pending = [inputs]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            if len(value) == 1 and (named := _named(*next(iter(value.items())))):
                found.add(named)
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
    return found


def readable(rules: Iterable[Rule], wanted: Iterable[Named]) -> Iterator[Named]:
    """The objects in ``wanted`` that the rules let a container get."""
    known = list(rules)
    return (named for named in wanted if any(_allows(rule, named) for rule in known))


def _named(key: str, value: Any) -> Named | None:
    if key not in _PLURALS:
        return None
    name: Any = value.get("name") if isinstance(value, Mapping) else None
    if isinstance(value, str):
        name = value.partition(":")[0].rpartition("/")[2]
    return Named(_PLURALS[key], name.strip()) if isinstance(name, str) and name.strip() else None


def _allows(rule: Rule, named: Named) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        "" in (rule.get("apiGroups") or ())
        and named.plural in (rule.get("resources") or ())
        and "get" in (rule.get("verbs") or ())
        and (not names or named.name in names)
    )
