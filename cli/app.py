"""The verbs of the ``bobrapet`` command, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands import (
    acting,
    beginning,
    caching,
    certificates,
    cluster,
    converting,
    debugging,
    deciding,
    describing,
    drawing,
    explaining,
    linting,
    listening,
    operator,
    rendering,
    repeating,
    running,
    seeing,
    shell,
    storing,
    streaming,
    tapping,
    triggering,
)

app = typer.Typer(
    name="bobrapet",
    help="Run workflows of AI and data steps: on a laptop with the embedded cluster, or on any Kubernetes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version of this command and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"bobrapet {installed('bobrapet')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for group in (
    beginning,
    running,
    triggering,
    cluster,
    seeing,
    listening,
    explaining,
    debugging,
    acting,
    deciding,
    repeating,
    storing,
    caching,
    linting,
    drawing,
    rendering,
    describing,
    converting,
    operator,
    streaming,
    tapping,
    certificates,
    shell,
):
    group.register(app)

for command in app.registered_commands:
    command.epilog = command.epilog or "More options: bobrapet options"
for found in app.registered_groups:
    for command in found.typer_instance.registered_commands if found.typer_instance else ():
        command.epilog = command.epilog or "More options: bobrapet options"
