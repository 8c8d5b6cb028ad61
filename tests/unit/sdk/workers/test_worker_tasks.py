"""Isolation in tasks: steps in threads of the worker."""

from __future__ import annotations

import pytest

from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.worker_stand import WorkerStand, eventually

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
    assert stand.exit_code("deaf") is None  # it was still at work when its outcome was reported
    assert "was killed" in stand.status("deaf")["lastFailureMsg"]
    worker.restart()
    assert stand.wait_for_exit("deaf") == 137
    assert stand.wait_for_exit("victim") == 137
    assert "phase" not in stand.status("victim")


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
    assert stand.exit_code("deaf") is None, "it was still at work"


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
