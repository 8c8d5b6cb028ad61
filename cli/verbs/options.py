"""``options``: what many commands have and their help leaves out."""

from __future__ import annotations

import typer

from cli.options import OPTION_GROUPS, flags_of


def register(app: typer.Typer) -> None:
    app.command("options")(options_of_commands)


def options_of_commands() -> None:
    """List the options that many commands have and their help leaves out."""
    for heading, names in OPTION_GROUPS.items():
        typer.echo(f"{heading}:")
        for flags, meaning in flags_of(names):
            typer.echo(f"  {flags:<22}{meaning}")
        typer.echo("")
