"""The ``bobrapet`` command: its verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import typer

from manager.cli.commands import acting, cluster, drawing, operator, running, seeing, shell
from manager.cli.exit_code import ExitCode
from manager.cli.goflags import normalised

COMPLETE_VARIABLE: Final = "_BOBRAPET_COMPLETE"
"""Set by the completion scripts: the shell asks what could come next."""

app = typer.Typer(
    name="bobrapet",
    help="Run workflows of AI and data steps: on a laptop with the embedded cluster, or on any Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for group in (running, cluster, seeing, acting, drawing, operator, shell):
    group.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console scripts; always ends with ``SystemExit``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [operator.PROGRAM_NAME]:
        given = [*given[:1], *normalised(given[1:], operator.BOOLEAN_FLAGS)]
    _do_without_rich()
    if COMPLETE_VARIABLE in os.environ:
        _speak_to_shells()
    sys.exit(int(_run(given)))


def _run(arguments: list[str]) -> ExitCode | int:
    try:
        result = app(args=arguments, prog_name="bobrapet", standalone_mode=False)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as ended:
        return int(ended.code or 0)
    except Exception as error:  # noqa: BLE001 - the process edge: every error becomes a message and a code
        return _report(error, arguments)
    return result if isinstance(result, int) else ExitCode.DONE


def _speak_to_shells() -> None:
    """Typer knows the shells' protocols only where it also offers to edit the user's start-up files."""
    from typer._completion_classes import completion_init

    completion_init()


def _do_without_rich() -> None:
    """Libraries that make use of rich where they find it do not find it: loading it is a third of a short command.

    None of them needs it for anything of ours: httpx has a command line of its own, typer renders markup in help
    texts, structlog draws tracebacks.
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # how Python is told that there is no such module


def _report(error: Exception, arguments: list[str]) -> ExitCode | int:
    show = getattr(error, "show", None)
    if callable(show):  # the parser's own errors know how to print themselves
        show()
        return int(getattr(error, "exit_code", ExitCode.WRONG_USAGE))
    from manager.cli.boundary import only, report

    if isinstance(only(error), BrokenPipeError):
        # The reader of our output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return report(error, debug=any(argument in ("-v", "-vv", "--verbose") for argument in arguments))
