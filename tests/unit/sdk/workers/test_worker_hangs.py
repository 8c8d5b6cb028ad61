"""What a worker does when a part of it, or a process of a step, cannot be moved any more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bubu_sdk.workers import channel
from tests.unit.sdk.sdk_container import ROOT
from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.test_worker_process import MANY, is_alive, waiting
from tests.unit.sdk.workers.worker_stand import WorkerStand, eventually

IMPATIENT = """
    from bubu_sdk.workers import channel, heartbeat, processes, supervisor, zygote
    channel.PING_SECONDS = 0.2
    processes._CLOSE_SECONDS = 1.0
    heartbeat._ATTENTION_SECONDS = heartbeat._RETRY_SECONDS = heartbeat.RENEW_SECONDS = 0.6
    heartbeat._MAX_IGNORED = 2
    zygote._UNDEAD_SECONDS = supervisor._OVERDUE_SECONDS = 1.0
"""


def assert_serves_again(stand: WorkerStand, name: str) -> None:
    """The next process of the container has released the attempt, and runs the next one."""
    assert stand.wait_for_exit(name) == 128 + signal.SIGKILL
    stand.wait_until_it_serves(do="echo", text="serves")


def test_a_zygote_that_stands_still_ends_the_worker(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(IMPATIENT + MANY)
    process, child, zygote = waiting(stand, tmp_path, "stuck")

    os.kill(zygote, signal.SIGSTOP)

    assert worker.process.wait(60) == 1
    assert "does not answer" in worker.text
    eventually(lambda: not any(map(is_alive, (process, zygote))))
    assert stand.exit_code("stuck") is None, "the worker did not know that it is over"
    os.kill(child, signal.SIGKILL)  # here, no container ends with the worker
    worker.restart()
    assert_serves_again(stand, "stuck")


def test_what_cannot_be_killed_ends_the_worker(start_worker: StartWorker, stand: WorkerStand, tmp_path: Path) -> None:
    flag = tmp_path / "immortal"
    immortal = f"""
    import os
    really_kill = os.kill

    def kill(pid, number):
        if number == 9 and os.path.exists({str(flag)!r}):
            raise PermissionError(1, "another user")
        really_kill(pid, number)

    os.kill = kill
    """
    worker = start_worker(IMPATIENT + immortal + MANY, BUBU_WORKER_CONCURRENCY="2")
    stand.assign("before", do="leave")
    assert stand.wait_for_exit("before") == 0
    process, other, zygote = waiting(stand, tmp_path, "neighbour")
    _, child, _ = waiting(stand, tmp_path, "leaves")
    flag.touch()

    stand.change("leaves", annotations={"bubustack.io/cancel-requested": "true"})

    assert worker.process.wait(60) == 1
    assert "what a step has started cannot be killed" in worker.text
    assert stand.exit_code("leaves") is None
    eventually(lambda: not any(map(is_alive, (process, zygote))))
    for left in (child, other):
        assert is_alive(left)
        os.kill(left, signal.SIGKILL)
    flag.unlink()
    worker.restart()
    assert_serves_again(stand, "leaves")


@pytest.mark.parametrize("isolation", ["process", "task"])
def test_a_main_thread_that_is_stuck_ends_the_worker(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path, isolation: str
) -> None:
    flag = tmp_path / "stuck"
    stuck = f"""
    import os, time
    really_look = supervisor.WorkerSupervisor._look_at_clock

    def look(self):
        while os.path.exists({str(flag)!r}):
            time.sleep(0.01)
        really_look(self)

    supervisor.WorkerSupervisor._look_at_clock = look
    """
    if isolation == "process":
        worker = start_worker(IMPATIENT + stuck + MANY)
    else:
        worker = start_worker(MANY, supervisor=IMPATIENT + stuck, BUBU_WORKER_ISOLATION=isolation)
    process, child, zygote = waiting(stand, tmp_path, "alone")
    flag.touch()
    time.sleep(0.7)
    renewed = stand.lease["spec"]["renewTime"]

    assert worker.process.wait(60) == 1
    assert stand.lease["spec"]["renewTime"] == renewed
    assert 'File "' in worker.text, "it shows where its threads are"
    if isolation == "task":
        os.kill(child, signal.SIGKILL)  # here, no container ends with the worker
    eventually(lambda: not any(map(is_alive, (process, child, zygote))))
    flag.unlink()
    worker.restart()
    assert_serves_again(stand, "alone")


LOCKED = """
    import os, re
    from pathlib import Path
    from bubu_sdk import Context, engram

    def keep_the_lock():
        re.match("(a+)+$", "a" * 64 + "b")

    @engram
    def main(ctx: Context, inputs: dict):
        if inputs["do"] == "lock":
            Path(inputs["file"]).write_text(str(os.getpid()))
            keep_the_lock()
        return {}

    main.run()
"""


def test_a_task_that_keeps_the_lock_of_the_interpreter_ends_the_worker(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(LOCKED, supervisor=IMPATIENT, BUBU_WORKER_ISOLATION="task")
    file = tmp_path / "pid"
    stand.assign("locks", do="lock", file=str(file))

    assert worker.process.wait(60) == 1
    assert "does not answer" in worker.text
    assert "in keep_the_lock" in worker.text, "it shows where its threads are"
    assert not is_alive(int(file.read_text()))
    worker.restart()
    assert_serves_again(stand, "locks")


def test_a_host_that_stands_still_ends_the_worker(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(MANY, supervisor=IMPATIENT, BUBU_WORKER_ISOLATION="task")
    host, child, _ = waiting(stand, tmp_path, "stuck")

    os.kill(host, signal.SIGSTOP)

    assert worker.process.wait(60) == 1
    assert "does not answer" in worker.text
    assert not any(map(is_alive, (host, child)))
    worker.restart()
    assert_serves_again(stand, "stuck")


def test_children_that_cannot_be_killed_are_not_waited_for() -> None:
    run_alone("""
        import os, subprocess, time
        from bubu_sdk.workers import kinship

        def refuse(*_):
            raise PermissionError

        child = subprocess.Popen(["sleep", "600"])
        really_kill, os.kill = os.kill, refuse
        began = time.monotonic()
        assert kinship.end_children(0.3) is False
        assert 0.3 <= time.monotonic() - began < 10
        os.kill = really_kill
        assert kinship.end_children(10) is True
        assert not kinship.has_children()
        child.returncode = 0
    """)


def test_a_zygote_that_does_not_read_stops_nobody() -> None:
    """The supervisor kills a step that is not over at each look."""
    run_alone("""
        import os, signal, time
        from bubu_sdk.workers import kinship, processes
        from bubu_sdk.workers.relay import OutputRelay

        processes._CLOSE_SECONDS = 1.0
        isolation = processes.ProcessIsolation(OutputRelay(1), ready=0, namespace="default", connect=lambda: None)
        isolation.begin(lambda: lambda end, output: 0)
        isolation.prepare(lambda reason: None)
        os.kill(isolation._zygote, signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(20_000):
            isolation.signal(1, signal.SIGKILL)
        isolation.close()
        assert time.monotonic() - began < 30
        assert not kinship.has_children()
    """)


def run_alone(program: str) -> None:
    """In a process that has no other threads and children."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "sdk")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, env=environ, timeout=60)


def test_a_receiver_that_does_not_read_stops_nobody() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            channel.send(ours, b"x" * (4 << 20), seconds=0.2)
        with pytest.raises(TimeoutError):
            send_packets(ours)
        assert time.monotonic() - began < 30


def send_packets(end: socket.socket) -> None:
    for _ in range(100_000):
        channel.send_packet(end, b"e 1 0", 0)
