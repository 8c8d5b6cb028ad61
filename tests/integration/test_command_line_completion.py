"""Completion in a real bash: verbs and flags at once, names from the cluster, silence when there is none."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import DEADLINE_SECONDS, CommandLine

BASH = shutil.which("bash")
BIN = Path(sys.executable).parent

ASK = """
source <(bobrapet completion bash)
while IFS= read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE} COMPREPLY=()
    _bobrapet_completion bobrapet "${COMP_LINE##* }"
    echo "${COMPREPLY[*]}"
done
"""

pytestmark = pytest.mark.skipif(BASH is None, reason="no bash on PATH")


def completions(line: CommandLine, *typed: str) -> list[str]:
    """What bash would offer for each of the lines."""
    done = subprocess.run(
        [str(BASH), "-c", ASK],
        input="\n".join(typed) + "\n",
        env={**line.env, "PATH": f"{BIN}:{line.env['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("completion"))
    assert line.bobrapet("up", "--quiet", line.images).code == 0
    try:
        assert line.bobrapet("run", line.story("one", "two", name="works"), "--quiet").code == 0
        assert line.bobrapet("submit", "works", "--name=other").code == 0
        yield line
    finally:
        line.bobrapet("down")
        line.wait_until_nothing_runs()


def test_verbs_flags_runs_stories_and_steps_are_completed(line: CommandLine) -> None:
    offered = completions(
        line,
        "bobrapet su",
        "bobrapet get --no-",
        "bobrapet get oth",
        "bobrapet submit w",
        "bobrapet logs other t",
        "bobrapet logs @latest:works ",
    )

    assert offered == ["submit", "--no-headers", "other", "works", "two", "one two"]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("bobrapet get @l", "bobrapet get @latest"), ("bobrapet get @latest:w", "bobrapet get @latest:works")],
    ids=["at", "colon"],
)
def test_words_with_letters_at_which_bash_breaks_are_completed_whole(
    line: CommandLine, typed: str, completed: str
) -> None:
    """The Tab key in an interactive shell; the line is then shown by running it as an argument of echo."""
    main, child = pty.openpty()
    with subprocess.Popen(
        [str(BASH), "--norc", "-i"],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**line.env, "PATH": f"{BIN}:{line.env['PATH']}", "TERM": "dumb", "PS1": "$ "},
        start_new_session=True,
    ) as shell:
        os.close(child)
        os.write(main, b"source <(bobrapet completion bash); echo rea''dy\n")
        _read_until(main, "ready")
        # Control-A goes to the beginning of the line, once Tab has done its work.
        os.write(main, typed.encode() + b"\t\x01echo is:\n")
        said = _read_until(main, "is:bobrapet get @latest", times=1)
        os.write(main, b"exit\n")
        shell.wait(DEADLINE_SECONDS)
    os.close(main)

    assert f"is:{completed}" in said.replace("\x08", "")


def _read_until(terminal: int, text: str, *, times: int = 1) -> str:
    """What appears on the terminal until ``text`` has appeared ``times`` times, on a line of its own."""
    said = ""
    while said.replace("\r", "").count(f"\n{text}") < times:
        ready, _, _ = select.select([terminal], [], [], DEADLINE_SECONDS)
        assert ready, said
        said += os.read(terminal, 65536).decode()
    return said


def test_without_a_cluster_names_are_not_completed_and_nothing_is_said(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)

    assert completions(line, "bobrapet get ", "bobrapet li") == ["", "list"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_has_a_script(tmp_path: Path, shell: str) -> None:
    done = CommandLine(tmp_path).bobrapet("completion", shell)

    assert done.code == 0
    assert "_BOBRAPET_COMPLETE" in done.out
