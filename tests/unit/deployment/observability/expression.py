"""What an expression of PromQL reads and how it groups, by a parser of PromQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import promql_parser

VARIABLES: Final = {"$__rate_interval": "5m"}


@dataclass
class Reading:
    """``series``: the labels that selectors name, by series; ``groups``: labels by which anything is grouped or
    matched.
    """

    series: dict[str, set[str]] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    is_grouped: bool = False


def read(expression: str) -> Reading:
    """Raises ``ValueError`` if the expression is not PromQL."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    found = Reading()
    for node in nodes_of(promql_parser.parse(expression)):
        selector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(selector, promql_parser.VectorSelector):
            matchers = {matcher.name for matcher in selector.matchers.matchers} - {"__name__"}
            found.series.setdefault(str(selector.name), set()).update(matchers)
        elif isinstance(node, promql_parser.AggregateExpr):
            found.is_grouped = True
            found.groups |= set(node.modifier.labels) if node.modifier is not None else set()
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            matching = node.modifier.matching
            found.groups |= set(matching.labels) if matching is not None else set()
    return found


def nodes_of(expression: Any) -> Iterator[Any]:
    """The expression and all its parts."""
    seen: list[Any] = []
    promql_parser.walk(expression, pre_visit=lambda node: seen.append(node))
    yield from seen
