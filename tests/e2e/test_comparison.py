"""The oracle of the fault tests sees real differences, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.e2e.comparison import Outcome, counts_by_object, masked
from tests.e2e.fault_rig import assert_ends_were_final
from tools.control_plane.history import History, Write

RUN = "runs.bubustack.io/storyruns/team/one"


def outcome(**parts: Any) -> Outcome:
    return Outcome(**{"objects": {}, "created": {}, "deleted": {}, "executed": {}, **parts})


def run(uid: str, phase: str, at: str) -> Object:
    return {
        "metadata": {"name": "one", "uid": uid, "resourceVersion": at},
        "status": {"phase": phase, "finishedAt": at},
    }


def test_two_executions_differ_in_nothing_but_instants_and_uids() -> None:
    one, other = run("a", "Failed", "2026-01-02T03:04:05Z"), run("b", "Failed", "2026-01-02T03:04:06.5+01:00")

    assert outcome(objects={"one": masked(one)}).differences_from(outcome(objects={"one": masked(other)})) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"created": {"jobs/team/a": 2}}, "created.jobs/team/a: 2 instead of 1"),
        ({"deleted": {"jobs/team/a": 1}}, "deleted.jobs/team/a: 1 instead of None"),
        ({"executed": {}}, "executed.one/a: None instead of 1"),
        ({"objects": {"one": {"status": {"steps": [{"phase": "Failed"}]}}}}, "one.status.steps[0].phase: 'Failed'"),
    ],
    ids=["created twice", "deleted", "not executed", "ended otherwise"],
)
def test_a_difference_is_told_with_its_place(found: Object, said: str) -> None:
    objects = {"one": {"status": {"steps": [{"phase": "Succeeded"}]}}}
    usual: Object = {"created": {"jobs/team/a": 1}, "executed": {"one/a": 1}, "objects": objects}

    [difference] = outcome(**usual | found).differences_from(outcome(**usual))

    assert difference.startswith(said)


def test_pods_of_a_job_are_counted_together() -> None:
    keys = {"pods/team/one-a-x7k2f": 1, "pods/team/one-a-8dk2p": 1, "pods/other/one-a-8dk2p": 1, "events/team/x": 3}

    assert counts_by_object(keys, ["pods/team/"]) == {"pods/team/one-a-*": 2}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"phase": "Succeeded"}, {"phase": "Running"}),
        ({"phase": "Failed"}, {"phase": "Succeeded"}),
        ({"phase": "Running", "retries": 2}, {"phase": "Running", "retries": 1}),
    ],
    ids=["taken up again", "ended twice", "retries fell"],
)
def test_an_end_that_was_left_is_seen(before: Object, after: Object) -> None:
    writes = [Write(RUN, False, {"metadata": {"uid": "u"}, "status": status}) for status in (before, after)]

    with pytest.raises(AssertionError):
        assert_ends_were_final(History(writes))


def test_a_namesake_starts_from_the_beginning() -> None:
    statuses = (("a", "Succeeded"), ("b", "Running"))

    assert_ends_were_final(
        History([Write(RUN, True, {"metadata": {"uid": uid}, "status": {"phase": phase}}) for uid, phase in statuses])
    )
