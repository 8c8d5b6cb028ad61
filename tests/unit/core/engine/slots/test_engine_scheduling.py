"""Queue and priority of a run: from its Story, from its parent, and from the queue."""

from __future__ import annotations

from typing import Any

import pytest

from core.engine.slots.scheduling import Scheduling, child_metadata, scheduling_of, story_key
from core.policy.settings import QueueSettings

QUEUES = {"fast": QueueSettings(default_priority=7), "gpu": QueueSettings(default_priority=2)}
PARENT = {"kind": "StoryRun", "uid": "uid-parent", "controller": True}


def story(**policy: Any) -> dict[str, Any]:
    return {"metadata": {"name": "report"}, "spec": {"policy": policy}}


def run(inherited: object = None, owners: Any = (PARENT,)) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "one",
            "ownerReferences": list(owners),
            "annotations": {"runs.bubustack.io/parent-scheduling": inherited},
        }
    }


@pytest.mark.parametrize(
    ("policy", "queue", "priority"),
    [
        ({}, "default", 0),
        ({"queue": " Fast "}, "fast", 7),
        ({"queue": "fast", "priority": 0}, "fast", 0),
        ({"queue": "fast", "priority": 3}, "fast", 3),
        ({"queue": "unknown"}, "unknown", 0),
        ({"queue": "a--b"}, "a-b", 0),
        ({"priority": 4}, "default", 4),
    ],
)
def test_a_run_has_what_its_story_says_and_then_what_its_queue_gives(
    policy: dict[str, Any], queue: str, priority: int
) -> None:
    assert scheduling_of(run(), story(**policy), QUEUES) == Scheduling(queue, priority)


@pytest.mark.parametrize(
    ("policy", "inherited", "queue", "priority"),
    [
        ({}, "gpu/5", "gpu", 5),
        ({}, "fast/0", "fast", 0),
        ({}, "gpu/-3", "gpu", -3),
        ({"queue": "fast"}, "gpu/5", "fast", 7),
        ({"queue": "fast"}, "gpu/9", "fast", 9),
        ({"queue": "other"}, "gpu/9", "other", 9),
        ({"priority": 6}, "gpu/5", "gpu", 6),
        ({"priority": 1}, "gpu/5", "gpu", 5),
    ],
    ids=[
        "queue and priority",
        "a priority of 0 is one",
        "negative",
        "own queue, its default is higher",
        "own queue, never below the parent",
        "own queue without a default",
        "own priority is higher",
        "own priority is lower",
    ],
)
def test_a_child_inherits_what_its_story_does_not_say_and_is_never_below_its_parent(
    policy: dict[str, Any], inherited: str, queue: str, priority: int
) -> None:
    assert scheduling_of(run(inherited), story(**policy), QUEUES) == Scheduling(queue, priority)


@pytest.mark.parametrize(
    "inherited",
    ["", "gpu", "gpu/", "gpu/x", "gpu/5/5", "Gpu/5", "g_u/5", "/5", "gpu/99999999999", "gpu/²", "gpu/--1", 5, None, []],
)
def test_what_no_parent_writes_is_not_inherited(inherited: object) -> None:
    assert scheduling_of(run(inherited), story(), QUEUES) == Scheduling("default", 0)


@pytest.mark.parametrize(
    "owners",
    [(), ({**PARENT, "controller": False},), ({**PARENT, "kind": "Impulse"},)],
    ids=["none", "not the controller", "not a run"],
)
def test_only_a_run_hands_down(owners: Any) -> None:
    assert scheduling_of(run("gpu/5", owners), story(), QUEUES) == Scheduling("default", 0)


def test_what_the_parent_writes_is_what_the_child_reads_ever_after() -> None:
    parent = Scheduling("gpu", 5)
    for policy in ({}, {"queue": "fast"}, {"priority": 9}):
        metadata = child_metadata(parent, story(**policy), QUEUES)
        child = {"metadata": {"name": "child", "ownerReferences": [PARENT], **metadata}}
        assert metadata["labels"] == scheduling_of(child, story(**policy), QUEUES).labels


def test_inheritance_reaches_grandchildren() -> None:
    middle = scheduling_of(run("gpu/5"), story(priority=6), QUEUES)
    assert child_metadata(middle, story(), QUEUES) == {
        "labels": {"bubustack.io/queue": "gpu", "bubustack.io/queue-priority": "6"},
        "annotations": {"runs.bubustack.io/parent-scheduling": "gpu/6"},
    }


def test_a_story_with_a_long_name_is_counted_by_the_label_its_step_runs_have() -> None:
    assert story_key("team", "report") == "team/report"
    name = "n" * 80
    assert len(story_key("team", name)) == len("team/") + 63
    assert story_key("team", name) != story_key("team", name + "n")


BOUNDED = {"gpu": QueueSettings(max_priority=5), "vip": QueueSettings(default_priority=500, max_priority=100)}


@pytest.mark.parametrize(
    ("policy", "inherited", "priority"),
    [
        ({"priority": 2**31 - 1}, None, 100),
        ({"priority": 2**31 - 1, "queue": "gpu"}, None, 5),
        ({"priority": 2**31 - 1, "queue": "vip"}, None, 500),
        ({"queue": "vip"}, None, 500),
        ({"queue": "nobody-has-set-it-up", "priority": 101}, None, 100),
        ({}, f"gpu/{2**31 - 1}", 5),
        ({"queue": "gpu"}, f"default/{2**31 - 1}", 5),
        ({"priority": -(2**31)}, None, -(2**31)),
    ],
    ids=[
        "default",
        "a queue's own bound",
        "a queue whose default is more",
        "that default",
        "a queue of the Story's invention",
        "an annotation that anybody may have written",
        "of a parent in another queue",
        "below is no matter",
    ],
)
def test_nobody_is_above_the_bound_whatever_he_says(
    policy: dict[str, Any], inherited: str | None, priority: int
) -> None:
    found = scheduling_of(run(inherited), story(**policy), BOUNDED)
    assert found.priority == priority


def test_a_queue_of_somebodys_invention_has_the_bound_of_the_default_one() -> None:
    queues = {"default": QueueSettings(max_priority=10), "gpu": QueueSettings(max_priority=50)}
    found = {name: scheduling_of(run(), story(queue=name, priority=99), queues).priority for name in ("mine", "gpu")}
    assert found == {"mine": 10, "gpu": 50}


def test_a_namespace_has_a_bound_of_its_own_in_every_queue() -> None:
    mine = {**run(), "metadata": {**run()["metadata"], "namespace": "team"}}
    asked = story(priority=50)
    assert scheduling_of(mine, asked, {}, {"team": 3, "others": 90}).priority == 3
    assert scheduling_of(mine, asked, {}, {"others": 3}).priority == 50
    assert scheduling_of(mine, story(priority=2**31 - 1, queue="gpu"), BOUNDED, {"team": 90}).priority == 5


def test_a_child_is_created_within_the_bound_of_its_own_queue_and_namespace() -> None:
    labels = child_metadata(Scheduling("vip", 500), story(queue="gpu"), BOUNDED)["labels"]
    assert labels == {"bubustack.io/queue": "gpu", "bubustack.io/queue-priority": "5"}
    labels = child_metadata(Scheduling("vip", 500), story(), BOUNDED, {"team": 3}, "team")["labels"]
    assert labels["bubustack.io/queue-priority"] == "3"


def test_less_than_what_was_asked_for_is_told() -> None:
    assert scheduling_of(run(), story(priority=100), {}).note == ""
    note = scheduling_of(run(), story(priority=101), {}).note
    assert note == "priority 101 is above the maximum of queue default for this namespace; 100 is used"
