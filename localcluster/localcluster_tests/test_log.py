"""Log records with fields, in both formats."""

import json
import logging
import sys
from typing import Any

import pytest

from localcluster.log import LogForm, get_logger, log_to_stderr


@pytest.fixture
def written(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Any:
    """What standard error shows of new records. The root logger is restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)


def test_people_read_fields_behind_the_message(written: Any) -> None:
    log_to_stderr(LogForm.TEXT)

    get_logger("localcluster.node").warning("something_is_late", seconds=3, pod="p q")

    (line,) = written()
    assert line.endswith("WARNING something_is_late seconds=3 pod='p q'")


def test_programs_read_one_object_a_line(written: Any) -> None:
    log_to_stderr(LogForm.JSON)

    get_logger("localcluster.node").info("something_is_late", path=sys.path[:0])
    try:
        dict[str, int]()["nowhere"]
    except LookupError:
        get_logger("localcluster.node").exception("it_broke")

    late, broken = map(json.loads, written())
    assert late["ts"].endswith("Z")
    assert {**late, "ts": ""} == {
        "level": "info",
        "ts": "",
        "logger": "localcluster.node",
        "msg": "something_is_late",
        "path": [],
    }
    assert (broken["msg"], broken["error"]) == ("it_broke", "'nowhere'")
    assert "KeyError: 'nowhere'" in broken["stacktrace"]
