"""``cache list`` and ``cache clear`` on a volume of an embedded cluster."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.options import CommonOptions, DryRun
from cli.problem import CommandError, UsageError
from cli.session import Session
from cli.verbs.cache import clear, clear_cache, list_cache
from core.engine.clock import system_now
from core.workloads.cache_entry import CacheSelection
from core.workloads.output_cache import CacheEntry, CacheSubject
from tests.unit.cli.stored_cluster import StoredCluster, stored_cluster

ALL = CacheSelection()
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
async def there(session: Session, tmp_path: Path) -> StoredCluster:
    return await stored_cluster(session, tmp_path)


def part(name: str, engram: str = "embed") -> str:
    return f"cache/default/{engram}/{name}.sha256-{'0' * 64}.json"


def put_entry(
    there: StoredCluster, digest: str, output: Any, *, engram: str = "embed", version: str = "v1", ttl: int = 0
) -> str:
    """An entry that is two hours old; returns its key."""
    key = CacheSubject("default", engram, version, "step").object_key(digest)
    stored_at = system_now() - timedelta(hours=2, minutes=1)
    there.put(key, CacheEntry(output, stored_at, ttl, "nightly", "nightly-embed").encoded())
    return key


def to(key: str) -> dict[str, str]:
    return {"$bubuStorageRef": key}


async def test_entries_are_listed_with_what_the_operator_makes_of_them(
    there: StoredCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    put_entry(there, A, {"n": 1}, ttl=60)
    put_entry(there, B, {"n": 1}, engram="fetch", version="")
    there.put(CacheSubject("default", "embed", "v2", "step").object_key(C), b"{", hours=30)
    there.put(part("rows"))

    await list_cache(there.session, ALL)
    lines = capsys.readouterr().out.splitlines()
    await list_cache(there.session, CacheSelection("fetch"))
    assert len(capsys.readouterr().out.splitlines()) == 2
    await list_cache(there.with_options(output="json"), CacheSelection(digest=A))
    [document] = json.loads(capsys.readouterr().out)["items"]

    assert lines[0].split() == ["ENGRAM", "VERSION", "KEY", "SIZE", "AGE", "EXPIRES", "RUN"]
    rows = sorted([cell for cell in line.split() if cell != "B"] for line in lines[1:])
    assert [[row[0], row[1], row[2], *row[4:]] for row in rows] == [
        ["embed", "v1", A[:12], "2h", "expired", "nightly"],
        ["embed", "v2", C[:12], "30h", "damaged"],
        ["fetch", "latest", B[:12], "2h", "never", "nightly"],
    ]
    assert (document["key"], document["expired"], document["stepRun"]) == (A, True, "nightly-embed")


async def test_data_beside_entries_goes_with_the_last_entry_that_refers_to_it(there: StoredCluster) -> None:
    first = put_entry(there, A, {"rows": to(part("rows.refs")), "own": to(part("own"))})
    second = put_entry(there, B, {"rows": to(part("rows.refs"))}, version="v2")
    there.put(part("rows.refs"), {"deeper": to(part("deeper"))})
    for name in ("own", "deeper", "nobody"):
        there.put(part(name))
    there.put(part("being-written"), hours=0.1)
    there.put("outputs/default/nightly-embed/output.json")
    others = [part("being-written"), "outputs/default/nightly-embed/output.json"]

    await clear_cache(there.with_options(yes=True), CacheSelection(version="v1"))
    assert there.keys() == sorted([second, part("rows.refs"), part("deeper"), *others])
    assert first not in there.keys()  # noqa: SIM118 - a list of keys
    await clear_cache(there.with_options(yes=True), ALL)

    assert there.keys() == sorted(others)


async def test_only_expired_entries_go(there: StoredCluster) -> None:
    put_entry(there, A, 1, ttl=60)
    kept = [put_entry(there, B, 1, ttl=100_000), put_entry(there, C, 1)]

    await clear_cache(there.with_options(yes=True), CacheSelection(expired=True))

    assert there.keys() == kept


async def test_nothing_goes_without_a_confirmation_or_in_a_dry_run(
    there: StoredCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    key = put_entry(there, A, 1)

    with pytest.raises(CommandError, match="nothing was deleted"):
        await clear_cache(there.session, ALL)
    await clear_cache(there.with_options(yes=True, dry_run=DryRun.CLIENT), ALL)
    shown = capsys.readouterr()
    await clear_cache(there.with_options(yes=True), CacheSelection("other"))

    assert there.keys() == [key]
    assert A[:12] in shown.out
    assert "would delete 1 entry" in shown.err
    assert "no such entry" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [{}, {"everything": True, "engram": "embed"}, {"everything": True, "expired": True}])
def test_a_clear_without_or_with_contradicting_conditions_is_wrong_usage(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="give either --all or conditions"):
        clear(CommonOptions(), **flags)
