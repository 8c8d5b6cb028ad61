"""``doctor`` and ``dump``: is everything in order, and what a maintainer needs when it is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import RunArgument
from cli.options import ALL_NAMESPACES, OUTPUT, CommonOptions, with_common_options
from cli.problem import UsageError


def register(app: typer.Typer) -> None:
    app.command("doctor")(with_common_options(doctor, also=ALL_NAMESPACES))
    app.command("dump")(with_common_options(dump, without=OUTPUT))


_OperatorNamespace = Annotated[str, typer.Option("--operator-namespace", help="Namespace of the operator.")]


def doctor(options: CommonOptions, operator_namespace: _OperatorNamespace = "bobrapet-system") -> None:
    """Look for problems of the cluster, the operator and its runs; each problem has a remedy. It changes nothing.

    It takes at most 10 s, and needs no permission that the other commands do not need: what you may not read is
    skipped. The exit code is 1 if there is a problem. Runs, quotas and leftovers are those of the namespace; with -A,
    of all.
    """
    from cli.doctor.examination import examine
    from cli.doctor.patient import Patient
    from cli.exit_code import ExitCode
    from cli.interruption import run_async
    from cli.render.doctor import lines_of
    from cli.render.output import render
    from cli.session import open_session
    from deployment.permissions.names import Installation
    from views.doctor.diagnosis import Health, document_of, worst_health

    if options.output not in ("table", "wide", "json", "yaml") and not options.output.startswith("jsonpath="):
        raise UsageError(f"doctor has no output format {options.output!r}", remedy="use json, yaml, jsonpath=… or none")

    async def work() -> Health:
        async with open_session(options) as session:
            results = await examine(Patient(session, Installation(operator_namespace)))
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of(results)], options.output, single=True))
            else:
                for line, colour in lines_of(results, width=shutil.get_terminal_size((100, 40)).columns):
                    session.console.line(line, colour)
            return worst_health(result.health for result in results)

    if run_async(options, work) is Health.PROBLEM:
        raise typer.Exit(int(ExitCode.COMMAND_FAILED))


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
    operator_namespace: _OperatorNamespace = "bobrapet-system",
) -> None:
    """Write one file with all that a maintainer needs to look into a run: objects, Events, logs, settings, doctor.

    Secrets are not read. Inputs, outputs and the variables of containers are left out: their shape stays. What looks
    like a secret is removed everywhere. Look at the file before you send it; manifest.json lists its contents.
    """
    from cli.console import Console
    from cli.dump.dumping import dump as write_dump
    from cli.interruption import run_async
    from cli.render.size import short_size
    from cli.session import open_session
    from deployment.permissions.names import Installation

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
