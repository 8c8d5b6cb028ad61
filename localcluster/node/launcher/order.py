"""An order of the node to the launcher: one program, and the files that it sees. Plain data; JSON on the socket."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume, or one file or directory of a volume, at a path of the container."""

    source: str
    """Absolute path on this machine; exists."""
    target: str
    """Absolute path as the container sees it; made when it is missing, without touching the machine's own files."""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """One program to start."""

    order_id: int
    argv: tuple[str, ...]
    """Never empty; ``argv[0]`` without a slash is looked up in the ``PATH`` of ``env``."""
    env: dict[str, str]
    """The whole environment; nothing is inherited."""
    workdir: str
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    """Given to the program where it has a host name of its own; elsewhere ignored."""
    no_new_privileges: bool = False

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> LaunchOrder:
        mounts = tuple(Mount(**mount) for mount in wire["mounts"])
        return cls(**{**wire, "argv": tuple(wire["argv"]), "mounts": mounts})
