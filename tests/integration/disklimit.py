"""Full disks: a small file system that really fills up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A small file system at ``path``. Only processes that are started with ``prefix`` see it."""

    path: Path
    prefix: tuple[str, ...]
    inside: Path
    """The path by which the test reaches the same folder."""

    def fill(self) -> None:
        """Write until not one more byte can be written."""
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
    """A small empty disk, mounted on ``folder``; None where the system does not let us mount.

    It lives in its own mount namespace, which ends with the block, or with this process, however the process ends.
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
