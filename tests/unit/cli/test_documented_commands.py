"""Command lines, manifests and settings in the documents are correct: command line, lint and operator take them.

A block of ``sh``, ``console`` or ``text`` and a code span are read; a word in capitals or ``…`` stands for a value. A
manifest with ``...`` or ``…`` in it is a fragment, which is not checked, and so is a block without ``apiVersion``.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import typer
from ruamel.yaml import YAML

from cli.app import whole_app
from cli.linting import check, read_documents, world_of_files
from cli.verbs.init import files_of
from core.policy.config import parse_config

ROOT: Final = Path(__file__).parents[3]
DOCUMENTS: Final = sorted(
    (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "sdk" / "README.md", ROOT / "impulses" / "README.md")
)
SHELLS: Final = ("sh", "bash", "console", "shell", "text")
WITH_OUTPUT: Final = ("console", "text")
"""Here only what follows a ``$`` is typed."""
FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SPAN: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")
STARTS: Final = re.compile(
    r"^\s*(?:\$ )?(?:.*(?:\$\(|<\(|\| *)|(?:[A-Z_]+=\S+ )+|! )?((?:kubectl[ -])?bobrapet\s+\S.*)"
)
ENDS: Final = re.compile(r"\s(?:[|;#]|&&|&$|>|2>|<)\s?.*$")
OURS: Final = "bubustack.io/"


class Line(NamedTuple):
    """A command line in a document; ``is_whole``: it stands in a block, so that no argument may be missing."""

    document: str
    text: str
    is_whole: bool


def texts() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        yield document.relative_to(ROOT).as_posix(), document.read_text(encoding="utf-8")
    yield "README.md that init writes", files_of("words")["README.md"]


def lines() -> Iterator[Line]:
    for document, text in texts():
        for _, language, block in FENCE.findall(text):
            if language in SHELLS:
                for line in block.replace("\\\n", " ").splitlines():
                    is_typed = language not in WITH_OUTPUT or line.lstrip().startswith("$ ")
                    if is_typed and not line.lstrip().startswith("#"):
                        yield from (Line(document, found, True) for found in commands(line))
        for span in SPAN.findall(FENCE.sub("", text)):
            found = " ".join(span.split())
            if found.startswith("bobrapet ") and re.match(r"[a-z]", found[9:]):
                yield from (Line(document, each, False) for each in commands(found))


def commands(line: str) -> Iterator[str]:
    """The commands of ours in a line of a shell."""
    for part in re.split(r"&&|\|\||;", line):
        if match := STARTS.search(part):
            yield ENDS.sub("", match[1])


LINES: Final = sorted(set(lines()))


@cache
def root() -> Any:
    return typer.main.get_command(whole_app())


def why_wrong(line: Line) -> str:
    """What the command line would answer; empty: it accepts the line."""
    text = re.sub(r"\$\(([^)]*)\)", "SUBSTITUTED", line.text.partition(" #")[0]).replace(")", "")
    words = [
        word.lower() if word.isupper() and word[0].isalpha() else word
        for word in shlex.split(text)
        if word not in ("…", "...")
    ]
    words = words[words.index("bobrapet") + 1 :] if "bobrapet" in words else words[1:]
    command: Any = root()
    names: list[str] = []
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name not in command.commands:
            return f"there is no command {' '.join([*names, name])}"
        command, names = command.commands[name], [*names, name]
    if hasattr(command, "commands"):
        return "" if not line.is_whole else f"{' '.join(names)} needs a verb"
    try:
        command.make_context(" ".join(names), list(words), resilient_parsing=not line.is_whole)
        command.make_parser(command.context_class(command)).parse_args(list(words))
    except Exception as error:  # the library's own class of usage errors has no public name
        if type(error).__name__ == "Exit" or (not line.is_whole and "requires an argument" in str(error)):
            return ""
        return f"{type(error).__name__}: {getattr(error, 'message', '') or error}"
    return ""


def test_the_documents_have_command_lines() -> None:
    assert sum(line.is_whole for line in LINES) > 45
    assert len(LINES) > 200


@pytest.mark.parametrize("document", sorted({line.document for line in LINES}))
def test_every_command_line_is_accepted(document: str) -> None:
    wrong = {line.text: why for line in LINES if line.document == document and (why := why_wrong(line))}

    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bobrapet submit hello --wach", "--wach"),
        ("bobrapet sumbit hello", "no command sumbit"),
        ("bobrapet get", "Missing parameter: run"),
        ("bobrapet stream", "needs a verb"),
        ("bobrapet storage usage --delete", "--delete"),
    ],
)
def test_a_wrong_command_line_is_noticed(text: str, problem: str) -> None:
    assert problem in why_wrong(Line("test", text, True))


def test_a_wrong_option_is_noticed_where_arguments_may_be_missing() -> None:
    assert "-f" in why_wrong(Line("test", "bobrapet lint -f", False))
    assert why_wrong(Line("test", "bobrapet lint --cluster", False)) == ""


class Manifest(NamedTuple):
    """A block of YAML, and its number among all blocks of its document."""

    document: str
    number: int
    text: str


FRAGMENT: Final = re.compile(r"\.\.\.$|…", re.MULTILINE)


def yaml_blocks() -> Iterator[Manifest]:
    """Without fragments."""
    for document, text in texts():
        for number, (indent, language, block) in enumerate(FENCE.findall(text)):
            if language == "yaml" and not FRAGMENT.search(block):
                yield Manifest(document, number, "\n".join(line[len(indent) :] for line in block.splitlines()))


YAML_BLOCKS: Final = list(yaml_blocks())
MANIFESTS: Final = [block for block in YAML_BLOCKS if OURS in block.text and "apiVersion" in block.text]


def test_the_documents_have_manifests() -> None:
    assert len(MANIFESTS) > 20


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: f"{manifest.document}-{manifest.number}")
def test_every_manifest_is_without_errors(manifest: Manifest) -> None:
    documents, found = read_documents([(manifest.document, manifest.text)])
    found += check(documents, world_of_files(documents, ""), "")

    errors = [
        f"{each.place[0]}: {each.finding.path}: {each.finding.message}"
        for each in found
        if str(each.finding.severity) == "error"
    ]
    assert errors == []


def settings() -> Iterator[tuple[str, dict[str, str]]]:
    """The values for the operator's ConfigMap that the documents show."""
    for block in YAML_BLOCKS:
        for found in YAML(typ="safe", pure=True).load_all(block.text) if "data:" in block.text else ():
            if isinstance(found, dict) and (found.get("kind") == "ConfigMap" or found.keys() == {"data"}):
                yield block.document, found["data"]


def test_every_setting_that_the_documents_show_is_accepted() -> None:
    shown = list(settings())
    wrong = [(document, parsed) for document, data in shown if (parsed := parse_config(data)).errors or parsed.warnings]

    assert len(shown) > 5
    assert wrong == []


def test_every_block_of_python_can_be_read() -> None:
    blocks = [
        (document, block)
        for document, text in texts()
        for _, language, block in FENCE.findall(text)
        if language == "python"
    ]

    assert len(blocks) > 15
    for document, block in blocks:
        ast.parse(block, document)


def test_every_target_of_make_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    named = {
        (document, name)
        for document, text in texts()
        for code in (
            *SPAN.findall(FENCE.sub("", text)),
            *(block for _, language, block in FENCE.findall(text) if language in SHELLS),
        )
        for name in re.findall(r"(?:^|\n) *make ([a-z][a-z0-9-]*)", code)
    }

    assert len(named) > 20
    assert [each for each in sorted(named) if each[1] not in targets] == []


def test_every_file_of_this_repository_that_a_command_reads_exists() -> None:
    named = {
        (document, path)
        for document, text in texts()
        for _, language, block in FENCE.findall(text)
        if language in SHELLS
        for path in re.findall(r"(?<![\w/.:])(?:\$PWD/)?((?:examples|manifests|impulses|docs|tests)/[\w./-]+)", block)
    }

    assert len(named) > 10
    assert [each for each in sorted(named) if not (ROOT / each[1]).exists()] == []
