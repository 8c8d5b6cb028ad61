"""The repository itself: sizes, public docstrings, links, licenses."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.packages import PACKAGES, ROOT, folder_of

MODULES = sorted(path for folder in (*map(folder_of, PACKAGES), ROOT / "tools") for path in folder.rglob("*.py"))
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "sdk").glob("*.md"),
        *(ROOT / "impulses").glob("*.md"),
        *(ROOT / "localcluster").glob("*.md"),
        *(ROOT / "deployment" / "charts").rglob("*.md"),
    ]
)

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 80
MAX_TEST_LINES = 800

_LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)")
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_LINK_TEXT = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class Outline(NamedTuple):
    says_what_it_promises: bool
    functions: tuple[tuple[int, str, int], ...]
    """Of each: line, name, number of lines."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def outline_of(path: Path) -> Outline:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = tuple(
        (node.lineno, node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in _functions(tree.body)
    )
    return Outline(not tree.body or ast.get_docstring(tree) is not None, functions)


def _functions(body: Iterable[ast.AST]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions, nested ones, too. Expressions have none, and are most of a tree."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        if not isinstance(node, ast.expr):
            yield from _functions(ast.iter_child_nodes(node))


def test_no_module_is_longer_than_one_sitting() -> None:
    assert [name_of(path) for path in MODULES if len(path.read_text().splitlines()) > MAX_MODULE_LINES] == []


def test_no_test_module_is_a_book() -> None:
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "fuzz").rglob("*.py")]

    assert [name_of(path) for path in tests if len(path.read_text().splitlines()) > MAX_TEST_LINES] == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name_of(path)}:{line} {name}"
        for path in MODULES
        for line, name, length in outline_of(path).functions
        if length > MAX_FUNCTION_LINES
    ]

    assert long == []


def test_every_module_says_what_it_promises() -> None:
    assert [name_of(path) for path in MODULES if not outline_of(path).says_what_it_promises] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = _LINK.findall(_FENCED.sub("", path.read_text(encoding="utf-8")))
    targets = {(path.parent / target if target else path, anchor) for target, anchor in links}

    assert [name_of(target) for target, _ in targets if not target.exists()] == []
    documents = {(target, anchor) for target, anchor in targets if anchor and target.suffix == ".md"}
    assert [f"{target}#{anchor}" for target, anchor in documents if anchor not in anchors_of(target.resolve())] == []


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in _HEADING.findall(_FENCED.sub("", path.read_text(encoding="utf-8"))):
        words = _LINK_TEXT.sub(r"\1", heading).replace("`", "").strip().lower()
        plain = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(f"{plain}-{found.count(plain)}" if plain in found else plain)
    return frozenset(found)


def test_all_distributions_agree_on_licence_and_python() -> None:
    files = [ROOT / folder / "pyproject.toml" for folder in ("", "sdk", "impulses", "localcluster")]
    operator, *others = (tomllib.loads(file.read_text())["project"] for file in files)

    assert operator["license"] == "Apache-2.0"
    assert [other["license"] for other in others] == ["Apache-2.0"] * 3
    assert [other["requires-python"] for other in others] == [operator["requires-python"]] * 3
    assert set(others[-1]["dependencies"]) < set(operator["dependencies"]), "the operator has a copy of the cluster"


def test_every_runtime_dependency_is_bounded_and_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "tools/release/locks/requirements.lock").read_text()
    names = {re.split(r"[<>=\[ ]", requirement)[0] for requirement in project["dependencies"]} - {"bubu-sdk"}  # ours

    assert [text for text in project["dependencies"] if "<" not in text or ">=" not in text] == []
    assert [name for name in names if f"\n{name.lower().replace('.', '-')}==" not in lock] == []


_SHOWN_BY = re.compile(r"`((?:tests|fuzz)/[\w/]+\.py)(?:::(\w+))?`")


def test_each_line_of_the_threat_model_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("|---", "| attempt"))]
    named = [(path, name) for path, name in _SHOWN_BY.findall(text)]

    assert [row for row in rows if not _SHOWN_BY.search(row)] == []
    assert len(named) > 40
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or (name and f"def {name}(" not in (ROOT / path).read_text())
    ]
    assert missing == []
