"""Operator, SDK and Go operator read each other's objects: compared with what the Go operator has stored and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from bubu_sdk.hydrate import Hydrator
from bubu_sdk.testing import InMemoryStore
from core.payloads.hydrate import hydrate
from core.payloads.store import open_file_store
from core.workloads.output_cache import CacheRules, CacheSubject, digest_of_inputs
from tests.unit.sdk.recorded.values import VALUES, WRITERS, by_sdk

_FOLDER: Final = Path(__file__).parent / "recorded"
_ROWS: Final[list[dict[str, Any]]] = json.loads((_FOLDER / "storage.json").read_text())
_STORED: Final = [row for row in _ROWS if "by" not in row]
_READ: Final = [row for row in _ROWS if "by" in row]
_CACHE_KEYS: Final[list[dict[str, Any]]] = json.loads((_FOLDER / "cache_keys.json").read_text())


def named(row: dict[str, Any]) -> str:
    return " ".join(filter(None, (row["name"], row["kind"], row.get("by"))))


def test_every_value_is_recorded_in_both_directions() -> None:
    assert {row["name"] for row in _STORED} == set(VALUES)
    assert {(row["name"], row["by"]) for row in _READ} == {(name, by) for name in VALUES for by in WRITERS}


@pytest.mark.parametrize("row", _STORED, ids=named)
def test_the_sdk_stores_what_go_stores_byte_for_byte(row: dict[str, Any]) -> None:
    assert by_sdk(row["kind"], VALUES[row["name"]]) == (row["result"], row.get("objects", {}))


@pytest.mark.parametrize("row", _STORED, ids=named)
def test_the_sdk_reads_what_go_stores(row: dict[str, Any]) -> None:
    store = InMemoryStore()
    store.objects |= {key: content.encode() for key, content in row.get("objects", {}).items()}

    found = Hydrator(store, lambda *_: "", namespace="team", max_depth=10).hydrate(row["result"], "inputs")

    assert found == VALUES[row["name"]]


@pytest.mark.parametrize("row", _STORED, ids=named)
async def test_the_operator_reads_what_go_stores(row: dict[str, Any], tmp_path: Path) -> None:
    for key, content in row.get("objects", {}).items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text(content)

    found = await hydrate(row["result"], open_file_store(str(tmp_path)), namespace="team", field="spec.inputs")

    assert found == VALUES[row["name"]]


@pytest.mark.parametrize("row", _READ, ids=named)
def test_go_reads_what_we_store(row: dict[str, Any]) -> None:
    """If what we store has changed, nobody knows whether Go reads it: see ``recorded/README.md``."""
    assert WRITERS[row["by"]](row["kind"], VALUES[row["name"]]) == (row["result"], row.get("objects", {}))
    assert row["read"] == VALUES[row["name"]]


@pytest.mark.parametrize("row", _CACHE_KEYS, ids=lambda row: f"{row['version']} {row['salt']} {row['inputs']}")
def test_the_output_cache_has_the_keys_of_go(row: dict[str, Any]) -> None:
    subject = CacheSubject("team", row["engram"], row["version"], row["step"])
    rules = CacheRules.of({"salt": row["salt"]})
    assert rules is not None

    digest = digest_of_inputs(subject, rules, row["inputs"])

    assert (digest, subject.object_key(digest)) == (row["digest"], row["path"])
