"""``dump``: what a maintainer needs to look into a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import OperatorNamespace, RunArgument
from cli.completing import is_called
from cli.console import Console
from cli.options import OUTPUT, CommonOptions, with_common_options
from cli.render.size import short_size
from deployment.permissions.names import Installation

if is_called():
    from cli.dump.dumping import dump as write_dump
    from cli.interruption import run_async
    from cli.session import open_session


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
