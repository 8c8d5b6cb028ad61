"""``down``: the end of an embedded cluster."""

from __future__ import annotations

import typer

from cli.completing import is_called
from cli.console import Console
from cli.embedded.folder import data_folder
from cli.options import CLUSTER, DATA, OUTPUT, CommonOptions, with_common_options

if is_called():
    from cli.embedded.process import stop
    from cli.interruption import run_async


def register(app: typer.Typer) -> None:
    app.command("down")(with_common_options(down, also=DATA, without=CLUSTER | OUTPUT))


def down(options: CommonOptions) -> None:
    """Stop the embedded cluster; its data stays for the next `up`."""
    data = data_folder(options.data)
    console = Console(options)
    stopped = run_async(options, lambda: stop(data))
    console.note(f"stopped; the data stays in {data}" if stopped else f"no embedded cluster serves {data}")
