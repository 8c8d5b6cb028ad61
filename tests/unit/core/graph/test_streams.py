"""Who gets packets from whom. (core/graph/streams.py)"""

from __future__ import annotations

from typing import Any

from core.graph.streams import StreamNeighbours, neighbours_of

STEPS: list[dict[str, Any]] = [
    {"name": "listen", "ref": {"name": "x"}},
    {"name": "pace", "type": "sleep", "needs": ["listen"]},
    {"name": "split", "type": "parallel", "needs": ["pace"]},
    {"name": "say", "ref": {"name": "x"}, "needs": ["split", "listen"]},
    {"name": "log", "ref": {"name": "x"}, "needs": ["say", "pace"]},
    {"name": "alone", "type": "stop"},
    {"name": "late", "ref": {"name": "x"}, "needs": ["alone"]},
]


def test_packets_pass_through_steps_without_a_container() -> None:
    assert neighbours_of("listen", STEPS) == StreamNeighbours((), ("say", "log"))
    assert neighbours_of("say", STEPS) == StreamNeighbours(("listen",), ("log",))
    assert neighbours_of("log", STEPS) == StreamNeighbours(("listen", "say"), ())


def test_a_step_behind_steps_without_a_source_is_a_source() -> None:
    assert neighbours_of("late", STEPS).upstream == ()


def test_circles_and_unknown_needs_end() -> None:
    circle: list[dict[str, Any]] = [
        {"name": "a", "ref": {}, "needs": ["b", "gone"]},
        {"name": "b", "type": "sleep", "needs": ["c"]},
        {"name": "c", "type": "sleep", "needs": ["b"]},
    ]
    assert neighbours_of("a", circle) == StreamNeighbours((), ())
