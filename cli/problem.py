"""The errors of a command that cannot do its task: what, where, why, remedy. Never a traceback."""

from __future__ import annotations

from cli.exit_code import ExitCode


class CommandError(Exception):
    """Ends the command with ``code`` after printing the message to standard error."""

    def __init__(self, message: str, *, code: ExitCode = ExitCode.COMMAND_FAILED, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class UsageError(CommandError):
    """The command line itself is invalid."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message, code=ExitCode.WRONG_USAGE, remedy=remedy)


class RejectedManifestError(CommandError):
    """Files that must not be applied; every problem has its own line, ``file:line: field: message (remedy)``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), code=ExitCode.REJECTED)
