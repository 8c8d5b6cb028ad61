"""The event of an own write is recognized by version and uid, and never mistaken for another."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from core.kube.own_versions import REMEMBERED, OwnVersions
from core.kube.watch_line import stored_version
from tests.unit.core.kube.scripted_server import widget


def line(kind: str, obj: Any) -> bytes:
    return orjson.dumps({"type": kind, "object": obj})


def own(*objects: Any) -> OwnVersions:
    versions = OwnVersions()
    for obj in objects:
        versions.add(obj)
    return versions


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_the_event_of_a_known_version_is_recognized_once(kind: str) -> None:
    versions, event = own(widget("a", 7)), line(kind, widget("a", 7))
    assert versions.take(event)
    assert not versions.take(event)
    assert len(versions) == 0


@pytest.mark.parametrize(
    "event",
    [
        line("MODIFIED", widget("a", 8)),
        line("MODIFIED", widget("a", 7, uid="another")),
        line("DELETED", widget("a", 7)),
        line("BOOKMARK", {"metadata": {"resourceVersion": "7"}}),
        line("MODIFIED", widget("a", 8, labels={"resourceVersion": "7"})),
        line("MODIFIED", {"metadata": {"annotations": {"resourceVersion": "7"}, **widget("a", 8)["metadata"]}}),
        line("MODIFIED", widget("a", 8, status={"output": {"resourceVersion": "7"}})),
        b'{"type":"MODIFIED","object":{"metadata":{}}}',
        b'{"type":"MODIFIED","object":{"metadata":{"uid":"uid-a","resourceVersion":"7',
        b"",
    ],
)
def test_any_other_event_is_read(event: bytes) -> None:
    assert not own(widget("a", 7)).take(event)


def test_a_text_that_quotes_a_version_does_not_name_it() -> None:
    quoted = orjson.dumps({"resourceVersion": "9"}).decode()
    assert stored_version(line("ADDED", widget("a", 8, note=quoted))) == "8"


def test_versions_are_forgotten_after_a_list_and_when_there_are_too_many() -> None:
    versions = own(*(widget(f"w{number}", number) for number in range(1, REMEMBERED + 2)))
    assert len(versions) == REMEMBERED
    assert not versions.take(line("ADDED", widget("w1", 1)))
    versions.clear()
    assert not versions.take(line("ADDED", widget("w2", 2)))


def test_an_object_without_a_version_or_a_uid_is_not_remembered() -> None:
    assert len(own({"metadata": {"name": "a", "uid": "u"}}, {"metadata": {"name": "a", "resourceVersion": "1"}})) == 0
