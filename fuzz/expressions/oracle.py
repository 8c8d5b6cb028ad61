"""The Go program of ``fuzz/oracle``: built once per state of its sources, outside of the tree, and asked in batches."""

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
"""Of the running program: nothing of this machine decides about its answers."""
_BUILD_SECONDS: Final = 600


class NoOracleError(Exception):
    """Go is not there, or its modules cannot be had; the message says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Go made of a template: ``kind`` is value, parse, error, blocked or offloaded."""

    kind: str
    value: Any
    fault: str = ""
    message: str = ""


class Oracle:
    """A running oracle. It ends itself over a question that takes too long or too much memory, and is started again."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process = self._start()

    def ask(self, questions: Sequence[tuple[str, Any]]) -> list[Answer]:
        """The answers to templates over their variables, in order."""
        answers: list[Answer] = []
        while len(answers) < len(questions):
            answers += self._exchange(questions[len(answers) :])
            if len(answers) < len(questions):
                answers.append(Answer("error", None, "limit", "Go ran out of time or memory"))
                self.close()
                self._process = self._start()
        return answers

    def close(self) -> None:
        """Let it end, which it does with its input."""
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
        """The answers, as far as the program gets."""
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
    """An oracle that lives as long as the context.

    Raises:
        NoOracleError
    """
    oracle = Oracle(built())
    try:
        yield oracle
    finally:
        oracle.close()


def built() -> Path:
    """The program, built if these sources were not built before.

    Raises:
        NoOracleError
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
    """Of everything that decides about the program: its sources and the compiler."""
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    version = subprocess.run([go, "env", "GOVERSION"], cwd=SOURCES, capture_output=True, check=False).stdout
    return hashlib.sha256(b"\0".join([version, *(path.read_bytes() for path in sources)])).hexdigest()[:16]
