"""What steps write in a worker: whose line it is, and which levels they have."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

import pytest

from bubu_sdk.workers.records import write_all
from bubu_sdk.workers.relay import OutputRelay, WorkerRecords
from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.worker_stand import WorkerStand, eventually

BOTH = pytest.mark.parametrize("isolation", ["process", "task"])
DEBUG = """
    import logging, time
    from pathlib import Path
    from bubu_sdk import Context, engram

    noisy = logging.getLogger("noisy")
    noisy.setLevel(logging.DEBUG)

    @engram
    def main(ctx: Context, inputs: dict):
        Path(inputs["begun"]).touch()
        while not Path(inputs["go"]).exists():
            time.sleep(0.01)
        ctx.logger.debug("details")
        logging.getLogger("library").debug("internals")
        noisy.debug("wanted by the program")
        ctx.logger.info("result")
        return {}

    main.run()
"""


@BOTH
def test_each_step_has_its_own_level(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path, isolation: str
) -> None:
    worker = start_worker(DEBUG, BUBU_WORKER_ISOLATION=isolation, BUBU_WORKER_CONCURRENCY="3")
    go = tmp_path / "go"
    for name, debug in (("quiet", "false"), ("loud", "true"), ("plain", None)):
        begun = tmp_path / name
        variables = {} if debug is None else {"BUBU_DEBUG": debug}
        stand.assign(name, environment=variables, begun=str(begun), go=str(go))
        eventually(begun.exists)
    go.touch()
    for name in ("quiet", "loud", "plain"):
        assert stand.wait_for_exit(name) == 0
    stand.assign("later", begun=str(tmp_path / "later"), go=str(go))
    assert stand.wait_for_exit("later") == 0

    def said(name: str) -> set[tuple[str, str]]:
        return {(line["level"], line["msg"]) for line in worker.lines(name) if line["logger"] != "bubu_sdk"}

    few = {("debug", "wanted by the program"), ("info", "result")}
    many = {*few, ("debug", "details"), ("debug", "internals")}
    eventually(lambda: all(("info", "result") in said(name) for name in ("quiet", "loud", "plain", "later")))
    assert {name: said(name) for name in ("quiet", "loud", "plain", "later")} == {
        "quiet": few,
        "loud": many,
        "plain": few,
        "later": few,
    }


FORGER = """
    import json, os, subprocess, sys, threading
    from bubu_sdk import Context, engram

    FORGED = {"time": "2026-01-01T00:00:00.000Z", "level": "info", "logger": "engram", "msg": "forged"}
    FORGED |= {"storyRun": "other", "step": "b", "stepRun": "other-b", "attempt": 1}
    TEXT = json.dumps(FORGED)

    @engram
    def main(ctx: Context, inputs: dict):
        print("\\x1e" + TEXT)
        print(TEXT, file=sys.stderr)
        sys.stdout.buffer.write(b"\\x1e" + TEXT.encode() + b"\\n")
        ctx.logger.info("forged", extra={**{"storyRun": "other", "stepRun": "other-b", "attempt": 1}, "number": 1})
        thread = threading.Thread(target=print, args=("\\x1e" + TEXT,))
        thread.start()
        thread.join()
        print("begun", end="")
        ctx.logger.info("in between", extra={"size": "x" * 100_000})
        print("\\0 ended\\u2028 here")
        if inputs["descriptors"]:
            for descriptor in (1, 2):
                os.write(descriptor, b"\\x1e" + TEXT.encode() + b"\\n\\xff\\n")
                os.set_blocking(descriptor, False)
            subprocess.run([sys.executable, "-c", f"print({TEXT!r})"], check=True)
            ctx.logger.info("much", extra={"size": "x" * 1_000_000})
            os.close(1)
            os.close(2)
            sys.stdout.close()
        ctx.logger.info("last")
        return {}

    main.run()
"""


@BOTH
def test_no_step_writes_lines_of_another(start_worker: StartWorker, stand: WorkerStand, isolation: str) -> None:
    worker = start_worker(FORGER, BUBU_WORKER_ISOLATION=isolation)
    stand.assign("forger", descriptors=isolation == "process")

    assert stand.wait_for_exit("forger") == 0
    eventually(lambda: any(line["msg"] == "step ended" for line in worker.lines("forger")))
    assert worker.lines("other-b") == []
    lines = worker.lines("forger")
    assert {(line["storyRun"], line["attempt"]) for line in lines} == {("run", 1)}
    said = [line["msg"] for line in lines if line["logger"] == "engram"]
    assert said == ["forged", "in between", *(["much"] if isolation == "process" else []), "last"]
    printed = [line["msg"] for line in lines if line["logger"] == "output"]
    assert printed.count("begun\0 ended\u2028 here") == 1
    assert sum("forged" in text for text in printed) == (7 if isolation == "process" else 3)
    if isolation == "task":
        of_worker = [json.loads(line) for line in worker.text.splitlines() if '"worker": ' in line]
        assert [line["msg"][:12] for line in of_worker if line["logger"] == "output"] == ['\x1e{"time": "2']


def test_lines_of_steps_and_of_the_worker_do_not_mix(tmp_path: Path) -> None:
    """A pipe takes a long text in parts."""
    reading, writing = os.pipe()
    relay = OutputRelay(writing)
    relay.begin()
    collected: list[bytes] = []
    reader = threading.Thread(target=lambda: collected.extend(iter(lambda: os.read(reading, 1000), b"")))
    reader.start()
    ours, theirs = os.pipe()
    relay.follow(ours, {"stepRun": "a"})
    own = WorkerRecords({"worker": "w"}, relay.put)
    record = logging.makeLogRecord({"name": "bubu_sdk", "levelname": "INFO", "msg": "own " + "y" * 3000})

    def print_much() -> None:
        for _ in range(40):
            write_all(theirs, (b"x" * 60_000) + b"\n")

    printing = threading.Thread(target=print_much)
    printing.start()
    for _ in range(500):
        own.emit(record)
    printing.join()
    os.close(theirs)
    relay.finish(ours)
    relay.close()
    os.close(writing)
    reader.join()
    os.close(reading)

    lines = [json.loads(line) for line in b"".join(collected).splitlines()]
    assert sum("worker" in line for line in lines) == 500
    assert sum("stepRun" in line for line in lines) == 40
