"""The file system that a container sees: that of the machine, with volumes mounted at the Pod's paths.

A mount point that does not exist is never created on the machine. Instead its nearest existing directory is *opened*:
a scratch directory, which shows every entry of the original by a bind mount, replaces it in this mount namespace only.
The container then sees the same files plus the new ones. Files that it creates beside them vanish with it.

Works inside a mount namespace of the caller's own, as root or in a user namespace.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

from localcluster.node.launcher import syscalls
from localcluster.node.launcher.order import Mount

TERMINATION_LOG = "/dev/termination-log"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class View:
    """The file system of the calling process, changed step by step. A forked child starts with its parent's state."""

    def __init__(self, staging: Path) -> None:
        """``staging``: an empty directory on which this process may mount; nothing is ever written to it."""
        self._staging = staging
        self._scratch_devices: set[int] = set()
        self._volumes: list[Path] = []

    def prepare(self) -> None:
        """Create the mount points that nearly every container needs once, so that each container starts with them."""
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        self._ensure_mount_point(Path(SERVICE_ACCOUNT), directory=True)
        self._ensure_mount_point(Path(TERMINATION_LOG), directory=False)

    def add(self, mounts: tuple[Mount, ...]) -> None:
        """Mount ``mounts`` over the file system, outer paths first.

        Raises:
            OSError: a source is missing, or the kernel refuses.
        """
        for mount in sorted(mounts, key=lambda mount: Path(mount.target).parts):
            point = self._ensure_mount_point(Path(mount.target), directory=Path(mount.source).is_dir())
            syscalls.bind(mount.source, str(point))
            if mount.read_only:
                syscalls.make_read_only(str(point))
            self._volumes.append(point)

    def _ensure_mount_point(self, target: Path, *, directory: bool) -> Path:
        point = target.resolve()
        if point.exists():
            return point
        ancestor = next(parent for parent in point.parents if parent.exists())
        if not self._is_ours(ancestor):
            self._open(ancestor)
        point.parent.mkdir(parents=True, exist_ok=True)
        if directory:
            point.mkdir(exist_ok=True)
        else:
            point.touch()
        return point

    def _is_ours(self, directory: Path) -> bool:
        if directory.stat().st_dev in self._scratch_devices:
            return True
        return any(directory.is_relative_to(volume) for volume in self._volumes)

    def _open(self, directory: Path) -> None:
        """Replace ``directory`` by a scratch directory that shows the same entries."""
        mode = stat.S_IMODE(directory.stat().st_mode)
        syscalls.mount("scratch", str(self._staging), "tmpfs", 0, f"mode={mode:o}")
        self._scratch_devices.add(self._staging.stat().st_dev)
        for entry in directory.iterdir():
            # An entry may vanish meanwhile: then the container does not see it either.
            with suppress(FileNotFoundError):
                _show(entry, self._staging / entry.name)
        if directory == Path("/"):
            syscalls.change_root(str(self._staging))
        else:
            syscalls.mount(str(self._staging), str(directory), None, syscalls.MS_MOVE)


def _show(entry: Path, copy: Path) -> None:
    if entry.is_symlink():
        copy.symlink_to(entry.readlink())
    elif entry.is_dir():
        copy.mkdir()
        syscalls.bind(str(entry), str(copy))
    else:
        copy.touch()
        syscalls.bind(str(entry), str(copy))
