"""Rules for every template: its analysis names all steps that it reads, and its printed text has the same tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.expressions import TemplateSyntaxError, references_of
from core.expressions.expression import FUNCTIONS
from core.expressions.template import nodes, parser


class Watched(dict[str, Any]):
    """A map that records which of its keys were read."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        super().__init__(items)
        self.touched: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.touched.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.touched.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.touched.update(super().keys())
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        self.touched.add(key)
        return super().get(key, default)

    def values(self) -> Any:
        self.touched.update(super().keys())
        return super().values()

    def items(self) -> Any:
        self.touched.update(super().keys())
        return super().items()


def unnamed_steps(template: str, touched: set[str]) -> set[str]:
    """Steps that an evaluation of ``template`` has read, but that its analysis does not name."""
    found = references_of(template)
    return set() if found.unknown_steps else touched - found.steps


def changed_by_printing(template: str) -> str | None:
    """The printed text of the template's tree if it has another tree; ``None`` also for a template without a tree."""
    try:
        tree = parser.parse(template, FUNCTIONS)
    except TemplateSyntaxError:
        return None
    printed = nodes.render(tree)
    try:
        if parser.parse(printed, FUNCTIONS) == tree and nodes.render(parser.parse(printed, FUNCTIONS)) == printed:
            return None
    except TemplateSyntaxError:
        pass
    return printed
