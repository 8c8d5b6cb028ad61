"""A node as a child process, which starts on its parent's signal and ends with it.

It reads the assignment, with credentials, from standard input.
"""

from __future__ import annotations

import os
import signal
import ssl

import trio

from kubewire import parent
from localcluster.clock import utc_now
from localcluster.log import get_logger, log_to_stderr
from localcluster.node.assignment import Assignment
from localcluster.node.client import ApiError, UnreachableError
from localcluster.node.running import NodeAccess, run_node

_log = get_logger("localcluster.node")


def main() -> int:
    """The exit code: 0 when its parent ended it, 1 when it could not begin (it has logged why)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process in the right order
    failed = False
    try:
        trio.run(_until_signalled, strict_exception_groups=True)
    except* (ApiError, UnreachableError, OSError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        _log.warning("the node cannot start", cause=str(error))
        failed = True
    return int(failed)


async def _until_signalled() -> None:
    pipe = parent.standard_input()
    line = await parent.word_of(pipe)
    if line is None:
        return
    assignment = Assignment.from_line(line)
    log_to_stderr(assignment.log_form)
    os.nice(assignment.settings.niceness)
    access = NodeAccess(
        token=assignment.token,
        serving=assignment.serving,
        client_ca_pem=assignment.ca_pem,
        tls=ssl.create_default_context(cadata=assignment.ca_pem),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_with_parent, pipe, nursery.cancel_scope)
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        await nursery.start(run_node, assignment.settings, access, utc_now)
        parent.answer("ready")


async def _cancel_with_parent(pipe: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
    await parent.wait_until_gone(pipe)
    scope.cancel()


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        await anext(signals)
        scope.cancel()
