"""``manifest``: the manifests of Stories and Engrams in Python."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.builtfiles import is_python
from cli.completing import is_called
from cli.console import Console
from cli.exit_code import ExitCode
from cli.options import CLUSTER, CommonOptions, with_common_options
from cli.problem import UsageError
from cli.render.output import render

if is_called():
    from cli import lintreport
    from cli.interruption import run_async
    from cli.linting import check, in_order, of_python, world_of_files
    from cli.pythonfiles import build


def register(app: typer.Typer) -> None:
    app.command("manifest")(with_common_options(manifest, also={"namespace"}, without=CLUSTER))


def manifest(
    options: CommonOptions,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Python files with Stories.")],
) -> None:
    """Print the manifests that Python files describe: EngramTemplates, Engrams and Stories, as run applies them.

    The files are executed in a separate process. What they describe is checked as lint does, with the lines of the
    Python file; with an error, the command prints no manifest and exits with 7.
    """
    other = [file for file in files if not is_python(file)]
    if other:
        raise UsageError(f"{', '.join(other)}: not a Python file", remedy="lint and convert read manifests")
    if options.output not in ("table", "yaml", "json", "jsonl"):
        raise UsageError(f"manifest has no output format {options.output!r}", remedy="use yaml, json or jsonl")
    built = run_async(options, lambda: build(files))
    documents = of_python(built)
    found = check(documents, world_of_files(documents, options.namespace), options.namespace)
    findings = in_order(found, list(dict.fromkeys(document.file for document in documents)))
    console = Console(options)
    if findings:
        console.note(lintreport.text(findings, console.styled))
    if lintreport.counts(findings)["errors"]:
        raise typer.Exit(int(ExitCode.REJECTED))
    described = [each for file in built for each in file.documents]
    if options.output in ("table", "yaml"):
        console.result("\n---\n".join(each.text for each in described))
    else:
        console.result(render([each.document for each in described], options.output, single=False))
