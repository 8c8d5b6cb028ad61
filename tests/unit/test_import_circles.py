"""No module imports itself through other modules, neither at run time nor for types, wherever the import is written."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp

from tests.packages import PACKAGES


def test_imports_have_one_direction() -> None:
    graph = grimp.build_graph(*PACKAGES, "fuzz", cache_dir=None)
    sorter = TopologicalSorter({each: graph.find_modules_directly_imported_by(each) for each in graph.modules})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise AssertionError(f"{circle}; move what both ends need into a module of its own") from None
