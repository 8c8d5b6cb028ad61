"""A worker as a process: steps, their isolation from each other, and what ends with what."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.worker_stand import POD, POD_UID, WatchableCluster, WorkerStand, eventually

MANY = """
    import os, random, subprocess, sys, time
    from pathlib import Path
    from bubu_sdk import Context, EngramError, engram

    loads = []

    def load():
        loads.append(os.getpid())
        return {"model": "loaded"}

    @engram(setup=load)
    def main(ctx: Context, inputs: dict):
        match inputs["do"]:
            case "echo":
                print("printed", inputs["text"])
                ctx.logger.info("logged", extra={"text": inputs["text"]})
                return {"text": inputs["text"], "attempt": ctx.attempt, "story": ctx.story_run}
            case "state":
                before = os.environ.get("LEFT"), Path("left").exists(), len(loads)
                os.environ["LEFT"] = "1"
                Path("left").write_text("1")
                loads.append(0)
                return {
                    "before": before, "own": os.environ["OWN"], "folder": os.getcwd(), "pid": os.getpid(),
                    "setup": ctx.setup, "loaded_here": loads[0] == os.getpid(), "random": random.random(),
                }
            case "fail":
                raise EngramError("no such city", details={"city": "Oslo"})
            case "crash":
                os._exit(3)
            case "segfault":
                os.kill(os.getpid(), 11)
            case "signal":
                ctx.emit_signal("progress", 50)
                return {"text": "done"}
            case "fill":
                return {"size": len(bytearray(inputs["bytes"]))}
            case "flood":
                for _ in range(inputs["lines"]):
                    print("x" * 200)
                return {}
            case "leave":
                child = subprocess.Popen(["sleep", "600"], start_new_session=True)
                return {"pid": child.pid}
            case "wait":
                child = subprocess.Popen(["sleep", "600"], start_new_session=True)
                Path(inputs["file"]).write_text(f"{os.getpid()} {child.pid} {os.getppid()}")
                while not ctx.cancelled.wait(0.05) or inputs.get("deaf"):
                    pass
                return {}

    main.run()
"""


def waiting(stand: WorkerStand, folder: Path, name: str, **inputs: Any) -> tuple[int, int, int]:
    """Assign a step that waits; returns the pids of its process, of a process that it started, and of the zygote."""
    file = folder / f"{name}.pids"
    stand.assign(name, do="wait", file=str(file), **inputs)
    eventually(lambda: file.exists() and len(file.read_text().split()) == 3)
    process, child, zygote = map(int, file.read_text().split())
    return process, child, zygote


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_steps_run_and_are_reported_in_one_request_each(
    start_worker: StartWorker, stand: WorkerStand, cluster: WatchableCluster
) -> None:
    worker = start_worker(MANY, BUBU_WORKER_CONCURRENCY="3")

    for number in range(7):
        stand.assign(f"step-{number}", do="echo", text=f"t{number}")

    for number in range(7):
        name = f"step-{number}"
        assert stand.wait_for_exit(name) == 0
        assert stand.status(name)["phase"] == "Succeeded"
        assert stand.status(name)["output"] == {"text": f"t{number}", "attempt": 1, "story": "run"}
        assert (stand.status(name)["podName"], stand.status(name)["exitCode"]) == (POD, 0)
        sent = [request for request in cluster.requests if f"/{name}/" in request.path or request.path.endswith(name)]
        assert [request.method for request in sent] == ["PATCH"]
        eventually(lambda name=name: any(line["msg"] == "logged" for line in worker.lines(name)))  # type: ignore[misc]
        lines = worker.lines(name)
        assert [line["msg"] for line in lines if line["logger"] == "output"] == [f"printed t{number}"]
        assert [line["text"] for line in lines if line["logger"] == "engram"] == [f"t{number}"]
        assert {line["attempt"] for line in lines} == {1}
    assert stand.lease["spec"]["holderIdentity"] == POD_UID
    assert stand.lease["metadata"]["ownerReferences"][0]["name"] == POD
    assert stand.lease["metadata"]["labels"] == {"bubustack.io/worker-pool": "pool-a"}


def test_steps_see_nothing_of_each_other(start_worker: StartWorker, stand: WorkerStand, tmp_path: Path) -> None:
    start_worker(MANY)
    outputs = []
    for name in ("one", "two"):
        stand.assign(name, environment={"OWN": name}, do="state")
        assert stand.wait_for_exit(name) == 0
        outputs.append(stand.status(name)["output"])

    assert [output["before"] for output in outputs] == [[None, False, 1]] * 2
    assert [output["own"] for output in outputs] == ["one", "two"]
    assert [output["setup"] for output in outputs] == [{"model": "loaded"}] * 2
    assert not any(output["loaded_here"] for output in outputs)  # but in the process that they were forked from
    assert outputs[0]["random"] != outputs[1]["random"]
    assert outputs[0]["folder"] != outputs[1]["folder"]
    eventually(lambda: not any(Path(output["folder"]).exists() for output in outputs))


def test_a_process_that_crashes_takes_no_other_step_with_it(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    start_worker(MANY, BUBU_WORKER_CONCURRENCY="5")
    process, child, _ = waiting(stand, tmp_path, "waiting")
    stand.assign("fails", do="fail")
    stand.assign("crashes", do="crash")
    stand.assign("faults", do="segfault")
    stand.assign("leaves", do="leave")

    assert stand.wait_for_exit("fails") == 1
    assert stand.status("fails")["error"]["details"] == {"city": "Oslo"}
    assert stand.wait_for_exit("crashes") == 3
    assert "phase" not in stand.status("crashes")  # the operator says why
    assert stand.wait_for_exit("faults") == 128 + signal.SIGSEGV
    assert stand.wait_for_exit("leaves") == 0
    assert not is_alive(stand.status("leaves")["output"]["pid"])
    assert is_alive(process)
    assert is_alive(child)


def test_signals_are_written_while_the_step_runs(
    start_worker: StartWorker, stand: WorkerStand, cluster: WatchableCluster
) -> None:
    start_worker(MANY)
    stand.assign("signals", do="signal")

    assert stand.wait_for_exit("signals") == 0
    assert stand.status("signals")["signals"]["progress"]["value"] == 50
    assert stand.status("signals")["output"] == {"text": "done"}
    assert [each.method for each in cluster.requests if "signals/status" in each.path].count("PATCH") >= 2


@pytest.mark.parametrize("how", ["annotation", "final", "next attempt", "deleted", "another worker"])
def test_a_step_that_is_over_by_the_record_ends(
    start_worker: StartWorker, stand: WorkerStand, cluster: WatchableCluster, tmp_path: Path, how: str
) -> None:
    start_worker(MANY)
    process, child, _ = waiting(stand, tmp_path, "over")
    path = next(path for path in cluster.objects if path.endswith("/over"))

    if how == "annotation":
        stand.change("over", annotations={"bubustack.io/cancel-requested": "true"})
    elif how == "final":
        stand.finish("over", "Canceled")
    elif how == "next attempt":
        stand.change("over", status={"retries": 1})
    elif how == "deleted":
        cluster.remove(path)
    else:
        moved = stand.step_run("over")
        assignment = json.loads(moved["metadata"]["annotations"]["runs.bubustack.io/assignment"])
        assignment |= {"attempt": 1, "worker": "pool-a-2", "workerUid": "another"}
        metadata = {
            **moved["metadata"],
            "labels": {"bubustack.io/worker": "pool-a-2"},
            "annotations": {"runs.bubustack.io/assignment": json.dumps(assignment)},
        }
        cluster.add(path, {**moved, "metadata": metadata})

    eventually(lambda: not is_alive(process) and not is_alive(child))
    if how in ("annotation", "final", "next attempt"):
        stand.wait_for_exit("over")
        phase = {"annotation": "Succeeded", "final": "Canceled", "next attempt": None}[how]
        assert stand.status("over").get("phase") == phase
    stand.assign("next", do="echo", text="still serves")
    assert stand.wait_for_exit("next") == 0
    if how == "another worker":
        assert "workerExit" not in stand.status("over")


def test_a_function_that_ignores_its_cancellation_is_ended_after_its_grace(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    start_worker(MANY, BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="200ms")
    process, child, _ = waiting(stand, tmp_path, "deaf", deaf=True)

    stand.change("deaf", annotations={"bubustack.io/cancel-requested": "true"})

    assert stand.wait_for_exit("deaf") == 128 + signal.SIGTERM
    assert "was killed" in stand.status("deaf")["lastFailureMsg"]
    assert not is_alive(process)
    assert not is_alive(child)


def test_a_step_times_out(start_worker: StartWorker, stand: WorkerStand, tmp_path: Path) -> None:
    start_worker(MANY, BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="200ms")

    stand.assign("slow", environment={"BUBU_STEP_TIMEOUT": "300ms"}, do="wait", file=str(tmp_path / "f"), deaf=True)

    assert stand.wait_for_exit("slow") == 124
    assert stand.status("slow")["phase"] == "Timeout"


def test_a_step_that_was_seen_late_times_out_at_the_deadline_of_the_operator(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    start_worker(MANY, BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="200ms", BUBU_STEP_TIMEOUT="10m")
    stand.assign("prompt", seconds_left=600, do="echo", text="in time")
    assert stand.wait_for_exit("prompt") == 0
    file = tmp_path / "late.pids"

    stand.assign("late", seconds_left=-1.0, do="wait", file=str(file), deaf=True)
    stand.assign("too-late", seconds_left=-2.5, do="echo", text="never")

    assert stand.wait_for_exit("late") == 124
    assert stand.status("late")["phase"] == "Timeout"
    assert "was killed" in stand.status("late")["lastFailureMsg"]
    assert not any(is_alive(int(pid)) for pid in file.read_text().split()[:2])
    assert stand.wait_for_exit("too-late") == 124
    assert stand.status("too-late")["exitClass"] == "retry"
    assert "did not begin within 10m" in stand.status("too-late")["lastFailureMsg"]


def test_a_step_may_not_take_more_memory_than_its_share(start_worker: StartWorker, stand: WorkerStand) -> None:
    start_worker(MANY, BUBU_WORKER_MEMORY_BYTES=str(64 << 20))
    stand.assign("large", do="fill", bytes=128 << 20)
    stand.assign("small", do="fill", bytes=16 << 20)

    assert stand.wait_for_exit("large") == 1
    assert "MemoryError" in stand.status("large")["lastFailureMsg"]
    assert stand.wait_for_exit("small") == 0


def test_a_flood_of_lines_is_passed_on_completely(start_worker: StartWorker, stand: WorkerStand) -> None:
    worker = start_worker(MANY, BUBU_WORKER_CONCURRENCY="2")
    stand.assign("floods", do="flood", lines=20_000)
    stand.assign("beside", do="echo", text="quiet")

    assert stand.wait_for_exit("beside") == 0
    assert stand.wait_for_exit("floods") == 0
    eventually(lambda: sum(line["logger"] == "output" for line in worker.lines("floods")) == 20_000)


def test_the_end_of_the_zygote_ends_the_worker_and_its_successor_serves(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(MANY)
    process, child, zygote = waiting(stand, tmp_path, "killed")

    os.kill(zygote, signal.SIGKILL)

    assert stand.wait_for_exit("killed") == 128 + signal.SIGKILL
    eventually(lambda: not is_alive(process) and not is_alive(child))
    assert worker.process.wait(60) == 1
    assert stand.state == "draining"
    worker.restart()
    eventually(lambda: stand.state == "ready")
    stand.assign("killed", attempt=1, do="echo", text="again")
    assert stand.wait_for_exit("killed", attempt=1) == 0
    assert stand.status("killed")["output"]["attempt"] == 2


def test_no_process_outlives_the_supervisor_and_its_successor_releases_the_attempts(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(MANY)
    process, child, zygote = waiting(stand, tmp_path, "orphan")

    worker.process.kill()

    eventually(lambda: not any(map(is_alive, (process, child, zygote))))
    assert stand.exit_code("orphan") is None
    worker.restart()
    assert stand.wait_for_exit("orphan") == 128 + signal.SIGKILL
    stand.assign("next", do="echo", text="serves")
    assert stand.wait_for_exit("next") == 0


def test_a_worker_that_is_asked_to_end_finishes_what_is_under_way(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path
) -> None:
    worker = start_worker(MANY, BUBU_WORKER_CONCURRENCY="2", BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT="4s")
    file = tmp_path / "go"
    waiting(stand, tmp_path, "stops")
    waiting(stand, tmp_path, "deaf", deaf=True)

    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: stand.state == "draining")
    stand.assign("late", do="echo", text="too late")

    assert stand.wait_for_exit("late") == 128 + signal.SIGTERM
    assert stand.wait_for_exit("stops") == 0
    assert stand.wait_for_exit("deaf") in (128 + signal.SIGTERM, 128 + signal.SIGKILL)
    assert worker.process.wait(60) == 0
    assert not file.exists()


def test_a_setup_that_fails_ends_the_container_with_its_reason(start_worker: StartWorker, stand: WorkerStand) -> None:
    source = """
        from bubu_sdk import engram

        def load():
            raise RuntimeError("no model in /models")

        @engram(setup=load)
        def main():
            return {}

        main.run()
    """
    with pytest.raises(AssertionError, match="no model in /models"):
        start_worker(source)
    assert stand.state == ""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_functions_run_in_their_own_loops(start_worker: StartWorker, stand: WorkerStand, backend: str) -> None:
    source = f"""
        import {backend}
        from bubu_sdk import AsyncContext, engram

        async def load():
            await {backend}.sleep(0)
            return "{backend}"

        @engram(setup=load, backend="{backend}")
        async def main(ctx: AsyncContext, inputs: dict):
            await {backend}.sleep(inputs["seconds"])
            return {{"setup": ctx.setup}}

        main.run()
    """
    start_worker(source, BUBU_WORKER_CONCURRENCY="2")
    stand.assign("long", seconds=600)
    stand.assign("short", seconds=0)

    assert stand.wait_for_exit("short") == 0
    assert stand.status("short")["output"] == {"setup": backend}
    stand.change("long", annotations={"bubustack.io/cancel-requested": "true"})
    assert stand.wait_for_exit("long") == 128 + signal.SIGTERM
