"""The reference's ``--zap-*`` flags as settings of our own log. Source: operator contract 1.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from manager.goflags import boolean

_ENCODERS: Final = {"json": "json", "console": "console"}
_LEVELS: Final = {"debug": "debug", "info": "info", "error": "error", "panic": "error"}
_STACK_TRACES: Final = frozenset({"", "error"})
_TIMES: Final = frozenset({"", "rfc3339", "rfc3339nano", "iso8601"})


@dataclass(frozen=True, slots=True)
class ZapFlags:
    """The flags as given; empty means not given."""

    devel: str = "false"
    encoder: str = ""
    level: str = ""
    stacktrace_level: str = ""
    time_encoding: str = ""

    @property
    def log_format(self) -> str:
        """``json`` or ``console``.

        Raises:
            ValueError: another encoder.
        """
        encoder = self.encoder.lower() or ("console" if boolean("zap-devel", self.devel) else "json")
        if encoder not in _ENCODERS:
            raise ValueError(f"--zap-encoder must be json or console, not {self.encoder!r}")
        return _ENCODERS[encoder]

    @property
    def log_level(self) -> str:
        """``debug``, ``info`` or ``error``; a number above zero requests verbosity, so debug.

        Raises:
            ValueError: neither a level nor such a number.
        """
        level = self.level.lower() or ("debug" if boolean("zap-devel", self.devel) else "info")
        if level.isdecimal() and int(level) > 0:
            return "debug"
        if level not in _LEVELS:
            raise ValueError(f"--zap-log-level must be debug, info, error, panic or a number, not {self.level!r}")
        return _LEVELS[level]

    def without_effect(self) -> Iterator[str]:
        """Why each given flag has no effect."""
        if self.stacktrace_level.lower() not in _STACK_TRACES:
            yield "--zap-stacktrace-level: only unexpected errors have a stack trace, and they always have it"
        if self.time_encoding.lower() not in _TIMES:
            yield "--zap-time-encoding: times are always RFC 3339 in UTC with milliseconds"
