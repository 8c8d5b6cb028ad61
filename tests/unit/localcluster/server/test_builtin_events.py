"""Events between their two faces."""

from __future__ import annotations

from localcluster.server.builtin import BUILTIN
from localcluster.server.builtin_events import CORE, EVENTS, converted

EVENT = {
    "apiVersion": EVENTS,
    "kind": "Event",
    "metadata": {"name": "e"},
    "eventTime": "2026-11-25T01:00:00.123456Z",
    "regarding": {"kind": "Pod", "name": "p"},
    "note": "hello",
    "reportingController": "a/b",
    "reportingInstance": "x",
    "deprecatedCount": 3,
    "series": {"count": 2, "lastObservedTime": "2026-11-25T01:00:00.123456Z"},
}


def test_fields_are_renamed_and_nothing_is_lost() -> None:
    core = converted(EVENT, CORE)
    assert core["apiVersion"] == "v1"
    assert core["involvedObject"] == EVENT["regarding"]
    assert (core["message"], core["reportingComponent"], core["count"]) == ("hello", "a/b", 3)
    assert (core["eventTime"], core["series"]) == (EVENT["eventTime"], EVENT["series"])
    assert converted(core, EVENTS) == EVENT


def test_an_event_in_the_wanted_face_is_returned_as_it_is() -> None:
    assert converted(EVENT, EVENTS) is EVENT


def test_each_face_selects_by_its_own_field_names() -> None:
    events = {rtype.group: rtype.selectable_fields for rtype in BUILTIN if rtype.plural == "events"}
    assert ".involvedObject.name" in events[""]
    assert ".regarding.name" in events["events.k8s.io"]


def test_conversion_leaves_its_argument_alone() -> None:
    before = repr(EVENT)
    converted(EVENT, CORE)
    assert repr(EVENT) == before
