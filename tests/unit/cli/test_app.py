"""A command line gets the verb that it names with all its arguments, and of the other verbs what the help lists."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
import typer

from cli.app import VERBS, app_for, whole_app


def described(command: Any) -> Any:
    """A command with its options, and the commands below it."""
    return (
        command.name,
        command.help,
        command.epilog,
        [(each.name, each.opts, each.required, each.hidden, getattr(each, "help", "")) for each in command.params],
        {name: described(each) for name, each in getattr(command, "commands", {}).items()},
    )


WHOLE: Any = typer.main.get_command(whole_app())


@pytest.mark.parametrize("verb", WHOLE.commands)
def test_a_verb_alone_is_the_same_as_in_the_whole_app(verb: str) -> None:
    alone: Any = typer.main.get_command(app_for([verb, "--help"]))

    assert set(alone.commands) == set(WHOLE.commands)
    assert described(alone.commands[verb]) == described(WHOLE.commands[verb])
    assert described(alone)[:4] == described(WHOLE)[:4]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["rum", "story.yaml"]])
def test_other_arguments_get_the_names_of_all_verbs(arguments: list[str]) -> None:
    app: Any = typer.main.get_command(app_for(arguments))

    assert list(app.commands) == list(WHOLE.commands) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_has_the_first_paragraph_of_the_help_of_each_verb(verb: str) -> None:
    first = inspect.cleandoc(WHOLE.commands[verb].help).split("\n\n")[0]

    assert VERBS[verb] == first.replace("\n", " ")


def test_help_and_completion_need_none_of_what_verbs_work_with() -> None:
    program = (
        "import sys; import typer; from cli.app import VERBS, app_for\n"
        "for verb in VERBS: typer.main.get_command(app_for([verb]))\n"
        "print([name for name in ('trio', 'httpx', 'ruamel.yaml', 'core.kube.client') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_help_that_is_the_value_of_an_option_is_refused() -> None:
    words = ["cancel", "first", "--message", "--help"]

    done = subprocess.run([sys.executable, "-m", "cli", *words], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (
        2,
        "error: --help cannot be the value of an option\nhint: write --option=--help\n",
    )
