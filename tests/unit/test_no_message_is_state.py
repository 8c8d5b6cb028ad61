"""Messages are for people. A message may come from a user or a container, so no program decides by it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tests.packages import PACKAGES, ROOT, folder_of

EXEMPT: Final = {
    "core/engine/step/legacy_states.py": "states that a version stored which had no reasons",
    "core/expressions/cel/compilation.py": "the reports of the CEL library, which have nothing but a text",
    "reconcilers/adapters/translation.py": "refusals of the API server, which share one reason",
    "reconcilers/story.py": "whether a finding stands in the status already, where findings are texts",
}
"""Modules that read a message, and the reason."""
SEARCHES: Final = frozenset(
    {
        *("startswith", "endswith", "removeprefix", "removesuffix"),
        *("find", "rfind", "index", "count", "partition", "rpartition", "split", "rsplit"),
        *("search", "match", "fullmatch", "finditer", "findall"),
    }
)


def is_message(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="message") | ast.Name(id="message"):
            return True
        case ast.Subscript(slice=ast.Constant(value="message")):
            return True
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value="message"), *_]):
            return True
        case ast.Call(func=ast.Name(id="str" | "one_line"), args=[argument]):
            return is_message(argument)
        case ast.BoolOp(values=values):
            return any(map(is_message, values))
    return False


def readings(source: str) -> Iterator[int]:
    """The lines that compare or search a message. Code may check whether there is one."""
    if "message" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare(left=left, comparators=others, ops=ops):
                if not all(isinstance(op, (ast.Is, ast.IsNot)) for op in ops) and any(map(is_message, (left, *others))):
                    yield node.lineno
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments) if name in SEARCHES:
                if is_message(value) or any(map(is_message, arguments)):
                    yield node.lineno


def test_no_message_is_compared_or_searched() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        if package != "localcluster"  # its messages are those of Kubernetes, which clients read
        for path in sorted(folder_of(package).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in EXEMPT
        for line in readings(path.read_text())
    }
    assert found == set(), "store a reason beside the message, and decide by that"


def test_every_exemption_is_needed() -> None:
    assert [name for name in EXEMPT if not list(readings((ROOT / name).read_text()))] == []


def test_comparisons_and_searches_are_seen() -> None:
    sources = (
        "state.message == OTHER",
        "state.message.startswith(ENDED)",
        "'x' in str(entry.get('message') or '')",
        "PATTERN.search(error.message)",
        "entry['message'] != told",
    )
    assert [list(readings(source)) for source in sources] == [[1]] * len(sources)
    assert list(readings("text = state.message or 'none'\nstate.message is None")) == []
