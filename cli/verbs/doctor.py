"""``doctor``: is everything in order?"""

from __future__ import annotations

import shutil

import typer

from cli.arguments import OperatorNamespace
from cli.completing import is_called
from cli.exit_code import ExitCode
from cli.options import ALL_NAMESPACES, CommonOptions, with_common_options
from cli.problem import UsageError
from cli.render.output import render
from deployment.permissions.names import Installation
from views.doctor.diagnosis import Health, document_of, worst_health

if is_called():
    from cli.doctor.context import DoctorContext
    from cli.doctor.examination import examine
    from cli.interruption import run_async
    from cli.render.doctor import lines_of
    from cli.session import open_session


def register(app: typer.Typer) -> None:
    app.command("doctor")(with_common_options(doctor, also=ALL_NAMESPACES))


def doctor(options: CommonOptions, operator_namespace: OperatorNamespace = "bobrapet-system") -> None:
    """Look for problems of the cluster, the operator and its runs; each problem has a remedy. It changes nothing.

    It takes at most 10 s, and needs no permission that the other commands do not need: what you may not read is
    skipped. The exit code is 1 if there is a problem. Runs, quotas and leftovers are those of the namespace; with -A,
    of all.
    """
    if options.output not in ("table", "wide", "json", "yaml") and not options.output.startswith("jsonpath="):
        raise UsageError(f"doctor has no output format {options.output!r}", remedy="use json, yaml, jsonpath=… or none")

    async def work() -> Health:
        async with open_session(options) as session:
            results = await examine(DoctorContext(session, Installation(operator_namespace)))
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of(results)], options.output, single=True))
            else:
                for line, colour in lines_of(results, width=shutil.get_terminal_size((100, 40)).columns):
                    session.console.line(line, colour)
            return worst_health(result.health for result in results)

    if run_async(options, work) is Health.PROBLEM:
        raise typer.Exit(int(ExitCode.COMMAND_FAILED))
