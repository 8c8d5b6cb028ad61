"""Objects that cannot be read affect no other object, and as little of themselves as possible."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from core.api.resource import STEP_RUN
from core.api.sizes import MAX_DEPTH, MAX_STEP_STATUS_BYTES, MAX_STEP_STATUS_VALUES, ObjectBounds, bounds_of
from core.api.unreadable import missing_in, unreadable, why_unreadable
from core.kube.errors import ResourceExpiredError
from core.kube.reading import UnreadablePageError, object_in, page_in
from core.kube.remains import NoObjectError
from core.kube.watch_line import DamagedLineError, LeftOut, WatchEvent, event_in

STEP = bounds_of(STEP_RUN.plural)
METADATA = b'{"name":"a","namespace":"n","uid":"u","resourceVersion":"7","labels":{"x":"y"}}'


def step_run(status: bytes, metadata: bytes = METADATA, spec: bytes = b'{"stepId":"s"}') -> bytes:
    return b'{"apiVersion":"v1","kind":"StepRun","metadata":%s,"spec":%s,"status":%s}' % (metadata, spec, status)


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def output(value: bytes) -> bytes:
    return b'{"output":%s,"phase":"Running"}' % value


DAMAGE = [
    pytest.param(nested(1_500), "is not readable JSON", id="deeper than the parser reads"),
    pytest.param(nested(400), f"is nested deeper than {MAX_DEPTH} levels", id="deeper than can be written"),
    pytest.param(b'{"a":"\xff\xfe"}', "is not readable JSON", id="no UTF-8"),
    pytest.param(b'{"a":NaN}', "is not readable JSON", id="NaN"),
    pytest.param(b'{"a":-Infinity}', "is not readable JSON", id="infinity"),
    pytest.param(b'{"a":1e999}', "is not readable JSON", id="a number without end"),
    pytest.param(b'{"a":"\\ud800"}', "is not readable JSON", id="half of a character"),
    pytest.param(b"[" + b"1," * 50_000 + b"1]", "holds more than 40960 values", id="too many values"),
    pytest.param(b"[" + b"1," * 9_000 + b"1]", "has a status that has 9", id="more values than a status may have"),
    pytest.param(b'"%s"' % (b"x" * 140_000), "has a status that has 140", id="more bytes than a status may have"),
]


@pytest.mark.parametrize(("value", "why"), DAMAGE)
def test_only_the_field_that_cannot_be_read_is_left_out(value: bytes, why: str) -> None:
    found = object_in(step_run(output(value)), STEP)

    assert why in why_unreadable(found)
    assert missing_in(found, "status") == ("output",)
    assert found["metadata"] == orjson.loads(METADATA)
    assert found["spec"] == {"stepId": "s"}
    assert found["status"] == {"phase": "Running"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b'{"a":1,"a":2}', id="a key that stands twice"),
        pytest.param(b'{"a":%s}' % (b"9" * 300), id="a number that no machine has"),
        pytest.param(nested(MAX_DEPTH - 3), id="as deep as can be written"),
        pytest.param(b'"%s"' % (b"," * (MAX_STEP_STATUS_BYTES - 100)), id="a text full of commas"),
        pytest.param(b"[" + b"1," * (MAX_STEP_STATUS_VALUES - 10) + b"1]", id="as many values as a status may have"),
    ],
)
def test_what_is_odd_but_within_bounds_is_read(value: bytes) -> None:
    assert unreadable(object_in(step_run(output(value)), STEP)) is None


def test_metadata_is_kept_as_far_as_it_can_be_read() -> None:
    damaged = b'{"annotations":{"good":"1","bad":"\xff"},"labels":[1,2,%s],"name":"a","managedFields":%s}'
    found = object_in(step_run(b"{}", damaged % (nested(300), nested(2_000))))

    assert found["metadata"] == {"annotations": {"good": "1"}, "name": "a"}
    left_out = unreadable(found)
    assert left_out is not None
    assert ("metadata", "labels") in left_out.missing


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'{"metadata":1}',
        b'{"metadata":{"name":1}}',
        b'{"metadata":{"name":""}}',
        b'{"metadata":{"name":"a","uid":{}}}',
        b'{"metadata":{"name":"a","resourceVersion":7}}',
        b'{"metadata":{"name":"a","namespace":[]}}',
        step_run(b"\xff", b'{"name":"\xff"}'),
    ],
)
def test_what_has_no_name_is_no_object(raw: bytes) -> None:
    with pytest.raises(NoObjectError):
        object_in(raw)


def test_the_mark_cannot_be_written_into_an_object() -> None:
    found = object_in(b'{"metadata":{"name":"a"},"\\u0000unreadable":{"missing":[],"why":"x"}}')

    assert unreadable(found) is None


# Lists.


def listing(*items: bytes) -> bytes:
    return b'{"kind":"L","metadata":{"resourceVersion":"9","continue":"t"},"items":[%s]}' % b",".join(items)


@pytest.mark.parametrize(("value", "why"), DAMAGE)
def test_one_object_of_a_list_costs_no_other(value: bytes, why: str) -> None:
    good = [step_run(output(b"%d" % number)) for number in range(3)]
    page = page_in(listing(good[0], step_run(output(value)), *good[1:]), STEP)
    found = list(page.objects)

    assert [obj["status"].get("output") for obj in found] == [0, None, 1, 2]
    assert why in why_unreadable(found[1])
    assert (page.head.resource_version, page.head.next_page, page.left_out) == ("9", "t", 0)


def test_of_a_large_page_each_object_is_read_by_itself() -> None:
    large = step_run(b'{"output":{"x":"%s"}}' % (b"x" * 1_000_000))
    page = page_in(listing(large, large, large, b"7", step_run(b"{}")))
    found = list(page.objects)

    assert [unreadable(obj) for obj in found] == [None] * 4
    assert (page.left_out, page.head.next_page) == (1, "t")


def test_a_list_in_which_no_object_can_be_told_from_the_next_is_refused() -> None:
    page = page_in(listing(step_run(b"{}"), b'{"metadata":{"name":"b"},"status":{{{"}'))

    with pytest.raises(UnreadablePageError):
        list(page.objects)


# Lines of a watch.


def line(raw: bytes, type_: bytes = b"MODIFIED") -> bytes:
    return b'{"type":"%s","object":%s}' % (type_, raw)


@pytest.mark.parametrize(("value", "why"), [one for one in DAMAGE if one.id != "deeper than can be written"])
def test_an_event_of_an_object_that_cannot_be_read_tells_what_is_left(value: bytes, why: str) -> None:
    event = event_in(line(step_run(output(value))), STEP)

    assert isinstance(event, WatchEvent)
    assert (event.type, event.object["metadata"]["resourceVersion"]) == ("MODIFIED", "7")
    assert why in why_unreadable(event.object)


@pytest.mark.parametrize(
    ("raw", "version"),
    [
        (b'{"metadata":{"resourceVersion":"8"}}', "8"),
        (b'{"metadata":{"name":7,"resourceVersion":"8"}}', "8"),
        (b'{"metadata":{"name":"\xff","resourceVersion":"8"}}', ""),
        (b'{"metadata":', ""),
        (step_run(b"{}", b'{"name":"a"}'), ""),
        (b"null", ""),
    ],
)
def test_an_object_without_a_readable_name_is_left_out_and_brings_the_watch_on(raw: bytes, version: str) -> None:
    event = event_in(line(raw), STEP)

    assert isinstance(event, LeftOut)
    assert event.version == version


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>",
        b"{}",
        b'{"type":"NEWS","object":{}}',
        b'{"type":"ADDED"}',
        line(b'{"metadata":{}}', b"BOOKMARK"),
        line(b'{"metadata":{"resourceVersion":"\xff"}}', b"BOOKMARK"),
    ],
)
def test_what_is_no_event_is_damage(raw: bytes) -> None:
    with pytest.raises(DamagedLineError):
        event_in(raw, ObjectBounds())


def test_the_end_of_a_watch_is_an_error() -> None:
    with pytest.raises(ResourceExpiredError):
        event_in(line(b'{"kind":"Status","code":410,"reason":"Expired"}', b"ERROR"), STEP)


def test_what_comes_in_another_order_is_read_as_well() -> None:
    raw: Any = b'{"object":%s,"type":"ADDED"}' % step_run(output(nested(1_500)))
    event = event_in(raw, STEP)

    assert isinstance(event, WatchEvent)
    assert missing_in(event.object, "status") == ("output",)
