"""The ``bobrapet`` command as users and scripts run it: real processes, a separate data folder, no kubeconfig."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from ruamel.yaml import YAML

from cli.main import main

T = TypeVar("T")

BOBRAPET = (sys.executable, "-m", "cli")
REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 90.0
_PAUSE_SECONDS = 0.05
"""Pause between two looks. A look takes milliseconds of CPU that the awaited work needs."""

MANIFESTS = """\
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: shell}
spec: {version: 1.0.0, supportedModes: [job], image: shell}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: worker}
spec: {templateRef: {name: shell}}
"""

# The name of a step says what it does. Files let a test hold steps back and see that they began.
IMAGES = """\
images:
  shell:
    command:
    - sh
    - -c
    - |
      echo "this is $BUBU_STEP_NAME"
      case $BUBU_STEP_NAME in
        fail*) seq 1 30; echo "no such table"; exit 3;;
        slow*) touch %(folder)s/began; while ! test -e %(folder)s/go; do sleep 0.05; done;;
      esac
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Runs commands. Everything that they store is below ``folder``."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """A command that starts each command, such as ``nsenter``."""
    shared: Path | None = None
    """The data folder of a cluster that others use, too."""

    @property
    def data(self) -> Path:
        return self.shared or self.folder / "data"

    @property
    def images(self) -> str:
        """The option with the image map."""
        file = self.folder / "images.yaml"
        if not file.exists():
            file.write_text(IMAGES % {"folder": self.folder})
        return f"--image-map={file}"

    def quick(self, *arguments: str, stdin: str = "") -> Done:
        """As ``bobrapet``, but in this process.

        A verb that starts no process takes a tenth of the time to start Python.
        """
        files = {name: self.folder / name for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin)
        with in_place_of_this_process(self.env, self.folder, files):
            try:
                main(arguments)
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Done(code, files["stdout"].read_text(), files["stderr"].read_text())

    def bobrapet(self, *arguments: str, stdin: str = "") -> Done:
        with self.started(*arguments, stdin=stdin) as process:
            out, err = process.communicate(timeout=DEADLINE_SECONDS)
        return Done(process.returncode, out, err)

    @contextmanager
    def started(self, *arguments: str, stdin: str = "") -> Iterator[subprocess.Popen[str]]:
        """The command as a process that the test watches, stops or kills. No process is left at the end."""
        (self.folder / "stdin").write_text(stdin)
        with (
            (self.folder / "stdin").open() as given,
            subprocess.Popen(
                [*self.prefix, *BOBRAPET, *arguments],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.env,
                cwd=self.folder,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "BOBRAPET"))}
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "sdk"))),
            "HOME": str(self.folder),
            "BOBRAPET_DATA": str(self.data),
            **self.environment,
        }

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def story(self, *steps: str, name: str = "story", **spec: object) -> str:
        """A file with a Story of Engram steps that run one after the other, and the objects that they need."""
        declared = [
            {"name": step, "ref": {"name": "worker"}, **({"needs": [steps[index - 1]]} if index else {})}
            for index, step in enumerate(steps)
        ]
        story = {
            "apiVersion": "bubustack.io/v1alpha1",
            "kind": "Story",
            "metadata": {"name": name},
            "spec": {"steps": declared, **spec},
        }
        file = self.folder / f"{name}.yaml"
        with file.open("w") as stream:
            stream.write(f"{MANIFESTS}---\n")
            YAML().dump(story, stream)
        return file.name

    # Processes on this machine.

    def processes(self) -> dict[int, str]:
        """All processes that run for this folder, found by their command line, and their descendants."""
        there = {process.pid: process for process in _processes() if process.pid != os.getpid()}
        found = {pid for pid, process in there.items() if str(self.data) in process.command}
        children: dict[int, list[int]] = {}
        for pid, process in there.items():
            children.setdefault(process.parent, []).append(pid)
        grown = [*found]
        while grown:
            new = [child for child in children.get(grown.pop(), ()) if child not in found]
            found.update(new)
            grown += new
        return {pid: there[pid].command for pid in found}

    def process(self, word: str) -> int:
        """Wait for the process of this folder with ``word`` in its command line. There must be only one."""
        return wait_until(lambda: next((pid for pid, command in self.processes().items() if word in command), None))

    def wait_until_nothing_runs(self, processes: Mapping[int, str] = {}, *, seconds: float = 20.0) -> None:
        """Return when no process of this folder, and none of ``processes``, is left."""
        try:
            wait_until(lambda: not self.processes() and not any(map(is_alive, processes)), seconds=seconds)
        except AssertionError:
            left = {**self.processes(), **{pid: text for pid, text in processes.items() if is_alive(pid)}}
            for pid in left:  # the test fails, but leaves no process
                with suppress(ProcessLookupError):
                    kill(pid)
            raise AssertionError(f"still running: {left}") from None


@contextmanager
def in_place_of_this_process(environment: Mapping[str, str], folder: Path, files: Mapping[str, Path]) -> Iterator[None]:
    """Give a command in this process what its own process would have.

    That is environment, working directory, three streams, log levels, and modules that are not imported yet.
    Two streams with the same file share it: it has what they print in the order in which it is printed.
    """
    before, cwd, modules = dict(os.environ), Path.cwd(), {name: sys.modules.get(name) for name in ("rich", "click")}
    loggers = [logging.getLogger(name) for name in ("", "bobrapet", "httpx", "httpcore", "hypercorn.access")]
    levels = [logger.level for logger in loggers]
    with ExitStack() as held:
        streams = {path: held.enter_context(path.open("r" if name == "stdin" else "w")) for name, path in files.items()}
        for name, path in files.items():
            held.enter_context(pytest.MonkeyPatch.context()).setattr(sys, name, streams[path])
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(cwd)
            os.environ.clear()
            os.environ.update(before)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for handler in [each for each in loggers[0].handlers if getattr(each, "bobrapet_owned", False)]:
                loggers[0].removeHandler(handler)
            for name, module in modules.items():
                if module is None:
                    sys.modules.pop(name, None)


def wait_until(holds: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    """Wait until ``holds`` gives a true value, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(_PAUSE_SECONDS)
    return value


def is_alive(pid: int) -> bool:
    """Whether the process is alive. A zombie is not alive."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    command: str
    """Empty for a zombie."""


def _processes() -> Iterator[_Process]:
    """All processes on the machine. Tests ask many times a second, so this makes few calls."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a third of the time of pathlib
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                state, parent, *_ = stat.read().rpartition(b")")[2].split(None, 2)
            with open(f"/proc/{name}/cmdline", "rb") as cmdline:  # noqa: PTH123
                command = b"" if state in b"ZX" else cmdline.read()
        except OSError:  # it has ended meanwhile
            continue
        yield _Process(int(name), int(parent), command.replace(b"\0", b" ").decode(errors="replace"))
