"""What steps write in a worker: whose line it is, and which levels they have."""

from __future__ import annotations

from pathlib import Path

import pytest

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
