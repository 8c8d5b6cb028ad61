"""What a process of the command is for: completions, help, or the work of a verb. Imports almost nothing."""

from __future__ import annotations

import os
import sys
from typing import Final

from cli.problem import UsageError

COMPLETE_VARIABLE: Final = "_BOBRAPET_COMPLETE"
"""Set by the completion scripts when the shell requests completions."""
_TYPED_VARIABLES: Final = ("_TYPER_COMPLETE_ARGS", "COMP_WORDS")
"""What the user has typed; bash uses the second, the other shells the first."""
_HELP: Final = frozenset({"-h", "--help"})


def is_completing() -> bool:
    return COMPLETE_VARIABLE in os.environ


def typed_words() -> list[str]:
    """The words of the line that a shell completes, without the name of the command."""
    return next((os.environ[name] for name in _TYPED_VARIABLES if name in os.environ), "").split()[1:]


def is_called() -> bool:
    """Whether this process may execute a verb. For help and for completion a verb needs only its arguments.

    A module of ``cli.verbs`` imports what its work needs if this is true: loading the client of the API server alone
    takes longer than a shell should wait.
    """
    return not is_completing() and _HELP.isdisjoint(sys.argv[1:])


def refuse_help_as_value() -> None:
    """Call it where a verb begins its work, because ``--help`` as the value of an option hides what that needs.

    Raises:
        UsageError: it is the value of an option.
    """
    if not is_called():
        raise UsageError("--help cannot be the value of an option", remedy="write --option=--help")
