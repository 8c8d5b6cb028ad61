"""Entries of the output cache as a user sees them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from core.payloads.stored_object import StoredObject
from core.workloads.cache_entry import CachedEntry, CacheSelection, entry_of, is_entry, is_part
from core.workloads.output_cache import CacheEntry, CacheSubject

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)
DIGEST = "0f" * 32
FOUND = StoredObject(CacheSubject("team", "embed", "v1 beta", "step").object_key(DIGEST), 99, NOW)
HOUR = timedelta(hours=1)


def read(output: object, *, ttl_seconds: int = 0, stored_at: datetime | None = NOW) -> CachedEntry:
    return entry_of(FOUND, CacheEntry(output, stored_at, ttl_seconds, "run", "run-step").encoded())


def test_an_entry_has_its_place_its_time_and_its_source() -> None:
    entry = read({"rows": {"$bubuStorageRef": "cache/team/embed/rows.json"}}, ttl_seconds=60, stored_at=NOW - HOUR)

    assert entry == CachedEntry(
        FOUND,
        "team",
        "embed",
        "v1%20beta",
        DIGEST,
        NOW - HOUR,
        NOW - HOUR + timedelta(minutes=1),
        "run",
        "run-step",
        frozenset({"cache/team/embed/rows.json"}),
    )


@pytest.mark.parametrize(
    ("ttl_seconds", "stored_at", "expired"),
    [
        (0, NOW - HOUR, False),
        (3601, NOW - HOUR, False),
        (3600, NOW - HOUR, True),
        (0, None, False),
        (60, None, True),
    ],
)
def test_an_entry_is_expired_when_the_operator_ignores_it(
    ttl_seconds: int, stored_at: datetime | None, expired: bool
) -> None:
    assert read(1, ttl_seconds=ttl_seconds, stored_at=stored_at).is_expired(NOW) is expired
    assert CacheEntry(1, stored_at, ttl_seconds).is_fresh(NOW) is not expired


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "it is too large"), (b"{", "it is not JSON"), (orjson.dumps({"output": {}}), "it has no output")],
)
def test_an_entry_that_the_operator_ignores_says_why(content: bytes | None, problem: str) -> None:
    entry = entry_of(FOUND, content)

    assert entry.problem == problem
    assert entry.stored_at == NOW
    assert not entry.is_expired(NOW + HOUR)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (CacheSelection(), True),
        (CacheSelection("embed", "v1 beta", "0f0f", expired=True), True),
        (CacheSelection(version="v1%20beta"), True),
        (CacheSelection("embedding"), False),
        (CacheSelection(version="v1"), False),
        (CacheSelection(digest="f0"), False),
    ],
)
def test_a_selection_takes_what_meets_all_conditions(selection: CacheSelection, taken: bool) -> None:
    entry = read(1, ttl_seconds=60, stored_at=NOW - HOUR)

    assert selection.takes(entry, NOW) is taken
    assert replace(selection, expired=True).takes(read(1), NOW) is False


def test_entries_and_what_they_refer_to_are_told_apart_by_their_keys() -> None:
    part = replace(FOUND, key=f"cache/team/embed/rows.sha256-{DIGEST}.json")
    other = replace(FOUND, key="cache/team/embed/v1/readme.json")

    file = replace(FOUND, key=f"cache/team/embed/files/model.sha256-{DIGEST}.pt")

    assert [is_entry(each) for each in (FOUND, part, file, other)] == [True, False, False, False]
    assert [is_part(each) for each in (FOUND, part, file, other)] == [False, True, True, False]
