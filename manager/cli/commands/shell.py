"""``version`` and ``completion``."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from manager.cli.options import CommonOptions, with_common_options
from manager.cli.problem import CommandError


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def register(app: typer.Typer) -> None:
    app.command("version")(with_common_options(version))
    app.command("completion")(completion)


def version(
    options: CommonOptions,
    client: Annotated[bool, typer.Option("--client", help="Do not ask the cluster.")] = False,
) -> None:
    """Print the versions of this command and of the cluster."""
    from importlib.metadata import version as installed

    from manager.cli.console import Console

    versions = {"bobrapet": installed("bobrapet")}
    if not client:
        server = _server_version(options)
        if server:
            versions["kubernetes"] = server
    if options.output == "json":
        Console(options).result(json.dumps(versions))
    else:
        Console(options).result("\n".join(f"{name} {number}" for name, number in versions.items()))


def _server_version(options: CommonOptions) -> str:
    """Empty when there is no cluster to ask: that is no reason to fail."""
    from core.kube.errors import KubeError
    from manager.cli.session import open_session, run_async

    async def work() -> str:
        try:
            async with open_session(options) as session:
                answer = await session.client.server_version()
                return str(answer.get("gitVersion", "unknown"))
        except (KubeError, CommandError):
            return ""

    return run_async(options, work)


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print the completion script of a shell.

    For bash: source <(bobrapet completion bash)
    """
    from typer._completion_shared import get_completion_script

    complete_variable = "_BOBRAPET_COMPLETE"
    name = "pwsh" if shell is Shell.POWERSHELL else shell.value
    typer.echo(get_completion_script(prog_name="bobrapet", complete_var=complete_variable, shell=name))
