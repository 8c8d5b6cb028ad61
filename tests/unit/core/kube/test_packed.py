"""Objects that are kept as text: what is read is what was put in, in little memory."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from core.api.objects import NamespacedName
from core.api.unreadable import why_unreadable
from core.kube import reading, remains
from core.kube.packed import OPEN_BYTES, PACKED_FROM_BYTES, Opener, Packed, Packer, Resting, identity_of, opened
from core.kube.store import InformerStore
from tests.unit.core.kube.scripted_server import widget


def ended(obj: dict[str, Any]) -> bool:
    return obj.get("phase") == "Succeeded"


def test_only_large_objects_and_those_at_rest_are_kept_as_text() -> None:
    packer = Packer(ended)
    small, large = widget("a", 1), widget("a", 1, text="x" * PACKED_FROM_BYTES)
    rests = widget("a", 1, phase="Succeeded")

    assert packer.entry(small) is small
    assert packer.small_entry(small) is small
    for obj in (large, rests, {**large, "phase": "Succeeded"}):
        entry = packer.entry(obj)
        assert isinstance(entry, Packed)
        assert opened(entry) == obj
    assert isinstance(packer.small_entry(rests), Packed)


def test_objects_that_are_alike_take_a_few_bytes_each() -> None:
    packer = Packer(ended)
    fields = [f"field {number} of many" for number in range(60)]
    step_run: dict[str, Any] = {"phase": "Succeeded", "spec": {"fields": fields}}
    entries = [packer.entry(widget(f"run-{number}", number, **step_run)) for number in range(100)]

    packed = [entry for entry in entries if isinstance(entry, Packed)]
    assert len(packed) == len(entries)
    assert all(entry.opened()[1] > 1000 for entry in packed)
    assert max(sys.getsizeof(entry) + sys.getsizeof(entry._content) for entry in packed) < 200
    assert [opened(entry)["metadata"]["name"] for entry in entries] == [f"run-{number}" for number in range(100)]


@pytest.mark.parametrize("deleted", [{}, {"deletionTimestamp": "2026-11-29T13:00:00Z"}])
def test_the_head_has_what_tells_versions_apart(deleted: dict[str, str]) -> None:
    obj = widget("a", 7, phase="Succeeded")
    obj["metadata"] |= {**deleted, "labels": {"large": "x"}}
    identity = {key: value for key, value in obj["metadata"].items() if key != "labels"}

    entry = Packer(ended).entry(obj)
    assert isinstance(entry, Packed)
    assert identity_of(entry) == identity_of(obj)
    assert identity_of(entry).head == {"metadata": identity}


@pytest.mark.parametrize("note", [None, [], ["report", 1767225600.5, True], "text\nof two lines", 0])
def test_a_note_of_an_object_at_rest_is_told_without_reading_it(note: Any) -> None:
    packer = Packer(ended, lambda obj: note)
    rests, large = widget("a", 7, phase="Succeeded"), widget("b", 7, text="x" * PACKED_FROM_BYTES)
    entry, other = packer.entry(rests), packer.entry(large)

    assert isinstance(entry, Packed)
    assert isinstance(other, Packed)
    assert entry.resting == Resting("uid-a", note)
    assert other.resting is None
    assert identity_of(entry) == identity_of(rests)
    assert [opened(entry), opened(other)] == [rests, large]


def test_a_store_tells_what_is_known_of_objects_at_rest() -> None:
    store = InformerStore({"phase": lambda obj: [obj["phase"]]}, Packer(ended, lambda obj: obj["phase"]))
    assert not store.is_found_under("phase")
    for name, phase in (("a", "Succeeded"), ("b", "Running")):
        store.put(widget(name, 1, phase=phase))

    assert store.resting(NamespacedName("team", "a")) == Resting("uid-a", "Succeeded")
    assert store.resting(NamespacedName("team", "b")) is None
    assert store.resting(NamespacedName("team", "c")) is None
    assert store.is_found_under("phase")


def test_an_object_that_cannot_be_read_whole_keeps_its_mark() -> None:
    left = remains.of_object(widget("a", 7), reading.TOO_DEEP)
    assert why_unreadable(left)

    entry = Packer(lambda obj: True).entry(left)
    assert isinstance(entry, Packed)
    assert why_unreadable(opened(entry)) == why_unreadable(left)


def test_what_was_read_last_stays_parsed_and_a_scan_does_not_push_it_out() -> None:
    opener, packer = Opener(), Packer(ended)
    entries = [packer.entry(widget(f"a{number}", 1, phase="Succeeded", text="x" * 60_000)) for number in range(8)]

    first = opener.whole(entries[0])
    assert opener.whole(entries[0]) is first
    for entry in entries:
        opener.glance(entry)
    assert opener.whole(entries[0]) is first
    for entry in entries[1:]:
        opener.whole(entry)  # more than OPEN_BYTES
    assert OPEN_BYTES < 7 * 60_000
    assert opener.whole(entries[0]) is not first


def test_a_store_keeps_what_rests_as_text_and_names_it_without_reading() -> None:
    store = InformerStore({"phase": lambda obj: [obj["phase"]]}, Packer(ended))
    [added] = store.put(widget("a", 1, phase="Running"))
    [updated] = store.put(widget("a", 2, phase="Succeeded"))
    [*_] = store.put(widget("b", 3, phase="Running"))

    assert added.new is not None
    assert (updated.old, updated.new) == (widget("a", 1, phase="Running"), widget("a", 2, phase="Succeeded"))
    updated.let_go()
    assert updated.new == widget("a", 2, phase="Succeeded")
    assert store.get(NamespacedName("team", "a")) == widget("a", 2, phase="Succeeded")
    assert [*store.keys_by_index("phase", "Succeeded")] == [NamespacedName("team", "a")]
    assert [*store.keys_by_index("phase", "Failed")] == []
    assert [change.new for change in store.as_added()] == [widget("b", 3, phase="Running")]
    assert [*store.in_motion()] == [widget("b", 3, phase="Running")]
    assert {key.name for key in store.all_keys()} == {"a", "b"}


def test_a_store_knows_which_objects_are_at_rest_through_all_changes() -> None:
    store = InformerStore({}, Packer(ended))
    large = "x" * PACKED_FROM_BYTES  # kept as text, too, and not at rest
    moves = [
        (widget("a", 1, phase="Running"), {"a"}),
        (widget("a", 2, phase="Running", text=large), {"a"}),
        (widget("b", 3, phase="Succeeded"), {"a"}),
        (widget("a", 4, phase="Succeeded"), set()),
        (widget("b", 5, phase="Running"), {"b"}),
        (widget("a", 6, phase="Running", text=large), {"a", "b"}),
    ]
    for obj, moving in moves:
        [*_] = store.put(obj)
        assert {key.name for key in store.keys(at_rest=False)} == moving
        assert {key.name for key in store.keys(at_rest=True)} == {key.name for key in store.all_keys()} - moving
    [*_] = store.remove(widget("a", 7, phase="Running"))
    assert [obj["metadata"]["name"] for obj in store.in_motion()] == ["b"]


def test_the_tables_of_a_store_share_the_key_of_what_rests() -> None:
    store = InformerStore({"phase": lambda obj: [obj["phase"]]}, Packer(ended))
    for version, phase in enumerate(("Running", "Succeeded"), start=1):
        [*_] = store.put(widget("a", version, phase=phase))
    entry = next(iter(store._objects.values()))

    assert isinstance(entry, Packed)
    assert all(key is entry.key for key in (*store.all_keys(), *store.keys_by_index("phase", "Succeeded")))
