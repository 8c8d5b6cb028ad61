"""The verbs of the ``bobrapet`` command, put together."""

from __future__ import annotations

import typer

from cli.commands import (
    acting,
    caching,
    certificates,
    cluster,
    converting,
    deciding,
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
    triggering,
)

app = typer.Typer(
    name="bobrapet",
    help="Run workflows of AI and data steps: on a laptop with the embedded cluster, or on any Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for group in (
    running,
    triggering,
    cluster,
    seeing,
    listening,
    explaining,
    acting,
    deciding,
    repeating,
    storing,
    caching,
    linting,
    drawing,
    rendering,
    converting,
    operator,
    streaming,
    certificates,
    shell,
):
    group.register(app)
