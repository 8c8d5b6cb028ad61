"""When two executions are equal without a cache: what the key depends on, and what not."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_contract.canonical import NotJsonError
from core.workloads.execution import definition_digest, execution_key

ENGRAM = {"metadata": {"name": "http", "namespace": "team", "uid": "u1"}, "spec": {"version": "v1"}}
TEMPLATE = {"metadata": {"name": "worker", "uid": "u2"}, "spec": {"image": "worker:1"}}
KEY: dict[str, Any] = {"definition": "d", "image": "i", "call": None, "salt": "", "inputs": {"n": 1, "m": 2}}


def test_a_definition_is_names_and_specs() -> None:
    digest = definition_digest(ENGRAM, TEMPLATE)
    again = definition_digest(
        {**ENGRAM, "metadata": {**ENGRAM["metadata"], "uid": "u3", "labels": {"a": "b"}}, "status": {"usage": 1}},
        TEMPLATE,
    )
    assert (len(digest), again) == (64, digest)
    others = [
        definition_digest({**ENGRAM, "metadata": {**ENGRAM["metadata"], "namespace": "other"}}, TEMPLATE),
        definition_digest({**ENGRAM, "metadata": {**ENGRAM["metadata"], "name": "other"}}, TEMPLATE),
        definition_digest({**ENGRAM, "spec": {"version": "v2"}}, TEMPLATE),
        definition_digest(ENGRAM, {**TEMPLATE, "spec": {"image": "worker:2"}}),
        definition_digest(ENGRAM, {**TEMPLATE, "metadata": {"name": "other"}}),
    ]
    assert len({digest, *others}) == 6


@pytest.mark.parametrize(
    "other",
    [
        {"definition": "e"},
        {"image": "j"},
        {"call": {"args": ["1"]}},
        {"salt": "s"},
        {"inputs": {"n": 1}},
        {"inputs": {"n": 1, "m": "2"}},
    ],
)
def test_everything_counts(other: dict[str, Any]) -> None:
    assert execution_key(**(KEY | other)) != execution_key(**KEY)


def test_the_order_of_fields_and_the_run_that_stored_data_do_not_count() -> None:
    def stored(run: str, digit: str) -> dict[str, Any]:
        return {"inputs": {"rows": {"$bubuStorageRef": f"outputs/team/{run}/rows.sha256-{digit * 64}.json"}}}

    assert execution_key(**(KEY | {"inputs": {"m": 2, "n": 1}})) == execution_key(**KEY)
    assert execution_key(**(KEY | stored("one", "a"))) == execution_key(**(KEY | stored("two", "a")))
    assert execution_key(**(KEY | stored("one", "a"))) != execution_key(**(KEY | stored("one", "b")))

    def saved(run: str, digit: str) -> dict[str, Any]:
        artifact = {"$bubuArtifact": f"outputs/team/{run}/files/m", "name": "m", "sizeBytes": 1, "sha256": digit * 64}
        return {"inputs": {"model": artifact}}

    assert execution_key(**(KEY | saved("one", "a"))) == execution_key(**(KEY | saved("two", "a")))
    assert execution_key(**(KEY | saved("one", "a"))) != execution_key(**(KEY | saved("one", "b")))


def test_inputs_without_a_json_form_have_no_key() -> None:
    with pytest.raises(NotJsonError):
        execution_key(**(KEY | {"inputs": {"n": 2**70}}))
