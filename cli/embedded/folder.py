"""The contents of the data folder of an embedded cluster.

A lock that the serving process holds shows whether one runs; the kernel releases it when the process ends in any way.
``cluster.json`` describes the served cluster; it is written when everything answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cli.embedded.filelock import is_held
from localcluster.privatefile import OpenFolderError, make_private_folder, write_private

STATE_FILE: Final = "cluster.json"
SERVING_LOCK: Final = "embedded.lock"
"""The process that serves the folder holds it exclusively; it contains the process id."""
LOG_FILE: Final = "cluster.log"
STAYS_FILE: Final = "stays-up"
"""Exists if a cluster that was started on demand is to stay up without users."""
MIN_FREE_BYTES: Final = 8 << 20
"""Free space on its disk that a start needs: the database of an empty cluster takes two MiB."""


class EmbeddedError(Exception):
    """The embedded cluster could not be started, used or stopped; the message has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class EmbeddedCluster:
    """A running embedded cluster."""

    data: Path
    url: str
    kubeconfig: Path
    pid: int
    metrics_url: str
    """The URL of the operator's metrics, on the loopback interface."""
    on_demand: bool = False
    """The cluster ends when no command uses it any more."""


def data_folder(chosen: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """``chosen``; otherwise ``$BOBRAPET_DATA``; otherwise the user's data folder."""
    if chosen is not None:
        return chosen.expanduser().resolve()
    if configured := environ.get("BOBRAPET_DATA"):
        return Path(configured).expanduser().resolve()
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser().resolve() / "bobrapet"


def claims_folder(data: Path) -> Path:
    """The node's folder with the volumes of claims, as NAMESPACE/CLAIM."""
    return data / "node" / "claims"


def make_folder(data: Path) -> None:
    """Create the folder; only its owner can enter it then.

    Raises:
        EmbeddedError: it cannot be created or written, or others can enter it and it has more in it than a cluster.
    """
    try:
        make_private_folder(data, (SERVING_LOCK,))
        # A check of the permissions is not enough: root may write where the file system does not allow it.
        os.close(os.open(data / SERVING_LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OpenFolderError as error:
        raise EmbeddedError(f"{error}, or name another with --data") from None
    except OSError as error:
        raise cannot_write(data, error) from None


def refuse_full_disk(data: Path) -> None:
    """Check the disk first: on a full disk, a started process could not even write down why it failed.

    Raises:
        EmbeddedError: less than ``MIN_FREE_BYTES`` are free.
    """
    disk = os.statvfs(data)
    if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
        raise EmbeddedError(
            f"no space left on the disk of {data}: an embedded cluster needs {MIN_FREE_BYTES >> 20} MiB to start; "
            "free some, or choose another folder with --data"
        )


def cannot_write(data: Path, error: OSError) -> EmbeddedError:
    where = error.filename or data
    return EmbeddedError(f"cannot write {where}: {error.strerror}; choose another folder with --data")


def is_served(data: Path) -> bool:
    """Whether a process serves ``data``, ready or not."""
    return is_held(data / SERVING_LOCK)


def server_of(data: Path) -> int | None:
    """The id of the process that serves ``data``, ready or not."""
    if not is_served(data):
        return None
    text = (data / SERVING_LOCK).read_text(encoding="utf-8").strip()
    return int(text) if text.isdecimal() else None


def running(data: Path) -> EmbeddedCluster | None:
    """The cluster that serves ``data`` and is ready, or None."""
    if not is_served(data):
        return None
    try:
        state = json.loads((data / STATE_FILE).read_text(encoding="utf-8"))
        paths = {name: Path(state[name]) for name in ("data", "kubeconfig")}
        on_demand = state["on_demand"] and not must_stay(data)
        return EmbeddedCluster(**{**state, **paths, "on_demand": on_demand})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def let_stay(data: Path) -> None:
    """Let the cluster that serves ``data`` stay up without users. The caller is a user of it.

    Raises:
        EmbeddedError: the folder cannot be written.
    """
    try:
        write_private(data / STAYS_FILE, "")
    except OSError as error:
        raise cannot_write(data, error) from None


def must_stay(data: Path) -> bool:
    return (data / STAYS_FILE).exists()


def publish(cluster: EmbeddedCluster) -> None:
    """Publish that the cluster is ready; the file is written completely or not at all."""
    state = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(cluster).items()}
    write_private(cluster.data / STATE_FILE, json.dumps(state))


def withdraw(data: Path) -> None:
    """Remove the publication: the cluster no longer counts as ready."""
    (data / STATE_FILE).unlink(missing_ok=True)


def taken(data: Path) -> EmbeddedError:
    """The reason why another cluster cannot be started in ``data``."""
    cluster = running(data)
    use = f"use it (export KUBECONFIG={cluster.kubeconfig})" if cluster else "wait until it is ready"
    return EmbeddedError(
        f"an embedded cluster serves {data} already (process {server_of(data) or 'unknown'}); {use}, stop it with "
        f"`bobrapet down --data {data}`, or choose another folder with --data"
    )


def refuse_if_served(data: Path) -> None:
    """Raises:
    EmbeddedError: a process serves ``data``.
    """
    if is_served(data):
        raise taken(data)


def last_words(data: Path, *, since: int = 0) -> str:
    """The last line of the log after its first ``since`` bytes."""
    try:
        with (data / LOG_FILE).open("rb") as log:
            log.seek(since)
            lines = [line for line in log.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it left no log"
    return lines[-1].removeprefix("error: ") if lines else "it wrote no message"
