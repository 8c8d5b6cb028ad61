"""Only the operator and administrators may write a status, whatever the field."""

from __future__ import annotations

import pytest

from webhooks.caller import ADMINISTRATORS, Caller
from webhooks.cluster_view import InMemoryView
from webhooks.validate import status

RUN = {"kind": "StoryRun", "metadata": {"name": "r", "namespace": "team"}, "spec": {"storyRef": {"name": "s"}}}


@pytest.mark.parametrize(
    ("caller", "is_refused"),
    [
        pytest.param(Caller("op", is_operator=True), False, id="operator"),
        pytest.param(Caller("root", frozenset({ADMINISTRATORS})), False, id="administrator"),
        pytest.param(Caller("ann", frozenset({"system:authenticated"})), True, id="anybody else"),
    ],
)
def test_a_phase_is_the_operator_s(caller: Caller, is_refused: bool) -> None:
    new = {**RUN, "status": {"phase": "Succeeded"}}

    assert bool(status.validate(new, RUN, caller, InMemoryView())) is is_refused


def test_what_is_being_deleted_and_other_kinds_are_left_alone() -> None:
    gone = {**RUN, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Succeeded"}}

    assert status.validate(gone, RUN, Caller("ann"), InMemoryView()) == []
    assert status.validate({"kind": "Impulse", "status": {"x": 1}}, {}, Caller("ann"), InMemoryView()) == []
