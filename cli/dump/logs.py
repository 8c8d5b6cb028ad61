"""The ends of the logs of containers: of the run's Pods, and of the operator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from cli.dump.contents import DumpContents
from cli.session import Session
from core.api.objects import Object
from core.api.resource import POD
from core.kube.errors import KubeError
from core.kube.transport import open_body

MAX_LOG_BYTES: Final = 1024 * 1024
"""Of each log, its end."""
MAX_LOGS: Final = 150
_TAIL_LINES: Final = 20_000
_SECONDS: Final = 15.0
_AT_ONCE: Final = 6


@dataclass(frozen=True, slots=True)
class WantedLog:
    """One log: ``path`` is its file in the dump."""

    pod: Object
    container: str
    path: str
    previous: bool = False


def logs_of(pods: Iterable[Object], folder: str) -> list[WantedLog]:
    """The logs of all containers that have started, those of failed Pods first."""
    found = []
    ordered = sorted(pods, key=lambda pod: (pod.get("status") or {}).get("phase") != "Failed")
    for pod in ordered:
        status, name = pod.get("status") or {}, pod["metadata"]["name"]
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            if not {"running", "terminated"} & set(container.get("state") or {}) and not container.get("restartCount"):
                continue
            path = f"{folder}/{name}.{container['name']}"
            if container.get("restartCount"):
                found.append(WantedLog(pod, container["name"], f"{path}.previous.log", previous=True))
            found.append(WantedLog(pod, container["name"], f"{path}.log"))
    return found


async def add_logs(
    session: Session, contents: DumpContents, wanted: Sequence[WantedLog], parameters: Mapping[str, str]
) -> None:
    """Read the logs, and add their ends.

    Args:
        parameters: of the requests, such as ``sinceTime``.
    """
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def add(log: WantedLog) -> None:
        async with limiter:
            if contents.has_room():
                await _add(session, contents, log, parameters)
            else:
                contents.shortened[log.path] = "left out: the dump is full"

    async with trio.open_nursery() as nursery:
        for log in wanted[:MAX_LOGS]:
            nursery.start_soon(add, log)
    if len(wanted) > MAX_LOGS:
        contents.shortened["logs"] = f"only {MAX_LOGS} of {len(wanted)}, those of failed Pods first"


async def _add(session: Session, contents: DumpContents, log: WantedLog, parameters: Mapping[str, str]) -> None:
    metadata = log.pod["metadata"]
    path = POD.path(metadata["namespace"], metadata["name"], "log")
    given = {"container": log.container, "timestamps": "true", "tailLines": str(_TAIL_LINES), **parameters}
    given |= {"previous": "true"} if log.previous else {}
    end = LogEnd()
    with trio.move_on_after(_SECONDS) as scope:
        try:
            async with session.client.open_stream("GET", path, params=given) as response, open_body(response) as body:
                async for chunk in body:
                    end.add(chunk)
        except KubeError as error:
            contents.unreadable[log.path] = contents.redaction.text(str(error))
            return
    if scope.cancelled_caught:
        contents.shortened[log.path] = f"only what came within {_SECONDS:g} s"
    elif end.is_cut:
        contents.shortened[log.path] = f"only the last {MAX_LOG_BYTES} bytes"
    contents.add_text(log.path, end.text())


class LogEnd:
    """The end of a text that arrives in parts; it never holds much more than ``MAX_LOG_BYTES``."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0
        self.is_cut = False

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        while self._size - len(self._parts[0]) >= MAX_LOG_BYTES:
            self._size -= len(self._parts.popleft())
            self.is_cut = True

    def text(self) -> str:
        """Whole lines; the beginning of a line that was cut could be that of a secret."""
        content = b"".join(self._parts)
        if len(content) > MAX_LOG_BYTES or self.is_cut:
            self.is_cut = True
            content = content[-MAX_LOG_BYTES:]
            content = content[content.find(b"\n") + 1 :]
        return content.decode(errors="replace")
