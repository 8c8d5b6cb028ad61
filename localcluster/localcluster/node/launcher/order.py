"""An order of the node to the launcher: one program, and the volumes that it sees. Plain data; JSON on the socket."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume, or one file or directory of a volume, at a path of the container."""

    source: str
    """An absolute path on this machine, which must exist."""
    target: str
    """An absolute path as the container sees it; created when missing, without a change to the machine's files."""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """One program to start."""

    order_id: int
    argv: tuple[str, ...]
    """Never empty. If ``argv[0]`` has no slash, it is looked up in the ``PATH`` of ``env``."""
    env: dict[str, str]
    """The whole environment; nothing is inherited."""
    workdir: str
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    """The host name that the program sees if it has a UTS namespace; otherwise ignored."""
    no_new_privileges: bool = False

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> LaunchOrder:
        mounts = tuple(Mount(**mount) for mount in wire["mounts"])
        return cls(**{**wire, "argv": tuple(wire["argv"]), "mounts": mounts})
