"""The Go program of ``fuzz/oracle``: built once per state of its sources, outside the repository; asked in batches."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SOURCES: Final = Path(__file__).parent.parent / "oracle"
ENVIRONMENT: Final = {"TZ": "UTC", "PATH": os.environ.get("PATH", "")}
"""The environment of the running program; settings of this machine do not affect its answers."""
_BUILD_SECONDS: Final = 600


class NoOracleError(Exception):
    """Go is not installed, or its modules cannot be downloaded; the message says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Go's answer to a template: ``kind`` is value, parse, error, blocked or offloaded."""

    kind: str
    value: Any
    fault: str = ""
    message: str = ""


class Oracle:
    """A running oracle. If a question takes too long or too much memory, the program ends and is started again."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process = self._start()

    def ask(self, questions: Sequence[tuple[str, Any]]) -> list[Answer]:
        """The answers to the templates with their variables, in order."""
        answers: list[Answer] = []
        while len(answers) < len(questions):
            answers += self._exchange(questions[len(answers) :])
            if len(answers) < len(questions):
                answers.append(Answer("error", None, "limit", "Go ran out of time or memory"))
                self.close()
                self._process = self._start()
        return answers

    def close(self) -> None:
        """End the program by closing its input."""
        with self._process as process:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self._program), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            encoding="utf-8",
        )

    def _exchange(self, questions: Sequence[tuple[str, Any]]) -> Iterator[Answer]:
        """The answers until the program ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = [{"template": template, "vars": variables} for template, variables in questions]
        self._process.stdin.write(json.dumps(asked, ensure_ascii=False) + "\n")
        self._process.stdin.flush()
        for _ in questions:
            line = self._process.stdout.readline()
            if not line.endswith("\n"):
                return
            yield Answer(**json.loads(line))


@contextmanager
def running() -> Iterator[Oracle]:
    """An oracle that runs until the context ends.

    Raises:
        NoOracleError: Go or its modules are missing.
    """
    oracle = Oracle(built())
    try:
        yield oracle
    finally:
        oracle.close()


def built() -> Path:
    """The path of the program; it is built first if there is none for these sources.

    Raises:
        NoOracleError: Go or its modules are missing.
    """
    go = shutil.which("go")
    if go is None:
        raise NoOracleError("there is no go on the PATH")
    program = _cache() / f"oracle-{_digest(go)}"
    if not program.exists():
        _build(go, program)
    return program


def _build(go: str, program: Path) -> None:
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    modules = _run([go, "mod", "download"], environment)
    if modules.returncode:
        raise NoOracleError(f"the modules of the oracle cannot be had: {modules.stderr.strip()[-300:]}")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as directory:
        fresh = Path(directory) / "oracle"
        compiled = _run([go, "build", "-trimpath", "-o", str(fresh), "."], environment)
        if compiled.returncode:
            raise RuntimeError(f"the oracle does not compile:\n{compiled.stderr}")
        fresh.replace(program)


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=SOURCES,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=_BUILD_SECONDS,
        check=False,
    )


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "bobrapet"


def _digest(go: str) -> str:
    """A digest of everything that determines the program: its sources and the compiler."""
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    version = subprocess.run([go, "env", "GOVERSION"], cwd=SOURCES, capture_output=True, check=False).stdout
    return hashlib.sha256(b"\0".join([version, *(path.read_bytes() for path in sources)])).hexdigest()[:16]
