"""Where the logs of each container are, and which logs are still being written."""

from __future__ import annotations

from pathlib import Path

from localcluster.clock import Now
from localcluster.node.logs import LogWriter


class LogBook:
    """The logs of all Pods of one node, in one directory: ``<namespace>_<pod>_<uid>/<container>/<restarts>.log``."""

    def __init__(self, root: Path, now: Now) -> None:
        self.root, self._now = root, now
        self._writers: dict[Path, LogWriter] = {}

    def open(self, pod_directory: str, container: str, restarts: int) -> LogWriter:
        """Create the log of one run of a container; only the log of the previous run is kept beside it.

        Raises:
            OSError: the disk refuses.
        """
        directory = self.root / pod_directory / container
        path = directory / f"{restarts}.log"
        writer = LogWriter(path, self._now)
        self._writers[path] = writer
        for suffix in ("", ".1"):
            (directory / f"{restarts - 2}.log{suffix}").unlink(missing_ok=True)
        return writer

    def close(self, writer: LogWriter, pod_directory: str, container: str, restarts: int) -> None:
        writer.close()
        self._writers.pop(self.path(pod_directory, container, restarts), None)

    def path(self, pod_directory: str, container: str, restarts: int) -> Path:
        return self.root / pod_directory / container / f"{restarts}.log"

    def find(self, namespace: str, pod: str, container: str, *, previous: bool) -> tuple[Path, LogWriter | None] | None:
        """The newest log of a container, or the one before it; None when it does not exist."""
        directories = [path for path in self.root.glob(f"{namespace}_{pod}_*") if path.name.count("_") == 2]
        if not directories:
            return None
        newest = max(directories, key=lambda path: path.stat().st_mtime_ns)
        runs = sorted(int(path.stem) for path in (newest / container).glob("*.log"))
        wanted = runs[-2:-1] if previous else runs[-1:]
        if not wanted:
            return None
        path = newest / container / f"{wanted[0]}.log"
        return path, self._writers.get(path)


def pod_directory(namespace: str, name: str, uid: str) -> str:
    """The directory name of a Pod's logs and volumes; names and UIDs contain no underscore."""
    return f"{namespace}_{name}_{uid}"
