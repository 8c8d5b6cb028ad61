"""Objects of runs that are gone, and how much is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.payloads.orphans import Orphan, Owners, orphan_of, still_orphans
from core.payloads.place import StoredKind, StoredPlace
from core.payloads.stored_object import StoredObject
from core.payloads.usage import Amount, RunAmount, UsageCount

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLACE = StoredPlace(StoredKind.OUTPUTS, "team", "gone")
OLD = StoredObject("outputs/team/gone/output.json", 5, NOW - timedelta(seconds=1))
NOBODY = Owners(frozenset())


def test_an_old_object_without_owner_and_reference_is_an_orphan() -> None:
    assert orphan_of(PLACE, OLD, NOBODY, NOW) == Orphan(PLACE, OLD)


@pytest.mark.parametrize(
    ("place", "found", "owners"),
    [
        (PLACE, OLD, Owners(frozenset({"gone"}))),
        (PLACE, OLD, Owners(frozenset(), frozenset({OLD.key}))),
        (PLACE, StoredObject(OLD.key, 5, NOW), NOBODY),
        (StoredPlace(StoredKind.CACHE, "team", "gone"), OLD, NOBODY),
    ],
)
def test_owner_reference_youth_and_cache_protect(place: StoredPlace, found: StoredObject, owners: Owners) -> None:
    assert orphan_of(place, found, owners, NOW) is None


@pytest.mark.parametrize(("exists", "is_kept"), [("run-step", True), ("run", False)])
def test_a_log_without_its_run_stays_as_long_as_its_step_run(exists: str, is_kept: bool) -> None:
    log = StoredObject("team/logs/step/run-step/17.log", 5, OLD.modified_at)
    orphan = orphan_of(StoredPlace(StoredKind.LOGS, "team", "step"), log, Owners(frozenset({exists})), NOW)

    assert (orphan is None) is is_kept


def test_what_has_got_an_owner_or_a_reference_meanwhile_is_kept() -> None:
    orphan = Orphan(PLACE, OLD)

    assert still_orphans([orphan], NOBODY) == [orphan]
    assert still_orphans([orphan], Owners(frozenset({"gone"}))) == []
    assert still_orphans([orphan], Owners(frozenset({"other"}), frozenset({OLD.key}))) == []


def test_usage_is_counted_by_kind_and_by_run() -> None:
    count = UsageCount("team", {"one": "one", "one-fetch": "one"})
    for kind, owner, size in (
        (StoredKind.OUTPUTS, "one-fetch", 10),
        (StoredKind.LOGS, "one", 1),
        (StoredKind.INPUTS, "digest", 100),
        (StoredKind.CACHE, "one", 1000),
    ):
        count.add(StoredPlace(kind, "team", owner), StoredObject("key", size, NOW))

    assert list(count.by_kind.items()) == [
        (StoredKind.OUTPUTS, Amount(1, 10)),
        (StoredKind.INPUTS, Amount(1, 100)),
        (StoredKind.LOGS, Amount(1, 1)),
        (StoredKind.CACHE, Amount(1, 1000)),
    ]
    assert count.by_run == [
        RunAmount("team", "digest", Amount(1, 100), False),
        RunAmount("team", "one", Amount(2, 11), True),
    ]
