"""At most one run per key, on an API server in this process."""

from __future__ import annotations

from typing import Any

import pytest

from cli.exit_code import ExitCode
from cli.problem import CommandError, UsageError
from cli.runs import run_manifest
from cli.session import Session
from cli.workflow import KeyedRun, start_once, with_key
from core.api.resource import STORY_RUN


async def submit(session: Session, key: str, story: str = "report", **inputs: Any) -> KeyedRun:
    return await start_once(session, with_key(run_manifest(story, "default", inputs), key, "default"))


async def test_the_same_key_and_inputs_meet_the_same_run(session: Session) -> None:
    first = await submit(session, "Order 42", city="Bern", days=2)
    second = await submit(session, " Order 42 ", days=2.0, city="Bern")
    other = await submit(session, "order 42", city="Bern", days=2)

    assert (first.decision, second.decision, other.decision) == ("Created", "Reused", "Created")
    assert first.run["metadata"]["name"].startswith("report-order-42-")
    assert second.run["metadata"]["uid"] == first.run["metadata"]["uid"]
    assert first.run["metadata"]["annotations"]["storyrun.bubustack.io/trigger-token"] == "Order 42"


async def test_a_key_that_was_used_for_something_else_is_rejected(session: Session) -> None:
    name = (await submit(session, "k", city="Bern")).run["metadata"]["name"]

    with pytest.raises(CommandError, match=f"Rejected: run {name} has the key 'k' and other inputs") as refusal:
        await submit(session, "k", city="Basel")

    assert refusal.value.code is ExitCode.REJECTED
    assert refusal.value.remedy == f"choose another key, or look at it with: bobrapet get {name}"


async def test_a_run_that_somebody_made_by_hand_counts_when_it_is_the_same(session: Session) -> None:
    wanted = with_key(run_manifest("report", "default", {"a": 1}), "k", "default")
    by_hand = {**wanted, "metadata": {"name": wanted["metadata"]["name"], "namespace": "default"}}
    await session.client.create(STORY_RUN, by_hand, namespace="default")

    assert (await submit(session, "k", a=1)).decision == "Reused"


async def test_a_run_that_is_being_deleted_is_not_taken_for_the_answer(session: Session) -> None:
    manifest = with_key(run_manifest("report", "default", {}), "k", "default")
    manifest["metadata"]["finalizers"] = ["tests.example/hold"]
    await session.client.create(STORY_RUN, manifest, namespace="default")
    await session.client.delete(STORY_RUN, manifest["metadata"]["name"], namespace="default")

    with pytest.raises(CommandError, match="is being deleted"):
        await submit(session, "k")


@pytest.mark.parametrize("key", ["  ", "x" * 257])
def test_what_cannot_be_a_key_is_wrong_usage(key: str) -> None:
    with pytest.raises(UsageError, match="1 to 256 characters"):
        with_key(run_manifest("report", "default", {}), key, "default")


def test_a_run_has_one_name_only() -> None:
    with pytest.raises(UsageError, match="names the run"):
        with_key(run_manifest("report", "default", {}, name="mine"), "k", "default")
