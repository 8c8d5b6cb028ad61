"""Serves as a warm worker: puts the parts together, in the order that a fork demands.

The zygote, or the host of tasks, is forked first, while this process has one thread. Then come signal handlers, threads
and connections. With tasks, the process that has imported the program becomes the supervisor by executing another one,
and the program is imported again in the host.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from bubu_sdk import hosting, kubeconfig, logs, process, volume
from bubu_sdk.errors import EngramError
from bubu_sdk.signature import StepFunction
from bubu_sdk.stage import Ending
from bubu_sdk.workers import confinement, kinship, tasks
from bubu_sdk.workers.child import Inheritance, child_of
from bubu_sdk.workers.heartbeat import Heartbeat
from bubu_sdk.workers.isolation import Isolation
from bubu_sdk.workers.processes import ProcessIsolation
from bubu_sdk.workers.relay import OutputRelay, WorkerRecords
from bubu_sdk.workers.reporting import ExitReporter
from bubu_sdk.workers.settings import IsolationMode, WorkerSettings
from bubu_sdk.workers.supervisor import LeaseRenewed, Unable, WorkerSupervisor
from bubu_sdk.workers.taskhost import HOST_VARIABLE, TRACE_SIGNAL, TaskIsolation
from bubu_sdk.workers.watching import StepRunWatch
from bubu_sdk.workers.zygote import Child

log = logging.getLogger(logs.SDK_LOGGER)

_SUPERVISOR: Final = (
    "import sys; sys.path.append(sys.argv[1]); from bubu_sdk.workers import serving;"
    " serving.supervise_tasks(sys.argv[2:])"
)
_DUMP_SECONDS: Final = 1.0
_STORE_LIBRARIES = dict.fromkeys(("s3", "gcs", "azure"), ("obstore", "obstore.store"))


def serve(engram: StepFunction) -> NoReturn:
    """Serve until the Pod ends; exits with the code of the worker."""
    try:
        settings = WorkerSettings.of(os.environ)
    except EngramError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    if settings.isolation is IsolationMode.TASK:
        _serve_tasks(engram, settings)
    _serve_processes(engram, settings)


def _serve_processes(engram: StepFunction, settings: WorkerSettings) -> NoReturn:
    kinship.keep_private()
    relay = OutputRelay(1)
    isolation = ProcessIsolation(
        relay,
        ready=min(settings.concurrency, 2),
        namespace=settings.namespace,
        connect=lambda: process.connect(os.environ),
    )
    isolation.begin(lambda: load(engram, settings))
    records = WorkerRecords(_fields(settings), relay.put)
    with logs.Attached(records, debug=process.wants_debug(os.environ), root=True):
        relay.begin()
        code = _run(settings, isolation)
        isolation.close()
        relay.close()
    process.leave(Ending(code))


def _serve_tasks(engram: StepFunction, settings: WorkerSettings) -> NoReturn:
    """Be the host, if the supervisor has started this process; otherwise become the supervisor."""
    descriptor = os.environ.pop(HOST_VARIABLE, None)
    if descriptor is None:
        _become_supervisor()
    if not descriptor:
        sys.stderr.write(f"{sys.executable} always starts this program: it cannot serve with isolation task\n")
        sys.exit(1)
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    output = tasks.TaskOutput(1, _fields(settings))
    sys.stdout = sys.stderr = output
    level = tasks.RootLevel()
    faulthandler.register(TRACE_SIGNAL, file=2)
    with logs.Attached(
        tasks.TaskRecords(_fields(settings), output, level), debug=process.wants_debug(os.environ), root=True
    ):
        is_set_up = tasks.TaskHost(control, engram, output, level).serve()
    output.end()
    process.leave(Ending(0 if is_set_up else 1))


def _become_supervisor() -> NoReturn:
    """Execute an interpreter that does not know the program: neither its modules, nor what its site starts.

    A fork would not do: the threads of a program, and its model on a GPU, do not survive it, or would keep the token.
    """
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            os.set_inheritable(int(each.name), int(each.name) <= 2)
    os.environ[HOST_VARIABLE] = ""  # if the program is started again, the interpreter is a part of it
    folder = str(Path(logs.__file__).parents[1])
    try:
        command = [sys.executable, "-I", "-S", "-c", _SUPERVISOR, folder, *sys.orig_argv]
        os.execv(sys.executable, command)  # noqa: S606 - a shell would need quotes
    except OSError as error:
        sys.stderr.write(f"this worker cannot execute {sys.executable!r}: {error}\n")
        sys.exit(1)


def supervise_tasks(command: Sequence[str]) -> NoReturn:
    """The supervisor of tasks; ``command`` is the command line that started the program."""
    os.environ.pop(HOST_VARIABLE, None)
    settings = WorkerSettings.of(os.environ)
    kinship.keep_private()
    isolation = TaskIsolation(
        [sys.executable, *command[1:]], namespace=settings.namespace, connect=lambda: process.connect(os.environ)
    )
    records = WorkerRecords(_fields(settings), OutputRelay(2).put)  # the host writes to the other descriptor
    with logs.Attached(records, debug=process.wants_debug(os.environ), root=True):
        isolation.begin(_confine)
        code = _run(settings, isolation)
        isolation.close()
    process.leave(Ending(code))


def _confine() -> None:
    _hide_token()
    confinement.separate()


def load(engram: StepFunction, settings: WorkerSettings) -> Child:
    """What the zygote does before it forks: the ``setup``, and what each step would otherwise import or build.

    Nothing here may start a thread: a fork copies only one.
    """
    with logs.Attached(logs.JsonLines(_fields(settings)), debug=process.wants_debug(os.environ), root=True):
        _hide_token()
        loaded = tasks.set_up(engram)
    engram.signature()
    if engram.is_async:
        host = hosting.host_for(engram.function, engram.backend)
        importlib.import_module("trio" if isinstance(host, hosting.TrioHost) else "asyncio")
    provider = os.environ.get("BUBU_STORAGE_PROVIDER", "")
    for module in ("traceback", "hashlib", "jsonschema_rs", *_STORE_LIBRARIES.get(provider, ())):
        with suppress(ImportError):
            importlib.import_module(module)
    return child_of(Inheritance(engram, loaded, memory_bytes=settings.memory_bytes))


def _hide_token() -> None:
    """Take the token of the Pod from this process. A local node without mount namespaces isolates nothing anyway."""
    folder = kubeconfig.SERVICE_ACCOUNT
    if volume.mounted(folder, os.environ) == folder and folder.exists() and not confinement.hide(folder):
        log.warning("this node has no Landlock: the steps of this worker can read the token of its Pod")


def _run(settings: WorkerSettings, isolation: Isolation) -> int:
    """Prepare, then supervise; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_now(isolation))
    try:
        cluster = process.connect(os.environ)
        reporter = ExitReporter(cluster, settings)
        supervisor = WorkerSupervisor(settings, isolation, reporter, os.environ)
        isolation.prepare(lambda reason: supervisor.post(Unable(reason)))
    except EngramError as error:
        log.error("this worker cannot serve: %s", error)  # noqa: TRY400 - the trace says nothing more
        return 1
    heartbeat = Heartbeat(
        cluster,
        settings,
        renewed=lambda silence_seconds: supervisor.post(LeaseRenewed(silence_seconds)),
        distrusted=lambda reason: supervisor.post(Unable(reason)),
        looked_at=lambda: supervisor.looked_at,
        hung=_end_stuck_process,
    )
    watch = StepRunWatch(cluster, settings, supervisor.post)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.terminate())
    watch.begin()
    code = supervisor.run(heartbeat, watch.list_anew)
    heartbeat.close()
    return code


def _end_stuck_process() -> None:
    """Show where the threads are and end the process with code 1, also if nobody reads what it writes."""
    dump = threading.Thread(target=faulthandler.dump_traceback, kwargs={"file": 2}, daemon=True)
    dump.start()
    dump.join(_DUMP_SECONDS)
    os._exit(1)


def _exit_now(isolation: Isolation) -> Callable[[int, object], NoReturn]:
    """The handler of signals while the ``setup`` runs: no step is under way yet."""

    def handler(number: int, _: object) -> NoReturn:
        isolation.close()
        os._exit(128 + number)

    return handler


def _fields(settings: WorkerSettings) -> dict[str, object]:
    return {"workerPool": settings.pool, "worker": settings.pod}
