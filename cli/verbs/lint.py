"""``lint``: what is wrong with manifests, before they are applied."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.builtfiles import is_python
from cli.completing import is_called
from cli.console import Console
from cli.exit_code import ExitCode
from cli.manifests import STDIN_NAME, texts
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, UsageError

if is_called():
    from cli import lintreport
    from cli.interruption import run_async
    from cli.linting import Document, Located, check, in_order, of_python, read_documents, world_of_files
    from cli.pythonfiles import build


_FORMATS: Final = ("text", "json", "sarif", "github")


class FailOn(StrEnum):
    ERROR = "error"
    WARNING = "warning"


def register(app: typer.Typer) -> None:
    app.command("lint")(with_common_options(lint))


def lint(
    options: CommonOptions,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Manifests, folders or Python files; - reads stdin.")
    ],
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Also check references and settings against the cluster.")
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="The lowest severity that makes lint exit with 7.")
    ] = FailOn.ERROR,
) -> None:
    """Check manifests as admission does, all files together: every finding with its file, line and column.

    -o text, json, sarif (for code scanning) or github (annotations in a workflow). The exit code is 7 if there
    are errors, with --fail-on warning also if there are warnings. Without --cluster, references to objects outside the
    files are not checked.
    """
    form = "text" if options.output in ("table", "wide") else options.output
    if form not in _FORMATS:
        raise UsageError(f"lint has no output format {form!r}", remedy=f"use one of {', '.join(_FORMATS)}")
    python = [file for file in files if is_python(file)]
    described = of_python(run_async(options, lambda: build(python))) if python else []
    given = list(texts([file for file in files if file not in python]))
    documents, found = read_documents(given, {file for file, _ in given if file not in (*files, STDIN_NAME)})
    documents += described
    given += [(file, Path(file).read_text("utf-8")) for file in dict.fromkeys(each.file for each in described)]
    if not documents and not found:
        raise CommandError(
            f"no manifest in {', '.join(files)}", remedy="give a file with apiVersion, kind and metadata"
        )
    found += _of_cluster(options, documents) if cluster else _of_files(options, documents)
    findings = in_order(found, [file for file, _ in given])
    _report(options, form, findings, dict(given), len(documents))
    if any(fail_on is FailOn.WARNING or found.finding.severity.value == FailOn.ERROR for found in findings):
        raise typer.Exit(int(ExitCode.REJECTED))


def _of_files(options: CommonOptions, documents: list[Document]) -> list[Located]:
    return list(check(documents, world_of_files(documents, options.namespace), options.namespace))


def _of_cluster(options: CommonOptions, documents: list[Document]) -> list[Located]:
    # Files alone need no client of an API server, whose import takes longer than to check them.
    from cli.lintcluster import cluster_world
    from cli.session import open_session

    async def work() -> tuple[Any, str]:
        async with open_session(options) as session:
            return await cluster_world(session, documents), session.namespace

    world, namespace = run_async(options, work)
    return list(check(documents, world, namespace))


def _report(options: CommonOptions, form: str, findings: list[Located], texts: dict[str, str], documents: int) -> None:
    console = Console(options)
    match form:
        case "json":
            console.result(lintreport.as_json(findings))
        case "sarif":
            console.result(lintreport.sarif(findings, version("bobrapet")))
        case "github":
            console.result(lintreport.github(findings))
        case _:
            lines = {file: text.split("\n") for file, text in texts.items()} if sys.stdout.isatty() else None
            console.result(lintreport.text(findings, console.styled, lines))
    totals = ", ".join(_counted(number, what[:-1]) for what, number in lintreport.counts(findings).items())
    console.note(f"{_counted(documents, 'document')} in {_counted(len(texts), 'file')}: {totals}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
