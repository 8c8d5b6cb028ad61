"""What the process of a step can do to its worker, and to the steps beside it, if its function wants to."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.unit.sdk.sdk_container import ROOT
from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.test_worker_process import is_alive
from tests.unit.sdk.workers.worker_stand import WatchableCluster, WorkerStand, eventually, path_of

ATTACKS = """
    import ctypes, os, re, socket, subprocess, time
    from pathlib import Path
    from bubu_sdk import Context, engram

    def sockets():
        for number in range(3, 256):
            try:
                yield socket.socket(fileno=os.dup(number))
            except OSError:
                pass

    def say(*messages):
        for end in sockets():
            for message in messages:
                try:
                    end.send(message, socket.MSG_DONTWAIT)
                except OSError:
                    pass
            end.detach()

    def leave_a_process():
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        return child.pid

    @engram
    def main(ctx: Context, inputs: dict):
        match inputs["do"]:
            case "echo":
                return {}
            case "says that it has ended":
                say(b"x0", *(b"e %d 0" % number for number in range(9)))
            case "says that it has left nothing behind":
                pid = leave_a_process()
                shared = re.findall("^([0-9a-f]+)-([0-9a-f]+) rw-s", Path("/proc/self/maps").read_text(), re.M)
                for start, end in shared:
                    ctypes.memset(int(start, 16), 1, int(end, 16) - int(start, 16))
                Path(inputs["file"]).write_text(str(pid))
                os._exit(0)
            case "reports nonsense":
                say(b".nonsense", b'.{"exitCode": 0, "update": 7}')
                os._exit(3)
            case "lists its descriptors":
                links = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if
                         os.path.lexists(f"/proc/self/fd/{number}")]
                return {"links": sorted(link.partition(":")[0] for link in links if not link.startswith("/"))}
        Path(inputs["file"]).write_text(str(os.getpid()))
        while True:
            time.sleep(0.05)

    main.run()
"""


def pid_in(file: Path) -> int:
    eventually(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def test_only_the_zygote_says_that_a_process_has_ended(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    start_worker(ATTACKS, BUBU_WORKER_CONCURRENCY="2", BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="200ms")
    stand.assign("ghost", do="says that it has ended", file=str(tmp_path / "pid"))
    process = pid_in(tmp_path / "pid")

    stand.assign("beside", do="echo")
    assert stand.wait_for_exit("beside") == 0
    assert stand.exit_code("ghost") is None
    assert is_alive(process)
    stand.change("ghost", annotations={"bubustack.io/cancel-requested": "true"})
    assert stand.wait_for_exit("ghost") != 0
    assert not is_alive(process)


def test_what_a_step_leaves_behind_is_dead_before_the_step_is_over_whatever_it_says(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    start_worker(ATTACKS)
    stand.assign("leaves", do="says that it has left nothing behind", file=str(tmp_path / "pid"))

    stand.wait_for_exit("leaves")
    assert not is_alive(pid_in(tmp_path / "pid"))


def test_a_process_whose_record_says_that_it_has_ended_is_killed(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    """A step can write into its own record that its process has ended."""
    start_worker(ATTACKS)
    stand.assign("released", do="works", file=str(tmp_path / "pid"))
    process = pid_in(tmp_path / "pid")

    stand.change("released", status={"workerExit": {"attempt": 0, "exitCode": 0}})

    eventually(lambda: not is_alive(process))
    stand.assign("next", do="echo")
    assert stand.wait_for_exit("next") == 0


def test_a_report_that_cannot_be_read_ends_the_attempt_alone(
    start_worker: StartWorker, stand: WorkerStand, cluster: WatchableCluster
) -> None:
    start_worker(ATTACKS)
    stand.assign("nonsense", do="reports nonsense")

    assert stand.wait_for_exit("nonsense") == 3
    stand.assign("next", do="echo")
    assert stand.wait_for_exit("next") == 0
    assert path_of("next") in cluster.objects


def test_a_step_has_no_descriptor_of_its_worker_but_its_channel_and_its_output(
    start_worker: StartWorker, stand: WorkerStand
) -> None:
    start_worker(ATTACKS)
    stand.assign("lists", do="lists its descriptors")

    assert stand.wait_for_exit("lists") == 0
    links = stand.status("lists")["output"]["links"]
    assert links.count("socket") == 1
    assert "anon_inode" not in links


@pytest.mark.parametrize("what", ["fd", "mem", "environ"])
def test_no_other_process_of_the_user_looks_into_the_worker_or_its_steps(what: str) -> None:
    program = f"""
        import os, signal, sys
        from bubu_sdk.workers import kinship

        def started(private):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                if private:
                    kinship.keep_private()
                if os.fork() == 0:
                    os.write(writing, b"%d" % os.getpid())
                    kinship.die_with_parent(os.getppid())
                    signal.pause()
                os.wait()
                os._exit(0)
            return pid, int(os.read(reading, 20))

        def is_open(pid):
            try:
                os.listdir(f"/proc/{{pid}}/fd") if {what!r} == "fd" else open(f"/proc/{{pid}}/{what}", "rb").close()
            except PermissionError:
                return False
            return True

        if os.getuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        kinship._control(kinship._SET_DUMPABLE, 1)
        seen = [list(map(is_open, started(private))) for private in (False, True)]
        os.killpg(0, signal.SIGKILL) if seen == [[True, True], [False, False]] else sys.exit(str(seen))
    """
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "sdk")}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=environ, timeout=60, capture_output=True, start_new_session=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
