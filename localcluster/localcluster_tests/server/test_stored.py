"""Stored objects are text; those used last stay parsed."""

from __future__ import annotations

import pytest

from localcluster.server import stored as module
from localcluster.server.stored import OpenObjects, Stored
from localcluster.server.types import Object


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was parsed."""
    seen: list[bytes] = []
    sound = module.parsed

    def noted(data: bytes) -> Object:
        seen.append(data)
        return sound(data)

    monkeypatch.setattr(module, "parsed", noted)
    return seen


def test_an_object_in_use_is_parsed_once_and_shared(parsed: list[bytes]) -> None:
    stored = Stored("default/a", 3, b'{"a":1}', OpenObjects())
    assert stored.object == {"a": 1}
    assert stored.object is stored.object
    assert len(parsed) == 1


def test_what_was_just_written_is_not_parsed(parsed: list[bytes]) -> None:
    obj: Object = {"a": 1}
    assert Stored("default/a", 3, b'{"a":1}', OpenObjects(), obj).object is obj
    assert not parsed


def test_only_those_used_last_stay_parsed(parsed: list[bytes]) -> None:
    opened = OpenObjects(limit_bytes=20)
    a, b, c = (Stored(f"default/{name}", 1, b'{"a":%d}' % index, opened) for index, name in enumerate("abc"))
    assert [each.object for each in (a, b, a, c)] == [{"a": 0}, {"a": 1}, {"a": 0}, {"a": 2}]
    parsed.clear()
    assert a.object == {"a": 0}
    assert not parsed, "it was used after the other one"
    assert b.object == {"a": 1}
    assert parsed == [b'{"a":1}']


def test_an_object_larger_than_the_limit_is_parsed_while_it_is_the_last(parsed: list[bytes]) -> None:
    opened = OpenObjects(limit_bytes=2)
    large = Stored("default/a", 1, b'{"a":1}', opened)
    assert large.object is large.object
    assert len(parsed) == 1


def test_its_version_is_known_without_parsing_it_again(parsed: list[bytes]) -> None:
    stored = Stored("default/a", 3, b'{"apiVersion":"v1"}')
    assert (stored.api_version, stored.api_version) == ("v1", "v1")
    assert len(parsed) == 1


def test_another_shape_keeps_key_and_revision() -> None:
    found = Stored("default/a", 3, b'{"a":1}', OpenObjects()).reshaped(b'{"a":2}')
    assert (found.key, found.revision, found.object) == ("default/a", 3, {"a": 2})
