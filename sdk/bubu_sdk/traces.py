"""Tracebacks that begin in the code of the user. Source: SDK contract 19."""

from __future__ import annotations

from types import TracebackType
from typing import Final

_HOSTS: Final = frozenset(
    {"asyncio", "bdb", "bubu_sdk", "concurrent", "contextlib", "outcome", "pdb", "threading", "trio"}
)
"""Packages whose frames are between the start of the process and the function of the user."""


def of_user_code(error: BaseException) -> str:
    """The traceback of ``error``, without the frames in which the SDK and its event loop call the function.

    If no other frame is left, all frames are shown: the error is one of the SDK.
    """
    import traceback  # imported here, because most steps never need it and it costs milliseconds

    shown = traceback.TracebackException(type(error), error, _from_user_code(error.__traceback__))
    return "".join(shown.format()).rstrip("\n")


def _from_user_code(trace: TracebackType | None) -> TracebackType | None:
    here = trace
    while here is not None:
        package = str(here.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _HOSTS:
            return here
        here = here.tb_next
    return trace
