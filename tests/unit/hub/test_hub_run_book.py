"""Which runs are served, which are not yet and why. (hub/run_book.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.objects import NamespacedName, Object
from hub.bindings import StreamBinding, read_binding
from hub.run_book import PinnedRun, RunBook
from hub.topology import BoundStep, Place, Topology
from tests.unit.hub.cluster_samples import engram_step, realtime_story, transport_binding

RUN = NamespacedName("team", "run-1")
STORY = realtime_story(engram_step("a"), engram_step("b", "a"))


def stream_binding(step: str, **fields: Any) -> StreamBinding:
    return read_binding(transport_binding(step, **{"uid": f"uid-{step}", **fields}))


def name_of(step: str) -> NamespacedName:
    return NamespacedName("team", f"run-1-{step}-transport")


def read_stories(book: RunBook, story: Object = STORY) -> None:
    for life in book.unread():
        book.pinned(life, PinnedRun(story, {}))


def served(*steps: str, story: Object = STORY) -> RunBook:
    book = RunBook()
    for step in steps or ("a", "b"):
        book.put(stream_binding(step))
    read_stories(book, story)
    return book


def why(book: RunBook, step: str) -> tuple[str, bool]:
    found = book.topology().unserved[name_of(step)]
    return found.why, found.is_final


def test_a_run_is_served_when_every_streaming_step_has_a_binding() -> None:
    book = RunBook()
    assert book.put(stream_binding("a"))
    assert why(book, "a") == ("the hub has not read the Story of the run yet", False)

    read_stories(book)
    assert book.unread() == []
    assert why(book, "a") == ("the run waits for the bindings of b", False)
    assert book.topology().runs == {}

    book.put(stream_binding("b", generation=2))
    found = book.topology()
    assert found.runs[RUN].targets == {"a": ("b",), "b": ()}
    assert found.bindings[name_of("b")] == BoundStep(Place(RUN, "b"), "uid-b", 2, may_return="")
    assert found.unserved == {}


def test_the_same_again_is_no_news() -> None:
    book = served()
    assert not book.put(stream_binding("a"))
    assert book.put(stream_binding("a", generation=2))
    assert book.remove(name_of("a"))
    assert not book.remove(name_of("a"))


def test_schemas_are_those_of_the_binding_when_the_run_began() -> None:
    book, schema = RunBook(), {"required": ["text"]}
    book.put(replace(stream_binding("a"), output_schema=schema))
    book.put(replace(stream_binding("b"), input_schema=schema))
    read_stories(book)
    book.put(replace(stream_binding("a"), output_schema={"required": ["other"]}))

    steps = book.topology().runs[RUN].steps
    assert [(step.input_schema, step.output_schema) for step in steps.values()] == [(None, schema), (schema, None)]


def test_a_served_run_stays_served_while_bindings_come_and_go() -> None:
    book = served()
    before = book.topology()
    book.remove(name_of("a"))
    assert book.topology().runs == before.runs
    assert set(book.topology().bindings) == {name_of("b")}
    book.put(stream_binding("a", uid="another"))
    after = book.topology()
    assert (after.runs, after.lives) == (before.runs, before.lives)
    assert after.bindings[name_of("a")].uid == "another"


def test_a_run_ends_when_every_binding_is_finished_or_gone() -> None:
    book = served()
    book.put(stream_binding("a", finished=True))
    assert book.topology().finished == {Place(RUN, "a")}
    assert RUN in book.topology().runs
    book.remove(name_of("b"))
    assert book.topology().runs == {}
    assert why(book, "a") == ("every step of the run has finished", True)
    standing = book.standing(name_of("a"))
    assert standing is not None
    assert standing.has_ended


def test_a_run_that_begins_again_has_another_life() -> None:
    book = served()
    first = book.topology().lives[RUN]
    for step in "ab":
        book.put(stream_binding(step, finished=True))
    book.put(stream_binding("b", uid="second"))
    assert why(book, "b") == ("the hub has not read the Story of the run yet", False)
    read_stories(book)
    assert book.topology().lives[RUN] != first
    assert book.topology().finished == {Place(RUN, "a")}


def test_another_run_of_the_same_name_is_another_run() -> None:
    book = served()
    first = book.topology().lives[RUN]
    for step in "ab":
        book.put(stream_binding(step, uid=f"new-{step}", run_uid="second"))
    assert [life.identity.uid for life in book.unread()] == ["second"]
    read_stories(book)
    assert book.topology().lives[RUN] != first


def test_of_two_runs_of_one_name_the_newer_is_served() -> None:
    book = served()
    left = replace(stream_binding("c"), name=NamespacedName("team", "x"), run_uid="second", uid="c")
    book.put(left)
    read_stories(book, realtime_story(engram_step("c")))
    found = book.topology()
    assert set(found.runs[RUN].steps) == {"c"}
    assert why(book, "a") == ("a newer StoryRun has the name team/run-1", True)


def test_a_run_that_cannot_be_served_says_why_on_every_binding_until_it_can() -> None:
    book = served(story=realtime_story(engram_step("a"), engram_step("b", "x")))
    text, is_final = why(book, "a")
    assert "step b: needs names x" in text
    assert is_final
    assert why(book, "b") == (text, True)
    standing = book.standing(name_of("b"))
    assert standing is not None
    assert standing.problem == text

    book = RunBook()
    book.put(stream_binding("a", settings={"delivery": {"replay": {"mode": "durable"}}}))
    book.put(stream_binding("b"))
    read_stories(book)
    assert "durable is not supported" in why(book, "b")[0]
    book.put(stream_binding("a", settings={}))
    assert RUN in book.topology().runs


def test_a_story_that_cannot_be_read_is_told_and_read_again_unless_that_is_final() -> None:
    book = RunBook()
    book.put(stream_binding("a"))
    (life,) = book.unread()
    assert book.failed(life, "no answer")
    assert not book.failed(life, "no answer")
    assert why(book, "a") == ("no answer", False)
    assert book.wants(life)
    assert book.failed(life, "it is damaged", is_final=True)
    assert why(book, "a") == ("it is damaged", True)
    assert not book.wants(life)


def test_a_step_that_the_story_does_not_have_is_refused_alone() -> None:
    book = served("a", "b", "c")
    assert why(book, "c") == ("the Story of run team/run-1 has no streaming step c", True)
    assert set(book.topology().bindings) == {name_of("a"), name_of("b")}


def test_a_binding_with_a_problem_is_refused_alone_and_no_story_is_read_for_it() -> None:
    book = RunBook()
    book.put(replace(stream_binding("a"), problem="it is not one of ours"))
    assert book.unread() == []
    assert why(book, "a") == ("it is not one of ours", True)


def test_the_needs_of_a_step_have_finished_when_their_bindings_say_so() -> None:
    def are_finished(book: RunBook, step: str) -> bool:
        standing = book.standing(name_of(step))
        assert standing is not None
        return standing.needs_are_finished

    book = served()
    assert not are_finished(book, "a")
    assert not are_finished(book, "b")
    book.put(stream_binding("a", finished=True))
    assert are_finished(book, "a"), "of a step without needs, it itself"
    assert are_finished(book, "b")

    waiting = RunBook()
    waiting.put(stream_binding("b"))
    assert not are_finished(waiting, "b"), "the Story was not read"
    read_stories(waiting)
    assert not are_finished(waiting, "b"), "a has no binding"


STEPS = st.sampled_from("abc")
EVENTS = st.one_of(
    st.tuples(
        st.just("put"),
        st.builds(
            stream_binding,
            STEPS,
            uid=st.sampled_from(["u1", "u2"]),
            run_uid=st.sampled_from(["r1", "r2"]),
            finished=st.booleans(),
            generation=st.integers(1, 2),
        ),
    ),
    st.tuples(st.just("remove"), STEPS.map(name_of)),
    st.tuples(st.just("read"), st.booleans()),
)


def check(book: RunBook, known: dict[NamespacedName, StreamBinding], found: Topology) -> None:
    assert set(found.bindings) | set(found.unserved) == set(known)
    assert not set(found.bindings) & set(found.unserved)
    assert set(found.runs) == set(found.lives)
    for name, bound in found.bindings.items():
        assert bound.uid == known[name].uid
        assert bound.place.step in found.runs[bound.place.run].steps
    assert all(any(not binding.is_over for binding in known.values()) for _ in found.runs)
    for name in known:
        standing = book.standing(name)
        assert standing is not None
        assert not (standing.has_ended and name in found.bindings)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=25))
def test_every_binding_is_served_or_has_a_reason_whatever_happens(events: list[tuple[str, Any]]) -> None:
    """And a run that is served keeps its life as long as one of its bindings lives on."""
    book, known = RunBook(), dict[NamespacedName, StreamBinding]()
    for what, value in events:
        before = book.topology()
        lived = {name: binding for name, binding in known.items() if not binding.is_over}
        if what == "put":
            book.put(value)
            known[value.name] = value
        elif what == "remove":
            book.remove(value)
            known.pop(value, None)
        else:
            for life in book.unread():
                if value:
                    book.pinned(life, PinnedRun(STORY, {}))
                else:
                    book.failed(life, "no answer")
        after = book.topology()
        check(book, known, after)
        stays = any(
            not known[name].is_over and known[name].uid == binding.uid and known[name].run_uid == binding.run_uid
            for name, binding in lived.items()
            if name in known and name in before.bindings
        )
        if stays and RUN in before.lives and not (RUN in after.lives and "r2" in after.lives[RUN] + before.lives[RUN]):
            assert after.lives[RUN] == before.lives[RUN]
