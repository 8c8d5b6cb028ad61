"""Exit codes: stable, documented, and different for "the API was down" and "the run failed"."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from core.api.phases import Phase


class ExitCode(IntEnum):
    DONE = 0
    """Done; the run Succeeded."""
    COMMAND_FAILED = 1
    """The command itself failed: API, I/O, permission."""
    WRONG_USAGE = 2
    RUN_FAILED = 3
    """The run ended Failed or Compensated."""
    RUN_TIMED_OUT = 4
    RUN_CANCELED = 5
    """The run ended Canceled, Aborted or Finished (canceled)."""
    WAITS_AT_GATE = 6
    REJECTED = 7
    """Refused by admission or validation."""
    REUSED = 8
    """``trigger``: no run was started, because an earlier request started the same one."""
    WAIT_TIMED_OUT = 124
    """``--timeout`` of the wait passed; the run is still alive."""
    INTERRUPTED = 130
    """Ctrl-C: detached, the run continues."""
    TERMINATED = 143


_BY_PHASE: Final = {
    Phase.SUCCEEDED: ExitCode.DONE,
    Phase.SKIPPED: ExitCode.DONE,
    Phase.FAILED: ExitCode.RUN_FAILED,
    Phase.COMPENSATED: ExitCode.RUN_FAILED,
    Phase.TIMEOUT: ExitCode.RUN_TIMED_OUT,
    Phase.CANCELED: ExitCode.RUN_CANCELED,
    Phase.FINISHED: ExitCode.RUN_CANCELED,
    Phase.ABORTED: ExitCode.RUN_CANCELED,
}
_WORST_FIRST: Final = (
    ExitCode.RUN_FAILED,
    ExitCode.RUN_TIMED_OUT,
    ExitCode.RUN_CANCELED,
    ExitCode.WAITS_AT_GATE,
    ExitCode.WAIT_TIMED_OUT,
)


def of_phase(phase: Phase) -> ExitCode:
    """The code of a terminal phase.

    Raises:
        KeyError: the phase is not terminal.
    """
    return _BY_PHASE[phase]


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The worst code of several runs: failed before timed out before canceled."""
    seen = set(codes)
    return next((code for code in _WORST_FIRST if code in seen), ExitCode.DONE)
