"""The engine has work for each kind of steps."""

from __future__ import annotations

from core.engine.primitives import life
from core.story.kinds import PRIMITIVES, StepKind


def test_each_kind_of_steps_has_its_work() -> None:
    assert {*life._MODULES, StepKind.PARALLEL} == set(StepKind) - {StepKind.UNKNOWN}


def test_each_kind_but_that_of_a_container_is_a_primitive() -> None:
    assert {*PRIMITIVES, StepKind.ENGRAM, StepKind.UNKNOWN} == set(StepKind)
