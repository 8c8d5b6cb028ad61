"""``docs/reasons.md`` has every machine-readable reason that production code can write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import pytest

from core.api.phases import ImpulseReason, LiveReason, Reason, StepReason
from core.workloads.effect_lease import ClaimReason
from core.workloads.trigger import TriggerReason

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
SECTIONS: Final = {section.partition("\n")[0]: section for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
FOLDERS: Final = ("core", "reconcilers", "hub", "manager", "certs", "webhooks")
RUNS_AND_STEPS: Final = ("Runs", "Steps that have ended", "Steps that wait", "Definitions")
WORD: Final = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+")
OF_THE_API_SERVER: Final = {"BadRequest", "AlreadyExists"}
"""Reasons in answers of admission, which Kubernetes defines."""


def rows(*sections: str) -> dict[str, list[str]]:
    """First cell → the other cells, of all tables in these sections."""
    found: dict[str, list[str]] = {}
    for section in sections:
        for line in SECTIONS[section].splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| `"):
                found[cells[0].strip("`")] = cells[1:]
    return found


@pytest.mark.parametrize(
    ("reasons", "sections"),
    [
        (Reason, RUNS_AND_STEPS),
        (StepReason, RUNS_AND_STEPS),
        (LiveReason, ("Stories that are always on",)),
        (TriggerReason, ("StoryTriggers",)),
        (ImpulseReason, ("Impulses",)),
        (ClaimReason, ("EffectClaims",)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_reason_has_a_row_in_its_section(reasons: type[StrEnum], sections: tuple[str, ...]) -> None:
    assert [str(reason) for reason in reasons if str(reason) not in rows(*sections)] == []


def test_every_row_says_what_it_means_and_what_to_do() -> None:
    empty = [reason for reason, cells in rows(*SECTIONS).items() if not all(cells[:2])]

    assert len(rows(*SECTIONS)) > 100
    assert empty == []


def test_every_other_word_that_the_code_writes_is_on_the_page() -> None:
    assert len(WRITTEN) > 30
    assert [each for each in sorted(WRITTEN) if f"`{each[1]}`" not in PAGE and each[1] not in OF_THE_API_SERVER] == []


def test_no_row_is_of_a_reason_that_nothing_writes() -> None:
    enums: tuple[type[StrEnum], ...] = (Reason, StepReason, LiveReason, TriggerReason, ImpulseReason, ClaimReason)
    known = {str(reason) for enum in enums for reason in enum} | {word for _, word in WRITTEN}

    assert [reason for reason in rows(*SECTIONS) if reason not in known] == []


def reasons_in(tree: ast.Module) -> Iterator[str]:
    """Words in capitals that are written as a reason: of an Event, by the keyword ``reason``, in a returned pair."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="emit" | "record")) | ast.Call(func=ast.Name(id="RerunPlan")):
                yield from words(node.args)
            case ast.keyword(arg="reason", value=value):
                yield from words([value])
            case ast.Return(value=ast.Tuple(elts=[first, *_])) | ast.Assign(value=ast.Tuple(elts=[*_, first])):
                yield from words([first])


def words(nodes: Iterable[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Constant(value=str() as text) if WORD.fullmatch(text):
                yield text
            case ast.IfExp(body=body, orelse=orelse):
                yield from words([body, orelse])
            case ast.Name(id=name) if name in CONSTANTS:
                yield CONSTANTS[name]


SOURCES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
CONSTANT: Final = re.compile(r'^(\w+): Final = "([A-Z]\w+)"$', re.MULTILINE)
CONSTANTS: Final = {
    name: text for source in SOURCES.values() for name, text in CONSTANT.findall(source) if WORD.fullmatch(text)
}
SUSPECT: Final = re.compile(r'\.(?:emit|record)\(|\breason=|\bRerunPlan\(|return "[A-Z]|, "[A-Z]\w+"$', re.MULTILINE)
"""Only modules with such text are parsed, because parsing all takes seconds."""
WRITTEN: Final = {
    (path, word) for path, source in SOURCES.items() if SUSPECT.search(source) for word in reasons_in(ast.parse(source))
}
