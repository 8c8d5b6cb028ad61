"""Admission and the engine derive the same graph: the engine runs each admitted graph and refuses each refused one."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given

from core.engine.plan import Refusal, StoryPlan, parse_story
from core.graph.needs import build_graph
from core.story.story import is_realtime, read_story
from fuzz.admission import mutations_graph, strategies  # noqa: F401 - mistakes are registered when they are imported
from fuzz.admission.cases import Case
from fuzz.admission.mutations import MUTATIONS, Broken, Mutation, broken
from fuzz.engine.profile import budget
from webhooks.validate import dependency
from webhooks.validate.gates import is_meant, of_story

_RULES: Final = ("story/need-unknown", "story/need-later", "story/cycle", "story/expression-waits-for-later")
OF_THE_GRAPH: Final = [mutation for mutation in MUTATIONS if mutation.rule in _RULES]


@given(case=strategies.cases("Story", update=False))
@budget(bounded=300, deep=2_000)
def test_a_story_that_is_right_can_be_run_and_waits_for_the_same_steps(case: Case) -> None:
    if is_realtime(case.new["spec"]):
        return
    plan = parse_story(case.new)
    assert isinstance(plan, StoryPlan), plan

    placed = {each.name: each for each in read_story(case.new).top()}
    told = build_graph(dependency.declared(name, each, plan.branch_owners) for name, each in placed.items())
    for group, of_group in plan.groups.items():
        for name, needs in of_group.graph.needs.items():
            same_list = {need for need in told.needs[name] if placed[need].group == group}
            assert same_list <= set(needs), name  # compensations also need each other for other reasons


@pytest.mark.parametrize("mutation", OF_THE_GRAPH, ids=str)
def test_a_story_whose_steps_cannot_be_put_into_an_order_cannot_be_run(mutation: Mutation) -> None:
    @given(wrong=broken(mutation))
    @budget(bounded=16, deep=120)
    def check(wrong: Broken) -> None:
        if wrong.case.new["spec"].get("pattern") != "realtime":
            assert isinstance(parse_story(wrong.case.new), Refusal)

    check()


@given(case=strategies.cases("Story", update=False))
@budget(bounded=300, deep=2_000)
def test_the_gates_that_may_be_decided_on_are_those_a_run_asks_for(case: Case) -> None:
    if is_realtime(case.new["spec"]):
        return
    plan = parse_story(case.new)
    assert isinstance(plan, StoryPlan), plan

    for gate in of_story(case.new):
        step = plan.find("/".join("7" if part is None else part for part in gate.parts))
        assert step is not None
        assert step.kind == "gate"
        assert is_meant(gate, step.name)
