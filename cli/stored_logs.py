"""The logs that the SDK has stored at the end of attempts: what is left when their Pods have gone.

Source: SDK contract 19. Each attempt of a step stores its last mebibyte under a key of its own; its last records say
which attempt it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cli.object_store import find_stores
from cli.pod_logs import attempts_started
from cli.problem import CommandError
from cli.session import Session
from core.api.objects import Object
from core.engine.errors import NoStoreError
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.store import PAGE_OBJECTS, Store
from views.log_lines import readable
from views.step_layout import path_of

_LOG_BYTES: Final = 4 << 20
"""More than the SDK stores."""
_LAST_RECORDS: Final = 20
"""Records at the end, in which the number of the attempt is searched for."""
_SDK_LOGGER: Final = "bubu_sdk"


@dataclass(frozen=True, slots=True)
class StoredLog:
    """What one attempt of a step has logged."""

    step: str
    attempt: int
    lines: tuple[tuple[datetime | None, str], ...]


@dataclass(frozen=True, slots=True)
class StoredLogs:
    logs: tuple[StoredLog, ...]
    problem: str
    """Why there may be more that cannot be read; empty if everything was read."""
    has_store: bool = True
    """Whether the operator has an object store."""


async def read_stored_logs(session: Session, run: Object, step_runs: Sequence[Object]) -> StoredLogs:
    """The stored logs of all attempts of these StepRuns, oldest first for each."""
    try:
        store = (await find_stores(session)).of(run["metadata"]["namespace"])
    except CommandError as error:
        return StoredLogs((), str(error), has_store=not isinstance(error.__cause__, NoStoreError))
    found: list[StoredLog] = []
    for step_run in step_runs:
        try:
            found += await _of_step(store, run, step_run)
        except (PayloadError, StoreUnavailableError) as error:
            return StoredLogs(tuple(found), str(error))
    return StoredLogs(tuple(found), "")


async def _of_step(store: Store, run: Object, step_run: Object) -> list[StoredLog]:
    metadata, after = run["metadata"], ""
    own = step_run["metadata"]["name"]
    folder = "/".join((metadata["namespace"], "logs", metadata["name"], step_run["spec"]["stepId"], own))
    keys: list[str] = []
    while page := await store.page(folder, after=after, limit=PAGE_OBJECTS):
        after = page[-1].key
        keys += [each.key for each in page]
    texts = [(await store.read(key, _LOG_BYTES)).decode(errors="replace") for key in keys]
    told = [_attempt_in(text) for text in texts]
    last = max(attempts_started(step_run), len(texts))
    numbers = _numbers(told, last)
    return [
        StoredLog(path_of(step_run), number, tuple((readable(line).at, line) for line in text.splitlines()))
        for number, text in zip(numbers, texts, strict=True)
    ]


def _numbers(told: Sequence[int | None], last: int) -> list[int]:
    """The attempts of the logs: as they say themselves; one that does not comes just before the next one."""
    numbers: list[int] = []
    following = last + 1
    for number in reversed(told):
        following = number if number is not None else max(following - 1, 1)
        numbers.insert(0, following)
    return numbers


def _attempt_in(text: str) -> int | None:
    """The attempt that the SDK has written into one of the last records of a log."""
    for line in reversed(text.splitlines()[-_LAST_RECORDS:]):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("logger") == _SDK_LOGGER and isinstance(record.get("attempt"), int):
            return int(record["attempt"])
    return None
