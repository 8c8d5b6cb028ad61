"""``config``: the settings of the operator."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from cli.complete import complete_setting
from cli.completing import is_called
from cli.options import CommonOptions, with_common_options

if is_called():
    from cli.configuration import show_configuration
    from cli.interruption import run_async


def register(app: typer.Typer) -> None:
    app.command("config")(with_common_options(config))


def config(
    options: CommonOptions,
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY]...",
            help="Keys to describe; `timeout.` means all keys below it; default: all.",
            autocompletion=complete_setting,
        ),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only keys that have another value than their default, or a problem.")
    ] = False,
) -> None:
    """Show the operator's settings: value, default, where the value comes from, and what a change needs.

    A value that is refused is named with its problem; the operator then keeps the settings that it had, and the exit
    code is 7. Without a cluster it shows the defaults. The namespace is bobrapet-system unless --namespace names
    another.
    """
    width = shutil.get_terminal_size((100, 40)).columns
    code = run_async(options, lambda: show_configuration(options, keys or [], changed=changed, width=width))
    if code:
        raise typer.Exit(int(code))
