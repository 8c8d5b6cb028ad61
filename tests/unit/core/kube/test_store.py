"""Which version takes precedence, and how deleted objects are treated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.api.objects import NamespacedName
from core.kube.store import REMEMBERED_DELETIONS, REMEMBERED_SECONDS, Change, ChangeKind, InformerStore, Listed
from kubewire import Object
from tests.unit.core.kube.scripted_server import version_of, widget

A = NamespacedName("team", "a")


def kinds(changes: Any) -> list[str]:
    return [f"{change.kind}:{version_of(change.object)}" for change in changes]


def store(**indexers: Any) -> InformerStore:
    return InformerStore(indexers)


def listed(*objects: Object) -> list[Listed]:
    return [store().listed(obj, obj) for obj in objects]


def test_a_version_is_told_once() -> None:
    it = store()

    assert kinds(it.put(widget("a", 5))) == ["ADDED:5"]
    assert kinds(it.put(widget("a", 5))) == []
    assert kinds(it.put(widget("a", 7))) == ["UPDATED:7"]


def test_a_late_event_does_not_undo_a_remembered_write() -> None:
    it = store()
    it.put(widget("a", 5))
    it.put(widget("a", 9), in_order=False)

    assert kinds(it.put(widget("a", 7))) == []
    assert version_of(it.get(A) or widget("none", 0)) == "9"


def test_versions_are_compared_as_numbers_not_as_text() -> None:
    it = store()
    it.put(widget("a", 9))

    assert kinds(it.put(widget("a", 10))) == ["UPDATED:10"]


def test_versions_that_are_no_numbers_follow_the_order_of_the_news() -> None:
    it = store()
    it.put(widget("a", "x"))

    assert kinds(it.put(widget("a", "x"))) == []
    assert kinds(it.put(widget("a", "b"))) == ["UPDATED:b"]
    assert kinds(it.remove(widget("a", "b"))) == ["DELETED:b"]
    assert kinds(it.put(widget("a", "c"), in_order=False)) == []
    assert kinds(it.put(widget("a", "c"))) == ["ADDED:c"]


def test_a_late_answer_does_not_raise_the_dead() -> None:
    it = store()
    it.put(widget("a", 5))
    it.remove(widget("a", 8))

    assert kinds(it.put(widget("a", 7), in_order=False)) == []
    assert it.get(A) is None


def test_an_object_that_only_left_the_selection_may_come_back() -> None:
    it = store()
    it.put(widget("a", 5))
    it.remove(widget("a", 8))

    assert kinds(it.put(widget("a", 12))) == ["ADDED:12"]


def test_another_object_of_the_same_name_is_a_deletion_and_an_addition() -> None:
    it = store()
    it.put(widget("a", 5, uid="first"))
    changes = [*it.put(widget("a", 9, uid="second"))]

    assert [(change.kind, change.object["metadata"]["uid"]) for change in changes] == [
        (ChangeKind.DELETED, "first"),
        (ChangeKind.ADDED, "second"),
    ]
    assert kinds(it.put(widget("a", 7, uid="first"))) == []
    assert kinds(it.remove(widget("a", 8, uid="first"))) == []
    assert (it.get(A) or {})["metadata"]["uid"] == "second"


def test_a_forgotten_object_stays_away_while_old_events_arrive() -> None:
    it = store()
    it.put(widget("a", 5))

    assert kinds(it.forget(A, "uid-a")) == ["DELETED:5"]
    assert kinds(it.put(widget("a", 6))) == []
    assert kinds(it.put(widget("a", 5, deletion=True))) == []


def test_a_forgotten_object_that_waits_for_finalizers_comes_back_marked() -> None:
    it = store()
    it.put(widget("a", 5))
    it.forget(A, "uid-a")

    assert kinds(it.put(widget("a", 6, deletion=True))) == ["ADDED:6"]
    assert kinds(it.remove(widget("a", 7, deletion=True))) == ["DELETED:7"]


def test_an_object_that_is_known_to_wait_for_its_end_is_not_forgotten() -> None:
    it = store()
    it.put(widget("a", 6, deletion=True))

    assert kinds(it.forget(A, "uid-a")) == []
    assert kinds(it.put(widget("a", 7, deletion=True))) == ["UPDATED:7"]


@pytest.mark.parametrize("reported", [True, False])
def test_deletions_are_remembered_for_a_time(reported: bool) -> None:
    now = 0.0
    it = InformerStore({}, clock=lambda: now)
    it.put(widget("a", 5))
    it.remove(widget("a", 6)) if reported else it.forget(A, "uid-a")
    it.remove(widget("b", 7))

    now = REMEMBERED_SECONDS - 1
    it.remove(widget("c", 8))
    assert kinds(it.put(widget("a", 4))) == kinds(it.put(widget("b", 6))) == []

    now = 2 * REMEMBERED_SECONDS + 1
    it.remove(widget("d", 9))
    assert it.remembered_deletions == 1


def test_no_more_deletions_are_remembered_than_that() -> None:
    it = store()
    for number in range(REMEMBERED_DELETIONS + 10):
        it.remove(widget(f"w-{number}", number + 1))
    assert it.remembered_deletions == REMEMBERED_DELETIONS


def test_forgetting_names_a_uid_not_a_name() -> None:
    it = store()
    it.put(widget("a", 9, uid="second"))

    assert kinds(it.forget(A, "first")) == []
    assert it.get(A) is not None


def test_a_list_removes_what_it_lacks_and_keeps_what_is_newer_than_itself() -> None:
    it = store()
    it.put(widget("a", 5))
    it.put(widget("b", 6))
    number = it.begin_list()
    it.put(widget("fresh", 30), in_order=False)
    it.put(widget("a", 31), in_order=False)

    changes = it.replace_all(listed(widget("a", 5), widget("c", 20)), "25", number, trust=False)

    assert kinds(changes) == ["ADDED:20", "DELETED:6"]
    assert {version_of(obj) for obj in it.list(None)} == {"31", "30", "20"}


def test_what_was_deleted_while_a_list_was_on_its_way_stays_deleted() -> None:
    it = store()
    it.put(widget("a", 5))
    number = it.begin_list()
    it.forget(A, "uid-a")

    assert kinds(it.replace_all(listed(widget("a", 5)), "5", number, trust=False)) == []
    assert kinds(it.replace_all(listed(widget("a", 5)), "5", it.begin_list(), trust=False)) == ["ADDED:5"]


def test_a_trusted_list_wins_over_everything_known() -> None:
    it = store()
    it.put(widget("a", 50))
    it.put(widget("b", 51, uid="new"))
    it.put(widget("c", 52))

    changes = it.replace_all(listed(widget("a", 5), widget("b", 6, uid="old")), "7", it.begin_list(), trust=True)

    assert kinds(changes) == ["UPDATED:5", "DELETED:51", "ADDED:6", "DELETED:52"]


def test_an_index_follows_its_objects() -> None:
    it = store(colour=lambda obj: obj.get("colours", []))
    it.put(widget("a", 1, colours=["red", "red", "blue"]))
    it.put(widget("b", 2, colours=["red"]))
    it.put(widget("a", 3, colours=["blue"]))

    assert [obj["metadata"]["name"] for obj in it.by_index("colour", "red")] == ["b"]
    it.remove(widget("b", 4))
    assert [*it.by_index("colour", "red")] == []
    assert [obj["metadata"]["name"] for obj in it.by_index("colour", "blue")] == ["a"]
    it.put(widget("c", 5, colours=["blue"]))
    assert [key.name for key in it.keys_by_index("colour", "blue")] == ["a", "c"]
    it.remove(widget("a", 6))
    assert [key.name for key in it.keys_by_index("colour", "blue")] == ["c"]


def test_what_is_derived_of_an_object_is_derived_once_for_each_version() -> None:
    read: list[str] = []

    def version(obj: Object) -> str:
        read.append(version_of(obj))
        return read[-1]

    it = store(colour=lambda obj: obj.get("colours", []))
    for name, number in (("a", 1), ("b", 2), ("c", 3)):
        it.put(widget(name, number, uid=name, colours=["red"]))
    first = it.derived("colour", "red", version, {})
    it.put(widget("b", 4, uid="b", colours=["red"]))
    it.remove(widget("c", 5, uid="c"))
    second = it.derived("colour", "red", version, first)

    assert read == ["1", "2", "3", "4"]
    assert {key.name: found.value for key, found in second.items()} == {"a": "1", "b": "4"}


def test_listing_a_namespace_shows_only_it() -> None:
    it = store()
    it.put(widget("a", 1))
    it.put(widget("a", 2, namespace="other", uid="u2"))

    assert len([*it.list("team")]) == 1
    assert len([*it.list(None)]) == 2
    assert [*it.list("nowhere")] == []


class StoreAgainstTruth(RuleBasedStateMachine):
    """A server with a growing history.

    Its stream arrives late, twice, and mixed with answers to our own writes. Once the stream is delivered, the store
    shows what the server has, and the reported changes add up to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.serial = 0
        self.truth: dict[str, Any] = {}
        self.stream: list[tuple[str, Any]] = []
        self.it = store(name=lambda obj: [obj["metadata"]["name"]])
        self.told: dict[NamespacedName, Any] = {}

    def tell(self, changes: Any) -> None:
        for change in changes:
            self.tell_one(change)

    def tell_one(self, change: Change) -> None:
        key = NamespacedName("team", change.object["metadata"]["name"])
        if change.kind is ChangeKind.ADDED:
            assert key not in self.told
            self.told[key] = change.new
        elif change.kind is ChangeKind.UPDATED:
            assert self.told[key] == change.old
            self.told[key] = change.new
        else:
            assert self.told[key]["metadata"]["uid"] == change.object["metadata"]["uid"]
            del self.told[key]

    @rule(name=st.sampled_from("abc"), ours=st.booleans())
    def write(self, name: str, ours: bool) -> None:
        self.version += 1
        if name in self.truth:
            uid, kind = self.truth[name]["metadata"]["uid"], "MODIFIED"
        else:
            self.serial += 1
            uid, kind = f"uid-{self.serial}", "ADDED"
        self.truth[name] = widget(name, self.version, uid=uid)
        self.stream.append((kind, self.truth[name]))
        if ours:
            self.tell(self.it.put(self.truth[name], in_order=False))
            assert version_of(self.it.get(NamespacedName("team", name)) or widget("none", 0)) == str(self.version)

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), ours=st.booleans())
    def delete(self, data: st.DataObject, ours: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.truth)))
        self.version += 1
        gone = self.truth.pop(name)
        self.stream.append(
            ("DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}})
        )
        if ours:
            self.tell(self.it.forget(NamespacedName("team", name), gone["metadata"]["uid"]))
            left = self.it.get(NamespacedName("team", name))  # perhaps a predecessor whose end was not reported yet
            assert left is None or left["metadata"]["uid"] != gone["metadata"]["uid"]

    @precondition(lambda self: self.stream)
    @rule(times=st.integers(1, 3))
    def deliver_one(self, times: int) -> None:
        kind, obj = self.stream.pop(0)
        for _ in range(times):
            self.tell(self.it.remove(obj) if kind == "DELETED" else self.it.put(obj))

    @rule()
    def relist(self) -> None:
        self.stream.clear()
        items = [self.it.listed(obj, obj) for obj in self.truth.values()]
        self.tell(self.it.replace_all(items, str(self.version), self.it.begin_list(), trust=False))
        self.agree()

    @invariant()
    def told_is_stored(self) -> None:
        assert {NamespacedName("team", obj["metadata"]["name"]): obj for obj in self.it.list(None)} == self.told
        assert all([*self.it.by_index("name", key.name)] == [obj] for key, obj in self.told.items())

    def agree(self) -> None:
        assert {obj["metadata"]["name"]: obj for obj in self.it.list(None)} == self.truth

    def teardown(self) -> None:
        while self.stream:
            self.deliver_one(1)
        self.agree()


TestStoreAgainstTruth = StoreAgainstTruth.TestCase
TestStoreAgainstTruth.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
