"""Plays the commands of a page of the docs in order, and compares what they print with the page.

A page has three kinds of blocks: ``console`` blocks have commands, each after ``$``, and what they print; a block after
a line with only a file's name is that file; ``sh`` blocks are for people and are not played.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.main import main
from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, CommandLine, in_place_of_this_process
from tests.integration.kubectl_binary import KUBECTL

_BLOCK: Final = re.compile(r"(?:^`(?P<file>[\w.-]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_EXPORT: Final = re.compile(r"export (\w+)=\$\((.+)\)")
_ANY: Final = "…"
"""A line that stands for any number of lines."""

_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"(<|\b)\d+(\.\d+)?(ms|s|m|h|d)(\d+[smh])?\b"), "DURATION"),
    (re.compile(r"-[b-df-hj-np-tv-z2-9]{5}\b"), "-NAME"),
    (re.compile(r"https://127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\(process \d+\)"), "(PROCESS)"),
    (re.compile(r"[░█▒═─▄╌·]+"), ""),
    (re.compile(r"[ \t]+"), " "),
)
"""What differs from run to run, and from machine to machine. The width of columns depends on it, too."""


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """``printed``: by the page."""

    text: str
    printed: str


def parts_of(page: str) -> Iterator[File | Command]:
    """Files and commands in the order of the page."""
    for block in _BLOCK.finditer(page):
        if block["kind"] == "console":
            for text in re.split(r"^\$ ", block["text"], flags=re.M)[1:]:
                command, _, printed = text.partition("\n")
                yield Command(command, printed)
        elif block["file"]:
            yield File(block["file"], block["text"])


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


class Shell:
    """Somebody who types what the page says, in the folder of ``line``."""

    def __init__(self, line: CommandLine) -> None:
        self._line = line
        programs = [
            str(Path(sys.executable).parent),
            str(Path(str(KUBECTL)).parent),
            os.environ.get("PATH", os.defpath),
        ]
        self._variables = {**line.env, "PATH": os.pathsep.join(programs), "COLUMNS": "100", "PWD": str(line.folder)}

    def play(self, command: str) -> str:
        """What the command prints on both streams, with the paths that the page shows."""
        if export := _EXPORT.fullmatch(command):
            done = self._process(export[2].replace("bobrapet", shlex.join(BOBRAPET), 1), stderr=subprocess.PIPE)
            self._variables[export[1]] = done.stdout.strip()
            printed = done.stderr
        elif command.startswith("bobrapet "):
            printed = self._here(command)
        else:
            printed = self._process(command, stderr=subprocess.STDOUT).stdout
        shown = {str(self._line.data): "~/.local/share/bobrapet", str(self._line.folder): "~/first-hour"}
        for path, text in shown.items():
            printed = printed.replace(path, text)
        return printed

    def _here(self, command: str) -> str:
        """In this process; a verb that leaves a process behind, such as ``up``, needs a process of its own."""
        written = self._line.folder / ".printed"
        files = {"stdin": Path(os.devnull), "stdout": written, "stderr": written}
        with in_place_of_this_process(self._variables, self._line.folder, files), suppress(SystemExit):
            main([os.path.expandvars(word) for word in shlex.split(command)[1:]])
        return written.read_text()

    def _process(self, command: str, *, stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=self._variables,
            cwd=self._line.folder,
            timeout=DEADLINE_SECONDS,
        )
