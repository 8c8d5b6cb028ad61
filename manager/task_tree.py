"""Trio's task tree as lines of text: the tasks, and where each one waits.

A task is listed below the task that owns its nursery. No variable is read, so no data of a run can appear, only names
of tasks (which may contain names of runs and steps), modules and line numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from trio.lowlevel import Task

PACKAGES: Final = frozenset(
    {
        *("bobrapet", "bubu_sdk", "certs", "cli", "core", "hub", "kubewire", "localcluster"),
        *("manager", "reconcilers", "views", "webhooks"),
    }
)
"""Top-level packages of this project; the innermost frames in them show where a task waits."""
MOST_TASKS: Final = 2_000
_MOST_NAME_CHARACTERS: Final = 200
_MODULES: Final = 3
"""Modules that are shown for a task; the innermost one alone is often a general wait function."""


@dataclass
class _Node:
    """A task and the tasks of its nurseries, the outermost nursery first; nurseries without tasks are left out."""

    task: Task
    nurseries: list[list[_Node]] = field(default_factory=list)
    size: int = 1
    """Tasks in the tree below and including this one."""


def lines_of(root: Task, *, packages: Collection[str] = PACKAGES, most: int = MOST_TASKS) -> list[str]:
    """One line for each of the first ``most`` tasks at and below ``root``: ``NAME at MODULE:LINE > …``, indented.

    Nurseries have a line of their own if a task has several. Small trees come before large ones in a nursery, so that
    the part that is cut off is the largest, with the most runs. A last line counts the tasks that were cut off.
    """
    tree = _tree(root)
    lines: list[str] = []
    shown = 0
    pending: list[tuple[int, _Node | str]] = [(0, tree)]
    while pending and shown < most:
        depth, entry = pending.pop()
        indent = "  " * depth
        if isinstance(entry, str):
            lines.append(f"{indent}{entry}")
            continue
        shown += 1
        lines.append(f"{indent}{_name(entry.task)} at {_place(entry.task, packages)}")
        pending.extend(reversed([(depth + below, inner) for below, inner in _below(entry)]))
    if shown < tree.size:
        lines.append(f"and {tree.size - shown} more")
    return lines


def _tree(root: Task) -> _Node:
    """The tree, built without recursion, because Stories decide how deep nurseries are nested."""
    top = _Node(root)
    nodes = [top]
    parents: list[_Node | None] = [None]
    for node in nodes:  # grows meanwhile: parents come before their children
        for nursery in node.task.child_nurseries:
            children = [_Node(task) for task in nursery.child_tasks]
            if children:
                node.nurseries.append(children)
                nodes.extend(children)
                parents.extend([node] * len(children))
    for node, parent in zip(reversed(nodes), reversed(parents), strict=True):
        if parent is not None:
            parent.size += node.size
    return top


def _below(node: _Node) -> Iterator[tuple[int, _Node | str]]:
    """The entries below a task, each with its additional indentation."""
    several = len(node.nurseries) > 1
    for number, children in enumerate(node.nurseries, start=1):
        if several:
            yield 1, f"nursery {number}"
        for child in sorted(children, key=lambda child: (child.size, child.task.name)):
            yield 2 if several else 1, child


def _name(task: Task) -> str:
    """The task's name as printable text on one line."""
    name = task.name if len(task.name) <= _MOST_NAME_CHARACTERS else f"{task.name[:_MOST_NAME_CHARACTERS]}…"
    return name if name.isprintable() else ascii(name)


def _place(task: Task, packages: Collection[str]) -> str:
    """The innermost modules of the project that wait, each with its innermost line; the last one waits itself.

    For a task without such a module, the innermost of all modules.
    """
    ours: deque[tuple[str, int]] = deque(maxlen=_MODULES)
    innermost = "its end"
    for frame, line in task.iter_await_frames():
        module = str(frame.f_globals.get("__name__", "?"))
        innermost = f"{module}:{line}"
        if module.partition(".")[0] in packages:
            if ours and ours[-1][0] == module:
                ours.pop()
            ours.append((module, line))
    return " > ".join(f"{module}:{line}" for module, line in ours) or innermost
