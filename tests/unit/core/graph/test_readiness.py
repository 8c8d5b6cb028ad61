from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.phases import Phase
from core.graph.needs import Declared, Graph, build_graph
from core.graph.readiness import Advance, FailureRules, Skip, SkipCause, advance, failure_skips

OK, BAD, SKIPPED, AT_WORK = Phase.SUCCEEDED, Phase.FAILED, Phase.SKIPPED, Phase.RUNNING
NO_RULES = FailureRules()
GO_ON = FailureRules(continue_on_failure=True)
CHAIN = build_graph([Declared("a"), Declared("b", ("a",)), Declared("c", ("b",)), Declared("d")])


def everything(graph: Graph, phases: dict[str, Phase], rules: FailureRules = NO_RULES) -> Advance:
    return advance(graph, phases, rules, failure_skips(graph, phases, rules), graph.order)


def test_steps_without_needs_start_in_spec_order() -> None:
    assert everything(CHAIN, {}) == Advance(("a", "d"), ())


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.PAUSED, Phase.BLOCKED])
def test_a_step_waits_while_a_need_is_under_way(phase: Phase) -> None:
    assert everything(CHAIN, {"a": phase, "d": OK}) == Advance((), ())


@pytest.mark.parametrize("phase", [OK, SKIPPED])
def test_a_step_starts_when_its_needs_succeeded_or_were_skipped(phase: Phase) -> None:
    assert everything(CHAIN, {"a": phase, "d": OK}).start == ("b",)


def test_a_failed_need_that_may_fail_is_completed() -> None:
    assert everything(CHAIN, {"a": BAD, "d": OK}, FailureRules(allowed=frozenset("a"))).start == ("b",)


def test_fail_fast_skips_all_that_has_not_started_and_nothing_that_has() -> None:
    found = everything(CHAIN, {"a": BAD})

    assert found == Advance((), tuple(Skip(step, SkipCause.FAIL_FAST, "a") for step in ("b", "c", "d")))
    assert everything(CHAIN, {"a": BAD, "d": AT_WORK}).skip == found.skip[:2]


@pytest.mark.parametrize("phase", [BAD, Phase.TIMEOUT, Phase.CANCELED, Phase.ABORTED, Phase.FINISHED])
def test_a_skip_for_a_failure_spreads_to_all_dependents(phase: Phase) -> None:
    found = everything(CHAIN, {"a": phase}, GO_ON)

    assert found.start == ("d",)
    assert found.skip == (Skip("b", SkipCause.FAILED_NEED, "a"), Skip("c", SkipCause.FAILED_NEED, "b"))


def test_a_recorded_skip_for_a_failure_still_spreads_after_a_restart() -> None:
    phases = {"a": BAD, "b": SKIPPED, "d": OK}

    assert failure_skips(CHAIN, phases, GO_ON) == {"b"}
    assert everything(CHAIN, phases, GO_ON) == Advance((), (Skip("c", SkipCause.FAILED_NEED, "b"),))


def test_a_skip_by_condition_does_not_spread() -> None:
    assert everything(CHAIN, {"a": OK, "b": SKIPPED, "d": OK}, GO_ON).start == ("c",)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Graph, dict[str, Phase], FailureRules]:
    names = "abcdefg"[: draw(st.integers(1, 7))]
    graph = build_graph(
        Declared(name, tuple(need for need in names[:index] if draw(st.booleans()))) for index, name in enumerate(names)
    )
    rules = FailureRules(frozenset(name for name in names if draw(st.integers(0, 3)) == 0), draw(st.booleans()))
    phases: dict[str, Phase] = {}
    for name in names:  # reachable situations only: a step has no phase before its needs are completed
        needs = [phases.get(need) for need in graph.needs[name]]
        if all(phase in (OK, SKIPPED) for phase in needs) and draw(st.booleans()):
            phases[name] = draw(st.sampled_from((OK, BAD, SKIPPED, AT_WORK)))
    return graph, phases, rules


@given(situations())
def test_every_step_is_at_most_one_of_started_and_skipped(
    situation: tuple[Graph, dict[str, Phase], FailureRules],
) -> None:
    graph, phases, rules = situation
    found = everything(graph, phases, rules)

    decided = [*found.start, *(skip.step for skip in found.skip)]
    assert len(set(decided)) == len(decided)
    assert not set(decided) & set(phases)


@given(situations())
def test_the_decision_agrees_with_reading_the_rules_one_by_one(
    situation: tuple[Graph, dict[str, Phase], FailureRules],
) -> None:
    graph, phases, rules = situation
    found = everything(graph, phases, rules)
    failed = {s for s, p in phases.items() if p.failing and s not in rules.allowed}
    if failed and not rules.continue_on_failure:
        assert found.start == ()
        assert [skip.step for skip in found.skip] == [step for step in graph.order if step not in phases]
        return
    broken: set[str] = set(failed) | failure_skips(graph, phases, rules)
    for step in graph.order:  # the spec lists steps in topological order here
        if step not in phases and any(need in broken for need in graph.needs[step]):
            broken.add(step)
            assert step in {skip.step for skip in found.skip}
        ready = step not in phases and all(
            phases.get(need) is not None and phases[need].terminal and need not in broken for need in graph.needs[step]
        )
        assert (step in found.start) == ready


@given(situations(), st.data())
def test_another_edge_never_starts_a_step_earlier(
    situation: tuple[Graph, dict[str, Phase], FailureRules], data: st.DataObject
) -> None:
    graph, phases, rules = situation
    user = data.draw(st.sampled_from(graph.order))
    earlier = graph.order[: graph.position[user]]
    if not earlier:
        return
    extra = data.draw(st.sampled_from(earlier))
    tighter = build_graph(
        Declared(step, (*graph.needs[step], extra) if step == user else graph.needs[step]) for step in graph.order
    )

    assert (user in everything(tighter, phases, rules).start) <= (user in everything(graph, phases, rules).start)


SIDE_BY_SIDE = FailureRules(started_suffices=True)
EACH_BY_ITSELF = FailureRules(started_suffices=True, continue_on_failure=True)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.PAUSED, Phase.BLOCKED])
def test_a_stream_step_starts_once_the_work_of_its_needs_exists(phase: Phase) -> None:
    phases = {"a": phase, "d": AT_WORK}

    assert advance(CHAIN, phases, SIDE_BY_SIDE, frozenset(), "b", frozenset()) == Advance((), ())
    assert advance(CHAIN, phases, SIDE_BY_SIDE, frozenset(), "b", frozenset("a")) == Advance(("b",), ())


def test_a_stream_step_starts_after_a_need_that_has_succeeded() -> None:
    assert everything(CHAIN, {"a": OK, "d": AT_WORK}, SIDE_BY_SIDE).start == ("b",)


@pytest.mark.parametrize("phase", [BAD, SKIPPED, Phase.TIMEOUT, Phase.CANCELED])
@pytest.mark.parametrize("allowed", ["", "a"])
def test_any_other_end_of_a_need_skips_a_stream_step_and_those_behind_it(phase: Phase, allowed: str) -> None:
    rules = FailureRules(frozenset(allowed), continue_on_failure=True, started_suffices=True)
    found = advance(CHAIN, {"a": phase, "d": AT_WORK}, rules, frozenset(), "b", frozenset("a"))

    assert found == Advance((), (Skip("b", SkipCause.FAILED_NEED, "a"), Skip("c", SkipCause.FAILED_NEED, "b")))


def test_a_failure_ends_no_stream_step_that_goes_on_by_itself() -> None:
    found = advance(CHAIN, {"d": BAD}, EACH_BY_ITSELF, frozenset(), CHAIN.order, frozenset("d"))

    assert found == Advance(("a",), ())
