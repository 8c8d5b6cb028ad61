"""The ``bobrapet`` command, from its arguments to its exit code.

It imports almost nothing before it can be interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bobrapet.launch import do_without_extras
from cli.completing import is_completing, typed_words
from cli.exit_code import ExitCode


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console scripts; always ends with ``SystemExit``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _silently_interruptible():
        do_without_extras()
        if is_completing():
            _speak_to_shells()
        from cli.app import app_for  # costly, and Ctrl-C must already end the process silently

        app = app_for(typed_words() if is_completing() else given)
    _write_whatever_the_terminal_knows()
    sys.exit(int(_run(app, _as_our_parser_takes_them(given))))


@contextmanager
def _silently_interruptible() -> Iterator[None]:
    """Ctrl-C while modules are loading ends the process without output, because nothing has begun."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler:  # the parent ignores it for us, as shells do for background jobs
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, usual)


def _as_our_parser_takes_them(arguments: list[str]) -> list[str]:
    if arguments[:1] != ["manager"]:
        return arguments
    # Only the manager needs them.
    from cli.verbs.manager import BOOLEAN_FLAGS
    from manager.goflags import normalised

    return [*arguments[:1], *normalised(arguments[1:], BOOLEAN_FLAGS)]


def _write_whatever_the_terminal_knows() -> None:
    """A character that the encoding lacks must not cause an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _run(app: Callable[..., object], arguments: list[str]) -> ExitCode | int:
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
    """Load the shells' protocols, which Typer otherwise only loads together with the installation of completion."""
    from typer._completion_classes import completion_init

    completion_init()


def _report(error: Exception, arguments: list[str]) -> ExitCode | int:
    if hasattr(error, "format_message"):  # the parser's own errors; their types are private
        return _report_usage(error)
    from cli.boundary import only, report  # costly, and most commands have no error

    if isinstance(only(error), BrokenPipeError):
        # The reader of our output is gone, so no output is possible any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return report(error, debug=any(argument in ("-v", "-vv", "--verbose") for argument in arguments))


def _report_usage(error: Any) -> int:
    """Print a usage error in the form of all other errors."""
    message: str = error.format_message()
    sys.stderr.write(f"error: {message[:1].lower()}{message[1:].removesuffix('.')}\n")
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"hint: see {context.command_path} --help\n")
    return int(error.exit_code)
