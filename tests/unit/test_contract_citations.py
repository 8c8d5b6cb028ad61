"""A reader who finds ``StoryRun contract 11.6`` in the code can open ``docs/contract`` and read that section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

import pytest

from tests.packages import PACKAGES, ROOT, folder_of
from webhooks.validate.catalogue import RULES

CONTRACT: Final = ROOT / "docs" / "contract"
PAGES: Final = {
    "StoryRun": "storyrun.md",
    "StepRun": "steprun.md",
    "operator": "operator.md",
    "admission": "admission.md",
    "templating": "templating.md",
    "SDK": "sdk.md",
    "trigger": "triggers.md",
    "streaming": "streaming.md",
}
"""The subject of a citation and its page."""
FOLDERS: Final = (*map(folder_of, PACKAGES), *(ROOT / name for name in ("fuzz", "tests", "tools", "bench")))

_GAP: Final = r"[\s#]+"  # a citation may continue on the next line, also in a comment
_NUMBER: Final = r"\d+(?:\.\d+)*"
_BEGINNING: Final = re.compile(
    rf"\b(?P<subject>{'|'.join(PAGES)}){_GAP}contract\b,?{_GAP}\(?(?:sections?{_GAP})?(?P<number>{_NUMBER})",
    re.IGNORECASE,
)
_ASIDE: Final = rf'(?:{_GAP}\([^()]*\))?(?:,{_GAP}"[^"]*")?'
_FURTHER: Final = re.compile(
    rf"{_ASIDE}(?:(?P<range>{_GAP}to{_GAP}|[-–])|,{_GAP}(?:and{_GAP})?|{_GAP}and{_GAP})(?P<number>{_NUMBER})"
)
_HEADING: Final = re.compile(rf"^#{{2,4}} ({_NUMBER})\.? ", re.MULTILINE)
_FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


class Citation(NamedTuple):
    line: int
    subject: str
    """A key of ``PAGES``."""
    number: str


def citations_in(text: str) -> Iterator[Citation]:
    """Each section that ``text`` cites; ``8.1 to 8.3`` cites all three."""
    spelled = {subject.lower(): subject for subject in PAGES}
    for found in _BEGINNING.finditer(text):
        line, subject = 1 + text.count("\n", 0, found.start()), spelled[found["subject"].lower()]
        number = found["number"]
        yield Citation(line, subject, number)
        while further := _FURTHER.match(text, found.end()):
            between = _between(number, further["number"]) if further["range"] else []
            for each in (*between, further["number"]):
                yield Citation(line, subject, each)
            found, number = further, further["number"]


def _between(first: str, last: str) -> list[str]:
    """The subsections between two of the same section, without those two."""
    above, _, start = first.rpartition(".")
    same, _, end = last.rpartition(".")
    prefix = f"{above}." if above else ""
    return [f"{prefix}{number}" for number in range(int(start) + 1, int(end))] if above == same else []


@cache
def sections_of(page: str) -> frozenset[str]:
    return frozenset(_HEADING.findall(_FENCED.sub("", (CONTRACT / page).read_text(encoding="utf-8"))))


@cache
def citations() -> tuple[tuple[str, Citation], ...]:
    """Each file with its citations, in the code and in the documents."""
    files = [path for folder in FOLDERS for path in folder.rglob("*.py")] + [*(ROOT / "docs").rglob("*.md")]
    return tuple(
        (str(path.relative_to(ROOT)), citation)
        for path in sorted(files)
        for citation in citations_in(path.read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize("subject", PAGES)
def test_each_citation_leads_to_a_section(subject: str) -> None:
    known = sections_of(PAGES[subject])

    unknown = [
        f"{file}:{cited.line}: {subject} contract {cited.number}"
        for file, cited in citations()
        if cited.subject == subject and cited.number not in known
    ]

    assert not unknown, f"no such section in docs/contract/{PAGES[subject]}:\n" + "\n".join(unknown)


def test_each_rule_of_admission_names_a_section() -> None:
    """``bobrapet lint`` shows these sections to users."""
    known = sections_of(PAGES["admission"])

    assert [f"{rule.id}: {rule.section}" for rule in RULES if rule.section and rule.section not in known] == []


@pytest.mark.parametrize("subject", PAGES)
def test_the_code_cites_each_page(subject: str) -> None:
    assert any(cited.subject == subject for _, cited in citations())


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Source: StoryRun contract 11.6.", ["11.6"]),
        ("Source: storyrun contract 8, 11.2 to 11.5 and 15.", ["8", "11.2", "11.3", "11.4", "11.5", "15"]),
        ("StoryRun contract sections 4 and 17.", ["4", "17"]),
        ("Source: StoryRun contract\n11.4; nested primitives are ours, and 12 of them", ["11.4"]),
        ("# StoryRun contract\n# 1.1 and 1.2", ["1.1", "1.2"]),
        ("StoryRun contract 2.1 (phase writes), 3 (fields).", ["2.1", "3"]),
        ('StoryRun contract 10, "readiness", and 10.2', ["10", "10.2"]),
        ("StoryRun contract 8.1–8.3, 15.", ["8.1", "8.2", "8.3", "15"]),
        ("StoryRun contract (section 14), with", ["14"]),
        ("StoryRun contract 9 to 11.", ["9", "10", "11"]),
        ("StoryRun contract 3, which says more than 2 things", ["3"]),
        ("the StoryRun contract says so", []),
    ],
)
def test_citations_are_found_as_people_write_them(text: str, numbers: list[str]) -> None:
    assert [cited.number for cited in citations_in(text)] == numbers


def test_citations_of_several_subjects_are_told_apart() -> None:
    found = list(
        citations_in('"""A\n\nSource: StoryRun contract 1.2 to 1.4, StepRun contract 12, Operator contract 3."""')
    )

    assert found == [
        (3, "StoryRun", "1.2"),
        (3, "StoryRun", "1.3"),
        (3, "StoryRun", "1.4"),
        (3, "StepRun", "12"),
        (3, "operator", "3"),
    ]
