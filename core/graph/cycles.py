"""Finds a circle of needs, and names its steps.

Pure, iterative (a Story may be thousands of steps deep). A step that needs itself is a circle of one. Source: StoryRun
contract 8.3; naming the whole circle is an extension.
"""

from __future__ import annotations

from core.graph.needs import Graph


def find_cycle(graph: Graph) -> tuple[str, ...] | None:
    """One circle as ``(a, b, c, a)``, read "a needs b needs c needs a"; None when the graph is acyclic.

    Deterministic: the circle is the first found in spec order and starts at its first step in spec order.
    """
    finished: set[str] = set()
    for root in graph.order:
        if root in finished:
            continue
        path = [root]
        on_path = {root}
        branches = [iter(graph.needs[root])]
        while branches:
            step = next(branches[-1], None)
            if step is None:
                branches.pop()
                done = path.pop()
                on_path.remove(done)
                finished.add(done)
            elif step in on_path:
                return _from_first(graph, path[path.index(step) :])
            elif step not in finished:
                path.append(step)
                on_path.add(step)
                branches.append(iter(graph.needs[step]))
    return None


def _from_first(graph: Graph, circle: list[str]) -> tuple[str, ...]:
    start = min(range(len(circle)), key=lambda index: graph.position[circle[index]])
    turned = circle[start:] + circle[:start]
    return (*turned, turned[0])
