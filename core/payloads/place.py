"""What an object is, and whose, by its key. Pure. Source: SDK contract 3.1, 8, 9."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_LOG: Final = re.compile(r"[0-9]+\.log")


class StoredKind(StrEnum):
    """What an object has."""

    OUTPUTS = "outputs"
    INPUTS = "inputs"
    LOGS = "logs"
    CACHE = "cache"


@dataclass(frozen=True, slots=True, order=True)
class StoredPlace:
    """What an object is, and whose.

    Attributes:
        owner: a StepRun or StoryRun (outputs, inputs), the digest of a request (inputs of a StoryTrigger), a StoryRun
            (logs), or an Engram (cache).
    """

    kind: StoredKind
    namespace: str
    owner: str


def folders_of(namespace: str) -> dict[StoredKind, str]:
    """Where the objects of a namespace are, by kind."""
    return {
        StoredKind.OUTPUTS: f"outputs/{namespace}",
        StoredKind.INPUTS: f"inputs/{namespace}",
        StoredKind.LOGS: f"{namespace}/logs",
        StoredKind.CACHE: f"cache/{namespace}",
    }


def place_of(key: str, kind: StoredKind, namespace: str) -> StoredPlace | None:
    """The place of ``key``, which is in the folder of ``kind`` and ``namespace``; None: no object of this system.

    A namespace may be called ``outputs``, and another one ``logs``: then both have objects below ``outputs/logs``, and
    the form of the key decides.
    """
    parts = key.split("/")
    folder = folders_of(namespace)[kind].split("/")
    if parts[:2] != folder or len(parts) < 4:
        return None
    if _is_log(parts) is not (kind is StoredKind.LOGS):
        return None
    return StoredPlace(kind, namespace, parts[2])


def _is_log(parts: list[str]) -> bool:
    """``<namespace>/logs/<run>/<step>/<StepRun>/<nanoseconds>.log``; step may have slashes, run and step be missing."""
    return parts[1] == "logs" and _LOG.fullmatch(parts[-1]) is not None
