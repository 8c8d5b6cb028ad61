"""``dump``: what a maintainer needs to look into a run."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from bubu_contract.instants import format_instant
from cli.arguments import OperatorNamespace, RunArgument
from cli.completing import is_called
from cli.console import Console
from cli.dump.contents import DumpContents
from cli.dump.redaction import Redaction
from cli.options import OUTPUT, CommonOptions, with_common_options
from cli.problem import CommandError
from cli.render.size import short_size
from core.api.objects import Object
from deployment.permissions.names import Installation

if is_called():
    import trio

    from cli.dump.answers import add_answers, add_operator_logs
    from cli.dump.logs import add_logs, logs_of
    from cli.dump.objects import RunObjects
    from cli.interruption import run_async
    from cli.runs import find_run
    from cli.session import Session, open_session
    from core.engine.clock import system_now


def register(app: typer.Typer) -> None:
    app.command("dump")(with_common_options(dump, without=OUTPUT))


def dump(
    options: CommonOptions,
    run: RunArgument,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="The archive; default: bobrapet-dump-RUN-TIME.tar.gz here.")
    ] = None,
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Also the inputs and outputs of the run, without what looks like a secret."),
    ] = False,
    no_logs: Annotated[bool, typer.Option("--no-logs", help="Without the logs of containers and operator.")] = False,
    operator_namespace: OperatorNamespace = "bobrapet-system",
) -> None:
    """Write one file with all that a maintainer needs to look into a run: objects, Events, logs, settings, doctor.

    Secrets are not read. Inputs, outputs and the variables of containers are left out: their shape stays. What looks
    like a secret is removed everywhere. Look at the file before you send it; manifest.json lists its contents.
    """

    async def work() -> None:
        async with open_session(options) as session:
            target, contents = await write_dump(
                session,
                run,
                file,
                Installation(operator_namespace),
                with_data=with_data,
                with_logs=not no_logs,
            )
        console = Console(options)
        console.result(str(target))
        size, removed = short_size(target.stat().st_size), sum(contents.removed.values())
        console.note(f"{len(contents.files) + 1} files, {size}; {removed} values were left out")
        for what, why in sorted(contents.unreadable.items()):
            console.note(f"not in it: {what}: {why}")
        console.note("look at it before you send it: manifest.json lists what is in it and what was left out")

    run_async(options, work)


_KEY_BYTES: Final = 32


async def write_dump(
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


def refuse_target(target: Path) -> None:
    """Before anything is collected.

    Raises:
        CommandError: the file exists, or its folder does not.
    """
    if target.exists():
        raise CommandError(f"{target} exists", remedy="name another file with --file")
    if not target.absolute().parent.is_dir():
        raise CommandError(f"there is no folder {target.absolute().parent}", remedy="name another file with --file")


def write_archive(target: Path, folder: str, files: Mapping[str, bytes], at: datetime) -> None:
    """Write a ``.tar.gz`` whose files are below ``folder``.

    Raises:
        CommandError: the file exists, or cannot be written.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for path, content in files.items():
                archive.addfile(_entry(f"{folder}/{path}", len(content), at), io.BytesIO(content))
        os.link(partial, target)  # fails if another process has created the file meanwhile
    except FileExistsError:
        raise CommandError(f"{target} exists", remedy="name another file with --file") from None
    except OSError as error:
        raise CommandError(
            f"{target} cannot be written: {error.strerror or error}", remedy="name another file with --file"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _entry(path: str, size: int, at: datetime) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(at.timestamp())
    return entry
