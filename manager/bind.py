"""Listen addresses as the manager's flags write them: ``:8081``, ``127.0.0.1:0``, ``[::1]:8443``, and ``0`` for off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address | None:
    """None for ``0`` or an empty string; an empty host means every interface.

    Raises:
        ValueError: the port is missing, or is not a number of at most 65535.
    """
    if text in ("", "0"):
        return None
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address; write host:port, :port, or 0 to switch it off")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - a Pod's probes come from outside
