"""Every command in an ``sh`` or ``console`` block of README and docs works, in the order of its page.

All pages share one embedded cluster. Each has its own namespace, and its own folder with the files that it prints. A
command of an ``sh`` block must end with code 0. A command of a ``console`` block must print what the page says.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import pytest

from tests.e2e.documented_pages import NOT_PLAYED, PAGES, NotPlayed, Page, Until
from tests.integration.commandline import REPOSITORY, CommandLine, wait_until
from tests.integration.kubectl_binary import needs_kubectl
from tests.integration.transcript import Command, File, Shell, difference, parts_of

T = TypeVar("T")

DOCS: Final = REPOSITORY / "docs"
FIRST_HOUR: Final = "first-hour.md"
"""Has a test of its own, tests/integration/test_first_hour.py."""
TEXTS: Final = {
    "README.md": (REPOSITORY / "README.md").read_text(encoding="utf-8"),
    **{
        page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8")
        for page in sorted(DOCS.rglob("*.md"))
        if page.name != FIRST_HOUR
    },
}
COMMANDS: Final = {
    page: [part for part in parts_of(text) if isinstance(part, Command)]
    for page, text in TEXTS.items()
    if "```sh\n" in text or "```console\n" in text
}


PYTHONPATH: Final = os.pathsep.join(str(REPOSITORY / each) for each in ("", "sdk", "impulses", "localcluster"))


PROGRAMS: Final = ("curl", "jq", "openssl", "pgrep")
"""Beside kubectl. A page with a command that needs a missing one is skipped."""
PATIENCE_SECONDS: Final = 180.0
"""Twelve containers start on a busy machine."""


class Home(CommandLine):
    """A user whose cluster keeps its data where it does so by default."""

    @property
    def data(self) -> Path:
        return self.folder / ".local" / "share" / "bobrapet"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"), {"PYTHONPATH": PYTHONPATH})
    yield home
    home.quick("down")
    home.wait_until_nothing_runs()


def checkout_of(home: Home, page: str) -> Path:
    """A folder with the files of this repository, and room for those of the page."""
    folder = home.folder / re.sub(r"\W", "-", page.removesuffix(".md")).lower()
    folder.mkdir()
    for entry in REPOSITORY.iterdir():
        if entry.name not in (".git", ".venv", "report"):
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    return folder


def why_not_played(page: str, command: str) -> str:
    return next((row.reason for row in NOT_PLAYED if row.matches(page, command)), "")


def words_of(page: str) -> set[str]:
    """The words of all commands of the page that are played."""
    played = [each.text for each in COMMANDS[page] if not why_not_played(page, each.text)]
    return set(re.findall(r"\w+", " ".join(played)))


def any_is_played(page: str) -> bool:
    return not all(why_not_played(page, command.text) for command in COMMANDS[page])


@pytest.mark.kubectl
@needs_kubectl
@pytest.mark.parametrize("name", [name for name in COMMANDS if any_is_played(name)])
def test_every_command_of_the_page_works(name: str, home: Home) -> None:
    page = PAGES.get(name, Page())
    if lacking := [each for each in PROGRAMS if each in words_of(name) and shutil.which(each) is None]:
        pytest.skip(f"not on PATH: {', '.join(lacking)}")
    folder = checkout_of(home, name)
    namespace = page.namespace or f"page-{folder.name}"
    shown = {str(folder): "/app", **({} if page.namespace else {namespace: "default"})}
    shell = Shell(home, folder, shown=shown, is_terminal=page.is_terminal)
    if page.is_up:
        enter(shell, namespace)
    printed = {part.name: part.text for part in reversed([*parts_of(TEXTS[name])]) if isinstance(part, File)}
    for file, text in {**printed, **page.files}.items():
        (folder / file).write_text(text)
    prepare(shell, page.first)
    for part in parts_of(TEXTS[name]):
        if isinstance(part, File):
            (folder / part.name).write_text(part.text)
        elif not why_not_played(name, part.text):
            play(shell, page, part)


def enter(shell: Shell, namespace: str) -> None:
    """Start the cluster, and make the namespace that of all commands without another one."""
    succeed(shell, "export KUBECONFIG=$(bobrapet up)")
    succeed(shell, f"kubectl get namespace {namespace} || kubectl create namespace {namespace}")
    succeed(shell, f"kubectl config set-context --current --namespace={namespace}")


def prepare(shell: Shell, commands: Iterable[str | Until]) -> None:
    for each in commands:
        if isinstance(each, str):
            succeed(shell, each)
        else:
            wait_until(partial(is_there, shell, each), seconds=PATIENCE_SECONDS)


def is_there(shell: Shell, wanted: Until) -> bool:
    return re.search(wanted.pattern, shell.play(wanted.command).printed) is not None


def play(shell: Shell, page: Page, command: Command) -> None:
    text = re.sub(r"\b[A-Z]+\b", lambda word: page.words.get(word[0], word[0]), command.text)
    for written, instead in page.replaced.items():
        text = text.replace(written, instead)
    prepare(shell, of_beginning(page.before, text, ()))
    if text.startswith(page.asks):
        text = re.sub(r"^(bobrapet [^#]*[^# ])", r"\1 --yes", text)
    typed = of_beginning(page.typed, text, "")
    if command.printed is None:
        succeed(shell, text, typed)
        return
    printed = shell.play(text, typed).printed
    wrong = difference(command.printed, printed)
    assert not wrong, f"$ {text}\n{wrong}\n\nall of it:\n{printed}"


def of_beginning(known: Mapping[str, T], command: str, otherwise: T) -> T:
    return next((value for beginning, value in known.items() if command.startswith(beginning)), otherwise)


def succeed(shell: Shell, command: str, typed: str = "") -> None:
    played = shell.play(command, typed)
    assert played.code == 0, f"$ {command}\nexit code {played.code}\n{played.printed}"


@pytest.mark.parametrize("row", NOT_PLAYED, ids=lambda row: row.command)
def test_every_exception_is_still_needed(row: NotPlayed) -> None:
    assert any(row.matches(page, each.text) for page, commands in COMMANDS.items() for each in commands)


def test_every_page_with_a_setup_has_commands() -> None:
    assert set(PAGES) <= set(COMMANDS)
