"""Building programs from one pinned Go module: checksums are verified, one builder at a time, the log is kept.

This blocks, because nothing can be tested before it has ended. An interrupt ends the compiler, too.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEADLINE_SECONDS: Final = 45 * 60.0
_LOG_LINES: Final = 20


class BuildError(Exception):
    """Go could not build a program. The message has the end of its log and the path of the log."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module that pins tools, and the programs that are built from it."""

    directory: Path
    """Contains ``go.mod`` and ``go.sum``. It is only read."""
    programs: Mapping[str, str]
    """Import path for each program name, in the order in which they are built."""
    flags: tuple[str, ...] = ()


def build(module: Module, target: Path, go: Path) -> None:
    """Build every program of ``module`` into ``target``; programs that exist there are kept.

    Raises:
        BuildError: Go failed, or another builder holds the lock for longer than a build may take.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _only_builder(target):
        missing = [name for name in module.programs if not (target / name).exists()]
        for number, name in enumerate(missing, start=1):
            log = target / f"{name}.log"
            _say(f"building {name} ({number} of {len(missing)}, {module.directory.name}); log: {log}")
            _build_program(module, name, target, go)


def _build_program(module: Module, name: str, target: Path, go: Path) -> None:
    partial, log = target / f".{name}.partial", target / f"{name}.log"
    command = [str(go), "build", "-mod=readonly", "-trimpath", *module.flags, "-o", str(partial), module.programs[name]]
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=module.directory, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{name}: not built within {DEADLINE_SECONDS / 60:.0f} minutes; log: {log}") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        tail = "\n".join(log.read_text().splitlines()[-_LOG_LINES:])
        raise BuildError(f"{name}: go build failed; log: {log}\n{tail}")
    partial.replace(target / name)
    _say(f"built {name} in {time.monotonic() - started:.0f} s")


@contextmanager
def _only_builder(target: Path) -> Iterator[None]:
    """Wait for the lock. The kernel frees the lock of another builder when its process ends."""
    with (target / ".lock").open("w") as lock:
        deadline = time.monotonic() + DEADLINE_SECONDS
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError(f"another process has been building {target} for too long; end it") from None
                if not told:
                    _say(f"another process is building {target}; waiting for it")
                    told = True
                time.sleep(0.2)
        yield


def _say(text: str) -> None:
    """Print to the terminal, even if standard error is captured."""
    print(text, file=sys.__stderr__, flush=True)
