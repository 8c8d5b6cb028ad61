"""``version`` and ``completion``."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Final

import typer

from cli.completing import COMPLETE_VARIABLE
from cli.options import OPTION_GROUPS, CommonOptions, flags_of, with_common_options
from cli.problem import CommandError, UsageError

_BASH_SCRIPT: Final = r"""
_bobrapet_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" words word cut IFS=$' \t\n'
    read -r -a words <<< "$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    word="${words[${#words[@]}-1]}"
    # Bash breaks words at colons and the like, as in @latest:STORY, and replaces only the last part, which is $2.
    cut="${word%"$2"}"
    IFS=$'\n'
    COMPREPLY=($(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \
        _BOBRAPET_COMPLETE=complete_bash "${words[0]}" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    # The value of an input follows its key at once.
    if [[ "${COMPREPLY[*]}" == *= ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o default -F _bobrapet_completion bobrapet
""".strip()


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def register(app: typer.Typer) -> None:
    app.command("version")(with_common_options(version))
    app.command("completion")(completion)
    app.command("options")(options_of_commands)


def version(
    options: CommonOptions,
    client: Annotated[bool, typer.Option("--client", help="Do not ask the cluster.")] = False,
) -> None:
    """Print the versions of this command and of the cluster."""
    from importlib.metadata import version as installed

    from cli.console import Console

    versions = {"bobrapet": installed("bobrapet")}
    if not client:
        server = _server_version(options)
        if server:
            versions["kubernetes"] = server
    match options.output:
        case "json":
            Console(options).result(json.dumps(versions))
        case "yaml":
            Console(options).result("\n".join(f"{name}: {number}" for name, number in versions.items()))
        case "table" | "wide":
            Console(options).result("\n".join(f"{name} {number}" for name, number in versions.items()))
        case other:
            raise UsageError(f"version has no output format {other!r}", remedy="use json, yaml or none")


def _server_version(options: CommonOptions) -> str:
    """Empty if there is no cluster, or no answer: that is not an error."""
    from cli.console import Console
    from cli.interruption import run_async
    from cli.session import open_session
    from core.kube.errors import KubeError

    async def work() -> str:
        try:
            async with open_session(options) as session:
                answer = await session.client.server_version()
                return str(answer.get("gitVersion", "unknown"))
        except CommandError:
            return ""  # there is no cluster
        except KubeError as error:
            Console(options).note(f"no version of the cluster: {error}")
            return ""

    return run_async(options, work)


def options_of_commands() -> None:
    """List the options that many commands have and their help leaves out."""
    for heading, names in OPTION_GROUPS.items():
        typer.echo(f"{heading}:")
        for flags, meaning in flags_of(names):
            typer.echo(f"  {flags:<22}{meaning}")
        typer.echo("")


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")]) -> None:
    """Print the completion script of a shell.

    For bash: source <(bobrapet completion bash)
    """
    from typer._completion_shared import get_completion_script

    if shell is Shell.BASH:
        typer.echo(_BASH_SCRIPT)
        return
    name = "pwsh" if shell is Shell.POWERSHELL else shell.value
    typer.echo(get_completion_script(prog_name="bobrapet", complete_var=COMPLETE_VARIABLE, shell=name))
