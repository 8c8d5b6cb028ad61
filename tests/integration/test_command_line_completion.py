"""Completion in real shells: verbs and flags at once, names from the cluster, no output when there is no cluster."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bubu_contract.submission import trigger_name
from tests.integration.commandline import DEADLINE_SECONDS, CommandLine

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\(B|\x0f|[^\n]\x08")
"""Sequences that a shell sends to move the cursor and to set colors."""

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
    """The completions that bash would offer for each of the lines."""
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
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        story = line.story("one", "two", name="works", inputsSchema=schema)
        assert line.quick("run", story, "--quiet").code == 0
        assert line.quick("submit", "works", "--name=other").code == 0
        yield line
    finally:
        line.quick("down")
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


GATED = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: gated}
spec:
  inputsSchema: {type: object, properties: {town: {type: string}}}
  steps:
  - name: fan
    type: parallel
    with: {steps: [{name: legal, type: gate}, {name: nap, type: sleep}]}
  - {name: approve, type: gate}
---
apiVersion: catalog.bubustack.io/v1alpha1
kind: ImpulseTemplate
metadata: {name: hook}
spec: {version: 1.0.0, supportedModes: [deployment], image: nobody/has-this}
---
apiVersion: bubustack.io/v1alpha1
kind: Impulse
metadata: {name: hook}
spec: {templateRef: {name: hook}, storyRef: {name: gated}}
"""


def test_gates_branches_steps_to_begin_with_and_what_else_why_explains_are_completed(line: CommandLine) -> None:
    assert line.quick("run", line.file("gated.yaml", GATED), "--timeout=200ms").code == 124
    assert line.quick("submit", "gated", "--name=held").code == 0
    assert line.quick("trigger", "works", "--submission-id=event-1", "--no-wait").code == 0

    offered = completions(
        line,
        "bobrapet approve hel",
        "bobrapet approve held ",
        "bobrapet reject held/fan",
        "bobrapet why held/fan/",
        "bobrapet why impulse/h",
        "bobrapet why trigger/works-",
        "bobrapet retry held --from f",
        "bobrapet resubmit held -i t",
    )

    assert offered == [
        "held",
        "fan/legal approve",
        "held/fan/legal",
        "held/fan/legal held/fan/nap",
        "impulse/hook",
        f"trigger/{trigger_name('default', 'works', 'event-1')}",
        "fan fan/legal fan/nap",
        "town=",
    ]


def test_a_story_to_evaluate_is_completed_from_the_cluster_and_from_a_file(line: CommandLine) -> None:
    text = (line.folder / "works.yaml").read_text()
    file = line.folder / "other.yaml"
    changed = text.replace("name: works", "name: other").replace("one", "uno")
    file.write_text(changed.replace("name: uno", "name: uno\n    if: inputs.x"))

    offered = completions(
        line,
        "bobrapet render w",
        "bobrapet render works --step t",
        "bobrapet render works -i ci",
        f"bobrapet render -f {file} --step u",
        f"bobrapet render -f {file} --field spec",
        f"bobrapet render -f {file} -i c",
        "bobrapet render -f /nowhere.yaml --step ",
    )

    assert offered == ["works", "two", "city=", "uno", "spec.steps[0].if", "city=", ""]


@dataclass(frozen=True)
class Shell:
    """How to start a shell interactively with our completion."""

    command: tuple[str, ...]
    setup: str


SHELLS = {
    "bash": Shell(("bash", "--norc", "-i"), "source <(bobrapet completion bash)"),
    "zsh": Shell(("zsh", "-f", "-i"), "autoload -U compinit; compinit -u; source <(bobrapet completion zsh)"),
    "fish": Shell(("fish", "--no-config", "-i"), "bobrapet completion fish | source"),
}
TYPED = {
    "bobrapet su": "bobrapet submit ",
    "bobrapet get @l": "bobrapet get @latest ",
    # At a colon and at an equals sign, bash begins a new word.
    "bobrapet get @latest:w": "bobrapet get @latest:works ",
    "bobrapet logs other t": "bobrapet logs other two ",
    "bobrapet submit works -i ci": "bobrapet submit works -i city=",
    "bobrapet run work": "bobrapet run works.yaml ",
}


@pytest.mark.parametrize("name", SHELLS)
def test_the_tab_key_completes_in_a_real_shell(line: CommandLine, name: str) -> None:
    """Running each line as an argument of echo then shows it."""
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on PATH")
    shell = SHELLS[name]
    main, child = pty.openpty()
    environment = {**line.env, "PATH": f"{BIN}:{line.env['PATH']}", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        shell.command,
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
        cwd=line.folder,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # the shell's own terminal, as fish demands
    ) as process:
        os.close(child)
        try:
            os.write(main, f"{shell.setup}; echo rea''dy\r".encode())
            _read_to(main, "ready")
            shown = {}
            for typed in TYPED:
                # Control-A goes to the beginning of the line and Control-E to its end, after Tab has completed it.
                os.write(main, f"{typed}\t\x01echo '<\x05>'\r".encode())
                shown[typed] = _read_to(main, "<bobrapet[^\n]*>")
        finally:
            process.kill()
    os.close(main)

    takes_space_back = name == "zsh"  # it removes the space when the cursor leaves the word
    assert shown == {typed: text.rstrip() if takes_space_back else text for typed, text in TYPED.items()}


def _read_to(terminal: int, pattern: str) -> str:
    """Wait for a separate line on the terminal that matches ``pattern``; returns the match."""
    said = ""
    while (found := re.search(f"\n{pattern}\n", said)) is None:
        ready, _, _ = select.select([terminal], [], [], DEADLINE_SECONDS)
        assert ready, said
        said = CONTROLS.sub("", said + os.read(terminal, 65536).decode().replace("\r", "\n"))
    return found[0].strip("\n<>")


def test_without_a_cluster_names_are_not_completed_and_nothing_is_said(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)

    assert completions(line, "bobrapet get ", "bobrapet lis") == ["", "list"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_has_a_script(tmp_path: Path, shell: str) -> None:
    done = CommandLine(tmp_path).bobrapet("completion", shell)

    assert done.code == 0
    assert "_BOBRAPET_COMPLETE" in done.out
