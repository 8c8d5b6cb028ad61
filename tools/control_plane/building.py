"""Building programs from pinned sources, Go modules or npm packages: checksums are verified, one builder at a time, the
log is kept.

This blocks, because nothing can be tested before it has ended. An interrupt ends the compiler, too.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEADLINE_SECONDS: Final = 45 * 60.0
_LOG_LINES: Final = 20


class BuildError(Exception):
    """A program could not be built. The message has the end of its log and the path of the log."""


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
    partial = target / f".{name}.partial"
    command = [str(go), "build", "-mod=readonly", "-trimpath", *module.flags, "-o", str(partial), module.programs[name]]
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}
    _run(name, command, module.directory, environment, target / f"{name}.log")
    partial.replace(target / name)


def sources(module: Path, path: str, go: Path) -> Path:
    """Fetch the Go module ``path`` in the version, and with the checksum, that the module in ``module`` pins.

    Returns its folder in Go's cache.

    Raises:
        BuildError: Go failed; the message has what it said.
    """
    command = [str(go), "mod", "download", "-json", path]
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    done = subprocess.run(
        command, cwd=module, env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} in {module}: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def install(package: Path, target: Path, npm: Path) -> None:
    """Install the npm packages that ``package`` pins, with its ``package-lock.json``, into ``target``.

    The scripts of packages are not run.

    Raises:
        BuildError: npm failed, or another builder holds the lock for longer than a build may take.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_builder(target.parent):
        if target.exists():
            return
        partial, log = target.with_name(f".{target.name}.partial"), target.with_name(f"{target.name}.log")
        _say(f"installing {package.name}; log: {log}")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(package, partial)
        command = [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        _run(package.name, command, partial, os.environ, log)
        partial.rename(target)


def unpack(package: str, target: Path, apt: Path) -> None:
    """Fetch a package of the system's distribution into ``target`` and unpack it there; nothing is installed.

    apt checks its signature. Root renews the lists of packages if they do not have it.

    Args:
        apt: ``apt-get``; ``dpkg`` is beside it.

    Raises:
        BuildError: there is no such package, or another builder holds the lock for longer than a build may take.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_builder(target.parent):
        if target.exists():
            return
        partial, log = target.with_name(f".{target.name}.partial"), target.with_name(f"{target.name}.log")
        _say(f"fetching {package}; log: {log}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        fetch = [str(apt), "-o", "APT::Sandbox::User=root", "download", package]
        try:
            _run(package, fetch, partial, os.environ, log)
        except BuildError:
            if os.geteuid() != 0:
                raise
            _run(package, [str(apt), "update"], partial, os.environ, log)
            _run(package, fetch, partial, os.environ, log)
        [archive] = partial.glob("*.deb")
        _run(package, [str(apt.parent / "dpkg"), "-x", archive.name, "."], partial, os.environ, log)
        archive.unlink()
        partial.rename(target)


def _run(name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str], log: Path) -> None:
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=output, start_new_session=True
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
        raise BuildError(f"{name}: {Path(command[0]).name} {command[1]} failed; log: {log}\n{tail}")
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
