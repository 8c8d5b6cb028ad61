"""Isolation in tasks: steps in threads of the host."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.test_worker_process import MANY as PROCESSES
from tests.unit.sdk.workers.test_worker_process import is_alive, waiting
from tests.unit.sdk.workers.worker_stand import WorkerStand, eventually

PYTHON = sys.executable
TASKS = {"BUBU_WORKER_ISOLATION": "task", "BUBU_WORKER_CONCURRENCY": "3"}
MANY = """
    import os, threading, time
    from bubu_sdk import Context, engram

    @engram(setup=lambda: {"pid": os.getpid(), "steps": 0})
    def main(ctx: Context, inputs: dict):
        match inputs["do"]:
            case "echo":
                print("printed", inputs["text"])
                ctx.logger.info("logged %s", inputs["text"])
                ctx.setup["steps"] += 1
                return {"same": ctx.setup["pid"] == os.getpid(), "text": inputs["text"], "steps": ctx.setup["steps"]}
            case "secret":
                secret = ctx.secrets["token"]
                print("it is", secret[:3], end="", flush=True)
                print(secret[3:])
                return {}
            case "wait":
                ctx.emit_signal("waits", True)
                ctx.cancelled.wait()
                raise RuntimeError("stopped")
            case "deaf":
                ctx.emit_signal("waits", True)
                while True:
                    time.sleep(0.05)

    main.run()
"""


def test_tasks_share_what_setup_has_loaded_and_their_lines_are_told_apart(
    start_worker: StartWorker, stand: WorkerStand
) -> None:
    worker = start_worker(MANY, **TASKS)
    for number in range(6):
        stand.assign(f"step-{number}", do="echo", text=f"t{number}")

    for number in range(6):
        name = f"step-{number}"
        assert stand.wait_for_exit(name) == 0
        assert stand.status(name)["output"]["same"] is True
        assert stand.status(name)["output"]["text"] == f"t{number}"
        said = [line["msg"] for line in worker.lines(name) if line["logger"] != "bubu_sdk"]
        assert sorted(said) == [f"logged t{number}", f"printed t{number}"]
    assert sorted(stand.status(f"step-{number}")["output"]["steps"] for number in range(6))[-1] == 6


def test_a_task_that_is_asked_to_end_ends_alone(start_worker: StartWorker, stand: WorkerStand) -> None:
    worker = start_worker(MANY, **TASKS)
    for name in ("one", "two"):
        stand.assign(name, do="wait")
        eventually(lambda name=name: stand.status(name).get("signals"))  # type: ignore[misc]

    stand.change("one", annotations={"bubustack.io/cancel-requested": "true"})

    assert stand.wait_for_exit("one") == 143
    assert stand.exit_code("two") is None
    worker.process.terminate()
    assert stand.wait_for_exit("two") == 143
    assert worker.process.wait(60) == 0


def test_a_task_that_ignores_its_cancellation_ends_the_worker(start_worker: StartWorker, stand: WorkerStand) -> None:
    worker = start_worker(MANY, **TASKS, BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="300ms")
    stand.assign("deaf", do="deaf")
    stand.assign("victim", do="wait")
    eventually(lambda: stand.status("deaf").get("signals") and stand.status("victim").get("signals"))

    stand.change("deaf", annotations={"bubustack.io/cancel-requested": "true"})

    assert worker.process.wait(60) == 1
    assert stand.exit_code("deaf") == 143
    assert "was killed" in stand.status("deaf")["lastFailureMsg"]
    assert stand.exit_code("victim") == 137
    assert "phase" not in stand.status("victim")
    worker.restart()
    eventually(lambda: stand.state == "ready")
    stand.assign("next", do="echo", text="serves")
    assert stand.wait_for_exit("next") == 0


def test_a_task_that_was_seen_late_times_out_at_the_deadline_of_the_operator(
    start_worker: StartWorker, stand: WorkerStand
) -> None:
    worker = start_worker(MANY, **TASKS, BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="300ms", BUBU_STEP_TIMEOUT="10m")
    stand.assign("prompt", seconds_left=600, do="echo", text="in time")
    assert stand.wait_for_exit("prompt") == 0

    stand.assign("polite", seconds_left=-1.5, do="wait")
    assert stand.wait_for_exit("polite") == 124
    assert stand.status("polite")["phase"] == "Timeout"
    stand.assign("deaf", seconds_left=-1.5, do="deaf")

    assert worker.process.wait(60) == 1
    assert stand.status("deaf")["phase"] == "Timeout"
    assert stand.exit_code("deaf") == 124


@pytest.mark.parametrize(
    "command",
    [[PYTHON, "main.py"], [PYTHON, "-X", "dev", "-m", "main"], [PYTHON, "-c", "import serve"], ["./serve.py"]],
    ids=["file", "module", "text", "script"],
)
def test_the_host_is_started_as_the_program_was(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path, command: list[str]
) -> None:
    source = """
        import os, sys, time
        from bubu_sdk import engram

        times = len(open("imports", "a+").read())
        print(len(sys.argv), sys.flags.dev_mode, os.getcwd(), file=open("imports", "a"))

        @engram
        def main():
            marks = [name for name in os.environ if name.startswith("BUBU_WORKER_HOST")]
            return {"argv": sys.argv, "dev": sys.flags.dev_mode, "folder": os.getcwd(), "marks": marks}

        if __name__ == "__main__":
            main.run()
    """
    script = tmp_path / "serve.py"
    script.write_text(f"#!{PYTHON}\nimport main\nmain.main.run()\n")
    script.chmod(0o755)
    start_worker(source, command=[*command, "an argument"], **TASKS)

    stand.assign("one")

    assert stand.wait_for_exit("one") == 0
    found = stand.status("one")["output"]
    assert found["argv"][1:] == ["an argument"]
    assert (found["dev"], found["folder"], found["marks"]) == ("dev" in command, str(tmp_path), [])
    imports = (tmp_path / "imports").read_text().splitlines()
    assert len(imports) == 2
    assert len(set(imports)) == 1


def test_an_interpreter_that_always_starts_the_program_is_not_started_for_ever(
    start_worker: StartWorker, stand: WorkerStand
) -> None:
    """A frozen program is its own interpreter. It finds what the process before it has left."""
    with pytest.raises(AssertionError, match="always starts this program"):
        start_worker(MANY, **TASKS, BUBU_WORKER_HOST="")
    assert stand.state == ""


def test_the_program_s_exit_handlers_run_when_an_idle_worker_ends(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    file = tmp_path / "said"
    handler = f"\n    import atexit, pathlib; atexit.register(pathlib.Path({str(file)!r}).touch)"
    worker = start_worker(handler + MANY, **TASKS)
    stand.assign("one", do="echo", text="t")
    assert stand.wait_for_exit("one") == 0

    worker.process.terminate()

    assert worker.process.wait(60) == 0
    assert file.exists()


def test_a_host_that_ends_takes_its_steps_and_the_worker_with_it(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(PROCESSES, **TASKS)
    host, child, _ = waiting(stand, tmp_path, "one")
    assert waiting(stand, tmp_path, "two")[0] == host

    stand.assign("crashes", do="crash")

    assert [stand.wait_for_exit(name) for name in ("one", "two", "crashes")] == [137, 137, 137]
    assert worker.process.wait(60) == 1
    assert "exit code 3" in worker.text
    assert not any(map(is_alive, (host, child)))
    worker.restart()
    eventually(lambda: stand.state == "ready")
    stand.assign("one", attempt=1, do="echo", text="again")
    assert stand.wait_for_exit("one", attempt=1) == 0


def test_the_host_does_not_outlive_the_supervisor(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(PROCESSES, **TASKS)
    host, child, supervisor = waiting(stand, tmp_path, "one")
    assert supervisor == worker.process.pid

    worker.process.kill()

    eventually(lambda: not is_alive(host))
    os.kill(child, signal.SIGKILL)  # here, no container ends with the worker
    worker.restart()
    assert stand.wait_for_exit("one") == 137


def test_a_setup_that_fails_ends_the_worker(start_worker: StartWorker, stand: WorkerStand) -> None:
    source = """
        from bubu_sdk import engram

        def load():
            raise RuntimeError("no GPU")

        @engram(setup=load)
        def main():
            return {}

        main.run()
    """
    with pytest.raises(AssertionError, match="no GPU"):
        start_worker(source, **TASKS)
    assert stand.state == ""


@pytest.mark.parametrize("isolation", ["task", "process"])
def test_a_secret_that_a_step_prints_is_not_in_the_log(
    start_worker: StartWorker, stand: WorkerStand, isolation: str
) -> None:
    secret = {"BUBU_SECRET_API": "env:API_", "API_token": "hunter-2-hunter"}
    worker = start_worker(MANY, **{**TASKS, "BUBU_WORKER_ISOLATION": isolation}, **secret)
    stand.assign("one", do="secret", text="")

    assert stand.wait_for_exit("one") == 0
    eventually(lambda: any(line["logger"] == "output" for line in worker.lines("one")))
    assert [line["msg"] for line in worker.lines("one") if line["logger"] == "output"] == ["it is [REDACTED]"]
