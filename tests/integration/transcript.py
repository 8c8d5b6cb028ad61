"""Plays the commands of a page of the docs in order, and compares what they print with the page.

A page has three kinds of blocks: ``console`` blocks have commands, each after ``$``, and what they print; ``sh`` blocks
have commands only; a block after a line that ends with a file's name is that file.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from cli.main import main
from tests.integration.commandline import DEADLINE_SECONDS, CommandLine, in_place_of_this_process
from tests.integration.kubectl_binary import KUBECTL

_BLOCK: Final = re.compile(
    r"(?:^(?:[^\n]* )?`(?P<file>[\w.-]+)`:\n\n)?^(?P<indent> *)```(?P<kind>\w+)\n(?P<text>.*?)^ *```$", re.M | re.S
)
_SIMPLE: Final = re.compile(r"bobrapet [^|;&<>()`*?{}]+")
"""A command line that needs no shell."""
_OF_ITS_OWN: Final = ("bobrapet up", "bobrapet hub")
"""Need a process: the first one leaves processes behind, the second one waits for signals."""
_ANY: Final = "…"
"""A line that stands for any number of lines."""

_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"-[b-df-hj-np-tv-z2-9]{5}\b"), "-NAME"),
    (re.compile(r"(<|\b)\d+(\.\d+)?(ms|s|m|h|d)(\d+[smh])?\b"), "DURATION"),
    (re.compile(r"https://127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\(process \d+\)"), "(PROCESS)"),
    (re.compile(r"[░█▒═─▄╌·]+"), ""),
    (re.compile(r"[ \t]+"), " "),
)
"""What differs from run to run, and from machine to machine. The width of columns depends on it, too.

Names come before durations: the end of a name can look like one, such as `-7965d`.
"""


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """``printed``: by the page; None in a block that has commands only."""

    text: str
    printed: str | None


def parts_of(page: str) -> Iterator[File | Command]:
    """Files and commands in the order of the page."""
    for block in _BLOCK.finditer(page):
        body = re.sub(f"^{block['indent']}", "", block["text"], flags=re.M)
        if block["kind"] == "console":
            for text in re.split(r"^\$ ", body, flags=re.M)[1:]:
                command, _, printed = text.partition("\n")
                yield Command(command, printed)
        elif block["kind"] == "sh":
            yield from (Command(text, None) for text in _commands(body))
        elif block["file"]:
            yield File(block["file"], body)


def _commands(block: str) -> Iterator[str]:
    """The commands of a block; one may have several lines."""
    begun: list[str] = []
    for line in block.splitlines():
        if begun or (line.strip() and not line.startswith("#")):
            begun.append(line)
            text = "\n".join(begun)
            if (
                not line.endswith("\\")
                and subprocess.run(["bash", "-n", "-c", text], capture_output=True).stderr == b""
            ):
                yield text
                begun = []
    assert not begun, f"this command has no end: {begun}"


def difference(expected: str, printed: str) -> str:
    """Empty if ``printed`` is what the page expects; otherwise both, compared."""
    wanted, got = _settled(expected), _settled(printed)
    pattern = "".join(r"(?:.*\n)*" if line == _ANY else re.escape(line) + r"\n" for line in wanted)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in got)):
        return ""
    return "\n".join(difflib.unified_diff(wanted, got, "page", "printed", lineterm=""))


def _settled(text: str) -> list[str]:
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.strip().splitlines()]


class Played(NamedTuple):
    code: int
    printed: str
    """On both streams, with the paths that the page shows."""


class Shell:
    """Somebody who types what the page says, in the folder of ``line``, or in ``folder``."""

    def __init__(
        self,
        line: CommandLine,
        folder: Path | None = None,
        *,
        shown: Mapping[str, str] | None = None,
        is_terminal: bool = False,
    ) -> None:
        """``shown``: what the page writes instead of texts that are different here. ``is_terminal``: a person reads
        standard output."""
        self._line = line
        self._folder = folder or line.folder
        self._is_terminal = is_terminal
        self._shown = {str(line.data): "~/.local/share/bobrapet", str(self._folder): "~/first-hour", **(shown or {})}
        programs = [
            str(Path(sys.executable).parent),
            str(Path(str(KUBECTL)).parent),
            os.environ.get("PATH", os.defpath),
        ]
        self._variables = {
            **line.env,
            "PATH": os.pathsep.join(programs),
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "PWD": str(self._folder),
        }

    def play(self, command: str, typed: str = "") -> Played:
        """Run the command; variables, functions and the folder that it sets stay for the next one.

        ``typed``: what it reads from standard input.
        """
        plain = command.replace("\\\n", " ").partition(" #")[0].strip()
        is_simple = not typed and _SIMPLE.fullmatch(plain) and not plain.startswith(_OF_ITS_OWN)
        code, printed = self._here(plain) if is_simple else self._in_shell(command, typed)
        for text, on_page in self._shown.items():
            printed = printed.replace(text, on_page)
        return Played(code, printed)

    def _here(self, command: str) -> tuple[int, str]:
        """In this process; a verb that leaves a process behind, such as ``up``, needs a process of its own."""
        written = self._line.folder / ".printed"
        files = {"stdin": Path(os.devnull), "stdout": written, "stderr": written}
        code = 0
        with in_place_of_this_process(self._variables, self._folder, files), ExitStack() as held:
            if self._is_terminal:
                held.enter_context(pytest.MonkeyPatch.context()).setattr(sys.stdout, "isatty", lambda: True)
            try:
                main([os.path.expandvars(word) for word in shlex.split(command)[1:]])
            except SystemExit as ended:
                code = int(ended.code or 0)
        return code, written.read_text()

    def _in_shell(self, command: str, typed: str) -> tuple[int, str]:
        state = self._line.folder / ".variables"
        done = subprocess.run(
            ["bash", "-c", f'set -a\n{command}\ncode=$?\ncommand env -0 > "{state}"\nexit $code'],
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._variables,
            cwd=self._folder,
            timeout=2 * DEADLINE_SECONDS,
        )
        if state.exists():
            entries = (entry.split("=", 1) for entry in state.read_text().split("\0") if "=" in entry)
            self._variables = {name: value for name, value in entries if name not in ("_", "SHLVL", "code")}
            self._folder = Path(self._variables["PWD"])
        return done.returncode, done.stdout
