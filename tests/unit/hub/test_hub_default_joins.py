"""What a step with several needs does where its settings say nothing about joins. (hub/routes.py, hub/work.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from core.story.kinds import StepKind
from hub.routes import StreamStep, compile_routes
from hub.settings import JoinMode, JoinSettings, RouteRule
from tests.unit.hub.json_packets import metadata_of
from tests.unit.hub.test_hub_flow import DIAMOND, EMIT, OPEN, RUN, sink, staged, text

BOTH = ("left", "right")


async def test_branches_of_one_source_are_joined_and_expressions_see_all_of_them() -> None:
    join = sink("join", BOTH, runtime={"l": "{{ steps.left.text }}", "r": "{{ steps.right.text }}"})
    async with staged(*DIAMOND, join) as stage:
        stage.send("right", text("r", message_id="m"))
        assert stage.got("join") == []
        stage.send("left", text("l", message_id="m"))
        assert stage.inputs("join") == [{"l": "l", "r": "r"}]
        assert stage.run.node("join").skipped == {"joined": 1}


async def test_a_step_is_joined_with_the_answer_to_it() -> None:
    async with staged(EMIT, StreamStep("left", ("emit",), OPEN), sink("join", ("left", "emit"))) as stage:
        stage.send("emit", text("question", message_id="m"))
        answer: Any = {"bubu.join.key": "m", "message_id": "other"}
        stage.send("left", text("answer", **answer))
        assert stage.texts("join") == ["answer"]


async def test_packets_without_an_id_pass_by_themselves_and_get_none() -> None:
    async with staged(*DIAMOND, sink("join", BOTH)) as stage:
        stage.send("left", text("l"))
        stage.send("right", text("r"))
        assert stage.texts("join") == ["l", "r"]
        stage.send("emit", text("e"))
        assert "bubu.join.key" not in metadata_of(stage.links["left"].sent[0])
        assert stage.run.node("join").refused == {}


async def test_independent_sources_flow_together_although_their_packets_have_ids() -> None:
    other = StreamStep("other", delivery=OPEN)
    async with staged(*DIAMOND, other, sink("join", ("left", "other", "right"))) as stage:
        for name in ("left", "other", "other"):
            stage.send(name, text(name, message_id="1"))
        assert stage.texts("join") == ["other", "other"]
        stage.send("right", text("right", message_id="1"))
        assert stage.texts("join") == ["other", "other", "left"]
    async with staged(EMIT, other, sink("merge", ("emit", "other"))) as stage:
        assert stage.run.steps["merge"].intake is None


async def test_sets_of_branches_are_joined_apart_from_each_other() -> None:
    second = (StreamStep("eye", delivery=OPEN), StreamStep("face", ("eye",), OPEN))
    join = sink("join", ("left", "eye", "right", "face"))
    async with staged(*DIAMOND, *second, join) as stage:
        for name in ("left", "eye"):
            stage.send(name, text(name, message_id="1"))
        assert stage.texts("join") == []
        for name in ("face", "right"):
            stage.send(name, text(name, message_id="1"))
        assert stage.texts("join") == ["eye", "left"]


async def test_a_branch_that_is_missing_is_given_up_counted_and_told(autojump_clock: trio.testing.MockClock) -> None:
    async with staged(*DIAMOND, sink("join", BOTH)) as stage:
        stage.send("left", text("l", message_id="m"))
        await trio.sleep(119.9)
        assert stage.run.node("join").refused == {}
        await trio.sleep(0.2)
        assert stage.run.node("join").refused == {"join_timeout": 1}
        trouble = stage.run.node("join").trouble
        assert trouble.startswith("join_timeout: ")
        assert "left and right are joined because they have the same sources" in trouble


async def test_a_second_answer_of_a_joined_group_is_lost_by_name_and_a_repeated_one_is_not() -> None:
    async with staged(*DIAMOND, sink("join", BOTH)) as stage:
        stage.send("left", text("l", message_id="m"))
        keyed: Any = {"bubu.join.key": "m"}
        stage.send("right", text("r1", message_id="r.1", **keyed), text("r2", message_id="r.2", **keyed))
        stage.send("right", text("r1", message_id="r.1", **keyed))
        assert stage.texts("join") == ["l"]
        assert stage.run.node("join").refused == {"join_replaced": 1}
        assert stage.run.node("join").skipped == {"joined": 1, "join_late": 1}


def _joins(*steps: StreamStep) -> Any:
    join = compile_routes(RUN, "story", steps).steps["join"].join
    return join and (join.settings, join.sets)


DEFAULT = JoinSettings(needs_key=False)
ONLY_RIGHT = (*DIAMOND[:2], replace(DIAMOND[2], condition="packet.n > 1"))


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ((*DIAMOND, sink("join", BOTH)), (DEFAULT, (BOTH,))),
        ((*DIAMOND, sink("join", BOTH, is_in_line=True)), None),
        ((*DIAMOND, sink("join", BOTH, kind=StepKind.CONDITION)), None),
        ((*DIAMOND, StreamStep("m", BOTH, kind=StepKind.CONDITION), sink("join", ("m",))), None),
        ((*ONLY_RIGHT, sink("join", BOTH)), None),
        ((*ONLY_RIGHT, sink("join", BOTH, runtime={"x": "{{ steps.left.text }}"})), None),
        ((*ONLY_RIGHT, sink("join", BOTH, runtime={"x": "{{ steps.left.a }}{{ steps.right.a }}"})), (DEFAULT, (BOTH,))),
        ((*ONLY_RIGHT, sink("join", BOTH, condition="steps.left.a == steps.right.a")), (DEFAULT, (BOTH,))),
    ],
)
def test_what_is_joined_follows_from_the_steps(steps: tuple[StreamStep, ...], found: Any) -> None:
    assert _joins(*steps) == found


def test_rules_of_a_branch_make_it_conditional_and_settings_come_first() -> None:
    ruled = replace(OPEN, rules=(RouteRule("r", False),))
    branches = (DIAMOND[0], DIAMOND[1], replace(DIAMOND[2], delivery=ruled))
    assert _joins(*branches, sink("join", BOTH)) is None
    given = JoinSettings(JoinMode.ANY)
    explicit = sink("join", ("emit", "other"), delivery=replace(OPEN, join=given))
    assert _joins(EMIT, StreamStep("other"), explicit) == (given, (("emit", "other"),))
