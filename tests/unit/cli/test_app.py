"""A command line gets the verb that it names, and the whole app wherever more is needed."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from cli.app import app_for, whole_app


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

    assert list(alone.commands) == [verb]
    assert described(alone.commands[verb]) == described(WHOLE.commands[verb])
    assert described(alone)[:4] == described(WHOLE)[:4]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["rum", "story.yaml"]])
def test_other_arguments_get_all_verbs(arguments: list[str]) -> None:
    assert app_for(arguments) is whole_app()
