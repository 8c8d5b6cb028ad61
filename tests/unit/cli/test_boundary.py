from __future__ import annotations

import pytest

from cli.boundary import only, report
from cli.embedded.folder import EmbeddedError
from cli.exit_code import ExitCode
from cli.interruption import InterruptedBySignalError
from cli.problem import CommandError, RejectedManifestError, UsageError
from core.kube import errors as kube
from views.errors import ViewError


def refusal(kind: type[kube.ApiError], code: int) -> kube.ApiError:
    return kind({"kind": "Status", "code": code, "message": "no", "reason": ""})


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError("it broke", remedy="mend it"), ExitCode.COMMAND_FAILED, "error: it broke\nhint: mend it\n"),
        (UsageError("wrong"), ExitCode.WRONG_USAGE, "error: wrong\n"),
        (RejectedManifestError(["a:1: x", "a:2: y"]), ExitCode.REJECTED, "error: a:1: x\na:2: y\n"),
        (ViewError("no step", remedy="it has: a"), ExitCode.COMMAND_FAILED, "error: no step\nhint: it has: a\n"),
        (EmbeddedError("no room"), ExitCode.COMMAND_FAILED, "error: no room\n"),
        (
            InterruptedBySignalError(ExitCode.TERMINATED),
            ExitCode.TERMINATED,
            "error: interrupted; everything was cleaned up\n",
        ),
        (FileNotFoundError(2, "No such file", "x.yaml"), ExitCode.COMMAND_FAILED, "error: x.yaml: No such file\n"),
        (kube.UnreachableError("nobody there"), ExitCode.COMMAND_FAILED, "error: nobody there\nhint: check that"),
        (kube.ConfigError("no context"), ExitCode.COMMAND_FAILED, "error: no context\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_known_error_is_one_message_and_its_code(
    error: Exception, code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, debug=False) is code
    assert capsys.readouterr().err.startswith(said)


def test_an_unexpected_error_is_called_a_bug_and_shows_its_trace_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(ZeroDivisionError("oh"), debug=False) is ExitCode.COMMAND_FAILED
    quiet = capsys.readouterr().err
    report(ZeroDivisionError("oh"), debug=True)

    assert quiet.startswith("error: unexpected ZeroDivisionError: oh\nhint: this is a bug")
    assert "ZeroDivisionError" in capsys.readouterr().err.removeprefix(quiet)


def test_of_nested_groups_the_first_error_counts() -> None:
    first = ValueError()

    assert only(ExceptionGroup("", [ExceptionGroup("", [first, KeyError()]), TypeError()])) is first
