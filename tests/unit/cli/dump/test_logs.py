from __future__ import annotations

from typing import Any

from cli.dump.logs import MAX_LOG_BYTES, LogEnd, logs_of
from core.api.objects import Object


def pod(name: str, *statuses: Object, phase: str = "Running") -> Object:
    return {"metadata": {"name": name}, "status": {"phase": phase, "containerStatuses": list(statuses)}}


def status(restarts: int = 0, **state: Any) -> Object:
    return {"name": "engram", "restartCount": restarts, "state": state}


def test_logs_of_failed_pods_come_first_and_containers_that_never_started_have_none() -> None:
    pods = [
        pod("a", status(running={})),
        pod("b", status(waiting={})),
        pod("c", status(terminated={}, restarts=1), phase="Failed"),
    ]

    assert [(log.path, log.previous) for log in logs_of(pods, "logs")] == [
        ("logs/c.engram.previous.log", True),
        ("logs/c.engram.log", False),
        ("logs/a.engram.log", False),
    ]


def test_the_end_of_a_log_has_whole_lines_and_a_bounded_size() -> None:
    end = LogEnd()
    for number in range(30_000):
        end.add(f"{number:07} {'x' * 50}\n".encode())

    text = end.text()

    assert end.is_cut
    assert len(text) <= MAX_LOG_BYTES
    assert text.startswith("00")
    assert text.endswith(f"{29_999:07} {'x' * 50}\n")


def test_a_short_log_is_complete() -> None:
    end = LogEnd()
    end.add(b"a\n")
    end.add("ü\n".encode()[:1])
    end.add("ü\n".encode()[1:])

    assert (end.text(), end.is_cut) == ("a\nü\n", False)
