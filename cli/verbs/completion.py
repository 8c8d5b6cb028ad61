"""``completion``: the script of a shell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer
from typer._completion_shared import get_completion_script

from cli.completing import COMPLETE_VARIABLE

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
    app.command("completion")(completion)


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")]) -> None:
    """Print the completion script of a shell.

    For bash: source <(bobrapet completion bash)
    """
    if shell is Shell.BASH:
        typer.echo(_BASH_SCRIPT)
        return
    name = "pwsh" if shell is Shell.POWERSHELL else shell.value
    typer.echo(get_completion_script(prog_name="bobrapet", complete_var=COMPLETE_VARIABLE, shell=name))
