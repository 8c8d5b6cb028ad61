"""Runs the function of the user under Python's debugger, where a person asks for it: ``BUBU_DEBUGGER=pdb``.

The function runs in a thread of its own, in which a debugger that was started around the whole program does not stop.
Source: SDK contract 10.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from bubu_sdk import traces
from bubu_sdk.errors import EngramError
from bubu_sdk.hosting import is_async

VARIABLE: Final = "BUBU_DEBUGGER"
PDB: Final = "pdb"


def under_debugger(function: Callable[..., Any], environ: Mapping[str, str]) -> Callable[..., Any]:
    """``function``, or if the environment asks for it, one that stops at the first line of ``function``.

    An error opens the debugger again, at the line that raised it.
    """
    if environ.get(VARIABLE, "").strip().lower() != PDB:
        return function
    return _stopping_async(function) if is_async(function) else _stopping(function)


def _stopping(function: Callable[..., Any]) -> Callable[..., Any]:
    def stopped(**arguments: Any) -> Any:
        _stop_at_next_call()
        try:
            return function(**arguments)
        except BaseException as error:
            _examine(error)
            raise
        finally:
            sys.settrace(None)

    return stopped


def _stopping_async(function: Callable[..., Any]) -> Callable[..., Any]:
    async def stopped(**arguments: Any) -> Any:
        _stop_at_next_call()
        try:
            return await function(**arguments)
        except BaseException as error:
            _examine(error)
            raise
        finally:
            sys.settrace(None)

    return stopped


def _stop_at_next_call() -> None:
    """As ``Pdb.runcall`` does, which would take the end of the debugger for the end of the function."""
    import pdb  # noqa: T100 - asked for

    debugger = pdb.Pdb()
    debugger.reset()
    sys.settrace(debugger.trace_dispatch)


def _examine(error: BaseException) -> None:
    """Let the user look at the error.

    Raises:
        EngramError: the user has left the debugger, so the function did not fail by itself.
    """
    import bdb
    import pdb  # noqa: T100 - asked for

    sys.settrace(None)
    if isinstance(error, bdb.BdbQuit):
        raise EngramError("the step was ended in the debugger") from None
    if isinstance(error, Exception):
        print(traces.of_user_code(error), flush=True)
        pdb.post_mortem(error.__traceback__)
