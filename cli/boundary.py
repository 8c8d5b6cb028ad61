"""Errors → one clear message and the documented exit code. The only place that turns exceptions into output."""

from __future__ import annotations

import sys
import traceback

from cli.console import for_stream
from cli.embedded.folder import EmbeddedError
from cli.exit_code import ExitCode
from cli.interruption import InterruptedBySignalError
from cli.problem import CommandError
from core.kube import errors as kube
from views.errors import ViewError


def report(error: BaseException, *, debug: bool) -> ExitCode:
    """Print a message for the user and return the exit code."""
    error = only(error)
    if isinstance(error, CommandError):
        _print_error(str(error), error.remedy)
        return error.code
    known = _known(error)
    if known is not None:
        message, remedy, code = known
        _print_error(message, remedy)
        return code
    _print_error(
        f"unexpected {type(error).__name__}: {error}",
        "this is a bug in bobrapet; please report it with the output of the same command and --verbose",
    )
    if debug:
        sys.stderr.write(for_stream("".join(traceback.format_exception(error)), sys.stderr))
    return ExitCode.COMMAND_FAILED


def _known(error: BaseException) -> tuple[str, str, ExitCode] | None:
    match error:
        case ViewError():
            return str(error), error.remedy, ExitCode.COMMAND_FAILED
        case EmbeddedError():
            return str(error), "", ExitCode.COMMAND_FAILED
        case InterruptedBySignalError():
            return "interrupted; everything was cleaned up", "", error.code
        case kube.InvalidError() | kube.BadRequestError():
            return error.message, "correct the fields it names", ExitCode.REJECTED
        case kube.ForbiddenError():
            return error.message, "ask for the RBAC rule it names", ExitCode.COMMAND_FAILED
        case kube.UnauthorizedError():
            remedy = "a token or certificate may have expired: renew the kubeconfig"
            return error.message, remedy, ExitCode.COMMAND_FAILED
        case kube.NotServedError():
            remedy = "install the CustomResourceDefinitions, or use --local"
            return f"the cluster does not serve this kind: {error.message}", remedy, ExitCode.COMMAND_FAILED
        case kube.UnreachableError():
            return str(error), "check that the cluster is up, or start one with: bobrapet up", ExitCode.COMMAND_FAILED
        case kube.KubeError():
            return str(error), "", ExitCode.COMMAND_FAILED
        case OSError():
            return f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), "", ExitCode.COMMAND_FAILED
        case _:
            return None


def only(error: BaseException) -> BaseException:
    """The error inside nested groups; if there are several, the first, because the others are its consequences."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _print_error(message: str, remedy: str) -> None:
    lines = message.splitlines() or [""]
    hint = f"hint: {remedy}\n" if remedy else ""
    sys.stderr.write(for_stream("\n".join([f"error: {lines[0]}", *lines[1:]]) + f"\n{hint}", sys.stderr))
    sys.stderr.flush()
