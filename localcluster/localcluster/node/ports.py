"""Ports of the machine that programs listen on, for programs whose entry in the image map says how to move them.

All Pods share the network of the machine, so two Pods of one image want the same port. A port is lent to one group of
containers at a time: its own if that is free, else the next one that is. The group is that of the Pods of one workload,
old and new ones during a rollout, too: they share their ports (``SO_REUSEPORT``), so that the address stays. Who takes
a port without asking, between the look and the start of the program, makes the program end; it gets another port when
it is started again.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

_MOST_STEPS: Final = 1000
_NONE: Final[Mapping[int, int]] = MappingProxyType({})
_OF_ONE_POD: Final = ("pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name")


def group_of(pod: Mapping[str, Any]) -> str:
    """The same for all Pods of one workload: they have the same labels but for those of a revision.

    >>> group_of({"metadata": {"namespace": "n", "uid": "1", "labels": {"app": "a", "pod-template-hash": "5f"}}})
    'n app=a'
    >>> group_of({"metadata": {"namespace": "n", "uid": "1"}})
    '1'
    """
    metadata = pod["metadata"]
    labels = [f"{name}={value}" for name, value in (metadata.get("labels") or {}).items() if name not in _OF_ONE_POD]
    return " ".join([str(metadata["namespace"]), *sorted(labels)]) if labels else str(metadata["uid"])


class Ports:
    """What is lent, by holder."""

    def __init__(self) -> None:
        self._lent: dict[str, tuple[str, Mapping[int, int]]] = {}
        """Group and ports, by holder."""
        self._last: dict[str, Mapping[int, int]] = {}
        """The latest ports by group, which gets them again if they are free."""

    def lend(self, holder: str, group: str, wanted: Collection[int], address: str) -> Mapping[int, int]:
        """For each wanted port the one to listen on at ``address``, until ``give_back``; replaces what ``holder`` had.

        A port that cannot be moved stays: then the program itself says that it is taken.
        """
        self.give_back(holder)
        if not wanted:
            return _NONE
        ours = next((ports for known, ports in self._lent.values() if known == group), None)
        if ours is None or set(ours) != set(wanted):
            ours = self._chosen(group, wanted, address)
        self._lent[holder] = (group, ours)
        self._last[group] = ours
        return ours

    def of(self, holder: str) -> Mapping[int, int]:
        """What is lent to ``holder``."""
        return self._lent.get(holder, ("", _NONE))[1]

    def give_back(self, holder: str) -> None:
        self._lent.pop(holder, None)

    def _chosen(self, group: str, wanted: Collection[int], address: str) -> Mapping[int, int]:
        taken = {port for _, ports in self._lent.values() for port in ports.values()}
        before, chosen = self._last.get(group, _NONE), dict[int, int]()
        for port in wanted:
            others = (each for each in range(port + 1, min(port + _MOST_STEPS, 65536)) if each not in wanted)
            for each in (before.get(port, port), port, *others):
                if each not in taken and _is_free(each, address):
                    chosen[port] = each
                    break
            taken.add(chosen.setdefault(port, port))
        return chosen


def _is_free(port: int, address: str) -> bool:
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True
