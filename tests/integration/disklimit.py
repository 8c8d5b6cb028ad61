"""Disks that are full: a limit on the files of a process, and a small file system that really fills up."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@contextmanager
def largest_file(size_bytes: int, pid: int = 0) -> Iterator[None]:
    """No file of the process ``pid``, by default this one, may grow beyond ``size_bytes``: a full disk."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own size at ``path``, seen by the processes that are started with ``prefix`` only."""

    path: Path
    prefix: tuple[str, ...]
    inside: Path
    """The same place as the test reaches it."""

    def fill(self) -> None:
        """Until not one byte more can be written."""
        with (self.inside / "filler").open("ab", buffering=0) as filler:
            block = bytes(1 << 16)
            while block:
                try:
                    filler.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def free(self) -> None:
        (self.inside / "filler").unlink()


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk | None]:
    """An empty one, mounted on ``folder``; None where the system lets us mount nothing.

    It lives in a mount namespace of its own, which ends with the block, or with this process however that ends.
    """
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield None
        return
    mount = f"mount -t tmpfs -o size={size_bytes},mode=700 tmpfs '{folder}' && echo mounted && exec cat >/dev/null"
    with subprocess.Popen(
        ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c", mount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "mounted\n":
            yield None
            return
        entered = ("nsenter", f"--target={holder.pid}", "--mount", "--user", "--preserve-credentials")
        yield SmallDisk(folder, entered, Path(f"/proc/{holder.pid}/root{folder}"))
        holder.terminate()
