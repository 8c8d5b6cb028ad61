"""The process of one step: forked by the zygote, it waits for its order, runs the step as a Job does, and ends.

It begins with the state of the program after its import and ``setup``. Its environment, working folder, session, memory
limit and standard streams are its own.
"""

from __future__ import annotations

import atexit
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bubu_sdk import logs, process, redaction, stores
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.hosting import TrioHost, host_for
from bubu_sdk.kube import Cluster
from bubu_sdk.signature import StepFunction
from bubu_sdk.stage import Ending
from bubu_sdk.storage import Store
from bubu_sdk.workers import channel, clock, confinement, kinship, records
from bubu_sdk.workers.assigned import AssignedStepRun
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.errands import ErrandCluster
from bubu_sdk.workers.order import StepOrder, order_of_wire, order_to_wire, outcome_to_wire
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.zygote import Child

_REHEARSAL: Final = {
    "BUBU_STEPRUN_NAME": "rehearsal",
    "BUBU_STEPRUN_NAMESPACE": "rehearsal",
    "BUBU_TRIGGER_DATA": "{}",
    "BUBU_SKIP_SCHEMA_VALIDATION": "true",
}
_FAREWELL_SECONDS: Final = 10.0
"""The time that the user's exit handlers and threads have, as in a Job."""
_LEFTOVER_SECONDS: Final = 2.0
"""After this time the zygote deals with what cannot be killed."""


@dataclass(frozen=True)
class Inheritance:
    """What the children of a zygote have in common."""

    engram: StepFunction
    loaded: Any = None
    """What ``setup`` returned."""
    memory_bytes: int | None = None
    """How much each child may allocate beyond what it inherits."""
    open_store: Callable[[Mapping[str, str]], Store | None] = stores.open_store


class MarkedLines(logs.JsonLines):
    """Writes records to the output of the step, with the mark that tells them from what it prints."""

    def __init__(self, fields: Mapping[str, object], descriptor: int, mark: str) -> None:
        super().__init__(fields)
        self._descriptor = descriptor
        self._mark = mark

    def _write(self, line: str) -> None:
        with suppress(AttributeError, OSError, ValueError):  # the program has closed or replaced it
            sys.stdout.flush()  # so that what was printed before comes before
        for frame in records.frames(self._mark, line.rstrip("\n").encode(errors="replace")):
            records.write_all(self._descriptor, frame)


def child_of(inheritance: Inheritance) -> Child:
    """The life of a child of a zygote."""
    return partial(_live, inheritance)


def _live(inheritance: Inheritance, end: socket.socket, output: int) -> int:
    confinement.separate()
    os.dup2(output, 1)
    os.dup2(output, 2)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # the program has replaced the stream
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    redaction.mask_prints()
    _rehearse(inheritance.engram)
    message = channel.receive(end)
    if not isinstance(message, bytes):
        return 0  # the worker ends; this child was only kept ready
    order = order_of_wire(message)
    environment = order.environment(os.environ)
    os.environ.update(environment)
    if order.folder is not None:
        os.chdir(order.folder)
        os.environ["TMPDIR"] = environment["TMPDIR"] = order.folder
        tempfile.tempdir = None  # it may remember the folder of the worker
    if inheritance.memory_bytes is not None:
        _limit_memory(inheritance.memory_bytes)
    _seed()
    atexit._clear()
    cluster = ErrandCluster(end)
    outcome, ending = _run(inheritance, order, environment, output, cluster)
    with suppress(OSError):  # the worker has ended, and its successor reports the end of this process
        cluster.report(outcome)
    _say_farewell(ending)
    return ending.exit_code


def _rehearse(engram: StepFunction) -> None:
    """Run a step that does nothing, while there is time.

    A child shares the memory of the zygote. What every step changes is copied now, and not when a step waits for it.
    """
    attempt = AssignedAttempt("rehearsal", "", 0, "", _REHEARSAL)
    order = order_of_wire(order_to_wire(StepOrder(attempt, {"metadata": {"name": "rehearsal", "uid": ""}})))
    idle = StepFunction(_do_nothing)
    if engram.is_async:
        host = host_for(engram.function, engram.backend)
        idle = StepFunction(_do_nothing_async, "trio" if isinstance(host, TrioHost) else "asyncio")
    inheritance = Inheritance(idle, open_store=lambda _: None)
    captured = MarkedLines({}, -1, "")
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        outcome_to_wire(_executed(inheritance, order, dict(_REHEARSAL), captured, _NoCluster())[0])
    finally:
        logging.disable(disabled)


def _do_nothing() -> dict[str, Any]:
    return {}


async def _do_nothing_async() -> dict[str, Any]:
    return {}


class _NoCluster:
    def request(self, method: str, path: str, body: Any = None, **_: Any) -> dict[str, Any]:
        raise AssertionError(f"a rehearsal sends nothing: {method} {path} {body}")


def _run(
    inheritance: Inheritance, order: StepOrder, environment: dict[str, str], output: int, cluster: Cluster
) -> tuple[AttemptOutcome, Ending]:
    """Run the step. Records go to ``output``, whatever the program does with the standard streams."""
    debug = process.wants_debug(environment)
    with logs.Attached(MarkedLines(order.log_fields, output, order.mark), debug=debug, root=True) as captured:
        return _executed(inheritance, order, environment, captured, cluster, listens=True)


def _executed(
    inheritance: Inheritance,
    order: StepOrder,
    environment: dict[str, str],
    captured: logs.JsonLines,
    cluster: Cluster,
    *,
    listens: bool = False,
) -> tuple[AttemptOutcome, Ending]:
    clients: list[AssignedStepRun] = []

    def client(*arguments: Any, **options: Any) -> AssignedStepRun:
        clients.append(AssignedStepRun(*arguments, attempt=order.attempt, step_run=order.step_run, **options))
        return clients[-1]

    world = World(
        environment,
        lambda _: cluster,
        inheritance.open_store,
        step_run_client=client,
        setup=lambda: inheritance.loaded,
        is_watched=True,
        ends_at=None if order.ends_at is None else clock.as_monotonic(order.ends_at),
    )
    run = BatchRun(inheritance.engram, world, captured)
    if listens:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: run.terminate(received))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    ending = run.execute()
    update = clients[-1].outcome if clients else None
    return AttemptOutcome(ending.exit_code, update), ending


def _limit_memory(limit_bytes: int) -> None:
    """Let the process allocate ``limit_bytes`` beyond what it shares with the zygote."""
    with suppress(OSError, ValueError, StopIteration), Path("/proc/self/status").open(encoding="ascii") as file:
        inherited = next(int(line.split()[1]) for line in file if line.startswith("VmData:")) * 1024
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = inherited + limit_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _seed() -> None:
    """Give the child random numbers of its own. Python reseeds ``random`` after a fork; NumPy does not."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        numpy.random.seed()


def _say_farewell(ending: Ending) -> None:
    """Do what the end of a Python process does, in limited time; nothing that the step has started is left."""
    if not ending.hung and (atexit._ncallbacks() or _threads_of_user()):
        farewell = threading.Timer(_FAREWELL_SECONDS, _leave, [ending.exit_code])
        farewell.daemon = True
        farewell.start()
        until = time.monotonic() + _FAREWELL_SECONDS
        for thread in _threads_of_user():
            thread.join(max(0.0, until - time.monotonic()))
        atexit._run_exitfuncs()
        farewell.cancel()
    _flush()
    kinship.end_children(_LEFTOVER_SECONDS)


def _threads_of_user() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]


def _leave(exit_code: int) -> None:
    _flush()
    kinship.end_children(_LEFTOVER_SECONDS)
    os._exit(exit_code)


def _flush() -> None:
    with suppress(Exception):  # a closed stream is no reason to lose the result
        logging.shutdown()
    with suppress(OSError, ValueError):
        redaction.end_prints()
