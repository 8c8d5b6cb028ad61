"""Collects everything about one run, and writes it into one file."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path
from typing import Final

import trio

from bubu_contract.instants import format_instant
from cli.dump.answers import add_answers, add_operator_logs
from cli.dump.archive import refuse_target, write_archive
from cli.dump.contents import DumpContents
from cli.dump.logs import add_logs, logs_of
from cli.dump.objects import RunObjects
from cli.dump.redaction import Redaction
from cli.runs import find_run
from cli.session import Session
from core.api.objects import Object
from core.engine.clock import system_now
from deployment.permissions.names import Installation

_KEY_BYTES: Final = 32


async def dump(
    session: Session,
    reference: str,
    file: Path | None,
    installation: Installation,
    *,
    with_data: bool,
    with_logs: bool,
) -> tuple[Path, DumpContents]:
    """The written file, and what is in it.

    Raises:
        CommandError: there is no such run, or the file cannot be written.
    """
    run = await find_run(session, reference)
    name, now = run["metadata"]["name"], system_now()
    folder = f"bobrapet-dump-{name}-{now:%Y%m%d-%H%M%S}"
    target = file or Path(f"{folder}.tar.gz")
    refuse_target(target)
    contents = DumpContents(Redaction(secrets.token_bytes(_KEY_BYTES), with_data))
    await _collect(session, contents, run, installation, with_logs=with_logs)
    head = {
        "what": f"StoryRun {run['metadata']['namespace']}/{name}",
        "madeBy": "bobrapet dump",
        "at": format_instant(now),
        "withData": with_data,
        "withLogs": with_logs,
    }

    def write() -> None:
        write_archive(target, folder, contents.finished(head), now)

    await trio.to_thread.run_sync(write)
    return target, contents


async def _collect(
    session: Session, contents: DumpContents, run: Object, installation: Installation, *, with_logs: bool
) -> None:
    """Objects first: the secrets in them are known when the logs are read, and they are small."""
    objects = RunObjects(session, contents, run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(objects.collect)
        nursery.start_soon(partial(add_answers, session, contents, run, installation, with_logs=with_logs))
    if with_logs:
        since = {"sinceTime": str(run["metadata"]["creationTimestamp"])}
        await add_logs(session, contents, logs_of(objects.pods, "logs"), since)
        await add_operator_logs(session, contents, run, installation)
