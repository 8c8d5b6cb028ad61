"""A newcomer's first hour: each command of docs/first-hour.md, in order, prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.commandline import REPOSITORY, CommandLine
from tests.integration.kubectl_binary import needs_kubectl
from tests.integration.transcript import Command, File, Shell, difference, parts_of

PAGE = (REPOSITORY / "docs" / "first-hour.md").read_text(encoding="utf-8")
VERBS = {
    *("up", "down", "run", "lint", "list", "get", "watch", "why", "logs", "timeline", "graph"),
    *("retry", "resubmit", "gates", "approve", "reject", "debug"),
}


@pytest.mark.kubectl
@needs_kubectl
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    shell = Shell(line)
    try:
        for part in parts_of(PAGE):
            if isinstance(part, File):
                line.file(part.name, part.text)
            elif part.printed is not None:
                printed = shell.play(part.text).printed
                wrong = difference(part.printed, printed)
                assert not wrong, f"$ {part.text}\n{wrong}\n\nall of it:\n{printed}"
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def test_the_page_shows_these_commands() -> None:
    played = [part for part in parts_of(PAGE) if isinstance(part, Command) and part.printed is not None]
    commands = [part.text.removeprefix("export KUBECONFIG=$(") for part in played]

    assert {text.split()[1].rstrip(")") for text in commands if text.startswith("bobrapet ")} == VERBS
    assert PAGE.count("\n$ ") == len(commands)
    assert PAGE.count("```sh\n") == 1, "the installation, which no test runs"


def test_only_pages_that_are_played_have_console_blocks() -> None:
    """README and docs are played (tests/e2e/test_documented_pages.py); other pages have ``text`` blocks."""
    others = [*REPOSITORY.glob("[!R]*.md"), *(REPOSITORY / "examples").rglob("*.md"), *REPOSITORY.glob("*/README.md")]

    assert [page.name for page in others if "```console\n" in page.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("page", "printed", "same"),
    [
        ("hello-kkq4k  Succeeded  1s", "hello-9rw2n  Succeeded  0.4s", True),
        ("hello-kkq4k  Succeeded  1s", "hello-kkq4k  Failed  1s", False),
        ("hello-kkq4k-greet-htfrb, Succeeded", "hello-jv2xl-greet-7965d, Succeeded", True),
        ("…\nend", "one\ntwo\nend", True),
        ("…\nend", "end\nmore", False),
        ("greet  1s ███", "greet  2m30s  ·░█", True),
        ("at 2026-11-29T10:24:43Z (2m ago)", "at 2027-01-02T03:04:05Z (<1s ago)", True),
        ("words: 2", "words: 3", False),
        ("one\ntwo", "one", False),
    ],
)
def test_only_names_times_and_what_the_page_leaves_out_may_differ(page: str, printed: str, same: bool) -> None:
    assert (difference(page, printed) == "") is same
